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

// After a dip, what holds is the count that followed it; when steps are joined, the dip stays.
func TestADipInAHistory(t *testing.T) {
	began := time.Unix(1_000_000, 0)
	h := newHistory(began)
	at := func(d time.Duration, count int64) { h = h.with(began.Add(d), count, 1, 0) }
	at(0, 50)
	at(2100*time.Millisecond, 3)
	at(2200*time.Millisecond, 60)
	at(10*time.Second, 70)
	require.Equal(t, []int64{50, 50, 50, 50, 3, 60}, countsOf(h)[:6])
	require.Equal(t, int64(60), h.Steps[19].Count)
	require.Equal(t, int64(70), h.Steps[20].Count)
	at(historySteps*firstStep, 80)
	require.Equal(t, 2*firstStep, h.Step)
	require.Equal(t, []int64{50, 50, 3, 60}, countsOf(h)[:4])
	at(10*historySteps*firstStep, 90)
	require.Equal(t, 16*firstStep, h.Step)
	require.Equal(t, []int64{3, 60, 70}, countsOf(h)[:3])
}

func countsOf(h *History) (counts []int64) {
	for _, s := range h.Steps {
		counts = append(counts, s.Count)
	}
	return counts
}
