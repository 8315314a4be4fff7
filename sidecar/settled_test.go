package sidecar

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Two ways to read settled: whole, and for one change. They agree, whatever is in it.
func TestBothReadersOfSettledAgree(t *testing.T) {
	m := used(t, "{}")
	g := m.process(Options{})
	s, err := g.openedStore(false)
	require.NoError(t, err)
	put := func(content []byte) {
		file, err := s.guard.OpenFile(settledName, os.O_RDWR, 0)
		require.NoError(t, err)
		require.NoError(t, file.Truncate(0))
		require.NoError(t, writeWhole(file, content, 0))
		require.NoError(t, file.Close())
	}
	check := func(ids ...string) {
		t.Helper()
		hint := s.settledHint()
		for _, id := range ids {
			for _, seq := range []uint64{1, 2, 3, 1 << 63} {
				generation, covered := s.settledCovers(change{id, seq})
				require.Equal(t, hint.After.cover(change{id, seq}), covered, "%s %d", id, seq)
				if covered {
					require.Equal(t, hint.Generation, generation)
				}
			}
		}
		require.LessOrEqual(t, s.seenGeneration(), max(hint.Generation, 7))
	}
	ids := []string{"a.1.00", "a.1.000", "1.00", "salvage.x", "nobody"}
	after := watermarks{"a.1.00": 2, "a.1.000": 1, "salvage.x": 1<<64 - 1}
	for range 3 {
		require.NoError(t, s.writeSettled(&commit{Generation: 7, After: after}, false))
		check(ids...)
		raw, err := readFile(s.guard, settledName)
		require.NoError(t, err)
		for at := 0; at < len(raw); at += 1 + len(raw)/300 { // cut short, and damaged
			put(raw[:at])
			check(ids...)
			flipped := append([]byte(nil), raw...)
			flipped[at] ^= 4
			put(flipped)
			check(ids...)
		}
		put(append(append([]byte(nil), raw...), "of a longer one\n"...))
		check(ids...)
		for i := range 300 * len(after) { // longer than what was read at first
			after[fmt.Sprintf("host%d.%s", i, strings.Repeat("0", 16))] = uint64(i)
		}
		ids = append(ids, "host1."+strings.Repeat("0", 16), "host2."+strings.Repeat("0", 16))
		if len(after) > 2000 {
			break
		}
	}
}
