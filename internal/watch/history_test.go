package watch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// However long it goes on, a History is bounded, keeps the lowest count there was, counts each version once, and does not
// change under those who look at it.
func TestHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_000_000, 0)
		h := newHistory(now)
		lowest, versions, last := int64(1<<62), 0, int64(0)
		for range rapid.IntRange(1, 300).Draw(t, "samples") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "pause")) * time.Millisecond)
			last = int64(rapid.IntRange(0, 1000).Draw(t, "count"))
			n := rapid.IntRange(0, 5).Draw(t, "versions")
			lowest, versions = min(lowest, last), versions+n
			before := append([]Step(nil), h.Steps...)
			older := h
			h = h.with(now, last, n, last)
			require.Equal(t, before, append([]Step(nil), older.Steps...))
			require.LessOrEqual(t, len(h.Steps), historySteps)
			require.Equal(t, int(now.Sub(h.Began)/h.Step)+1, len(h.Steps))
		}
		least, total := int64(1<<62), 0
		for _, s := range h.Steps {
			least, total = min(least, s.Count), total+s.Versions
		}
		require.Equal(t, lowest, least)
		require.Equal(t, versions, total)
		require.Equal(t, last, h.Steps[len(h.Steps)-1].Size)
	})
}
