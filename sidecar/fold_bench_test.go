package sidecar

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// BenchmarkFoldForTheDead folds what many dead processes left, each line a counter of its own. The time of a line says
// whether the fold is linear in both.
func BenchmarkFoldForTheDead(b *testing.B) {
	for _, size := range []struct{ sidecars, lines int }{{10, 1000}, {100, 100}, {100, 1000}, {1000, 10}, {1000, 100}, {1000, 1000}} {
		b.Run(fmt.Sprintf("sidecars=%d/lines=%d", size.sidecars, size.lines), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				target := b.TempDir() + "/n.json"
				require.NoError(b, os.WriteFile(target, []byte(`{"n":0}`), 0o600))
				g, err := Open(target, Options{})
				require.NoError(b, err)
				for s := range size.sidecars {
					_, j, err := g.newJournal(false)
					require.NoError(b, err)
					for l := range size.lines {
						_, err := j.append(line{Ops: encodeOps([]merge.Op{incr(fmt.Sprintf("/s%d/c%d", s, l%10))})}, false)
						require.NoError(b, err)
					}
					require.NoError(b, j.close(false))
				}
				b.StartTimer()
				r, err := g.Flush(b.Context())
				b.StopTimer()
				require.NoError(b, err)
				require.Equal(b, size.sidecars*size.lines, r.Folded)
				require.NoError(b, g.Close())
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*size.sidecars*size.lines), "ns/line")
		})
	}
}
