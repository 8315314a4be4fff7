package sidecar

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who folds the first time removes the directories of sessions that were never born, and who cleans the guard directory with all of
// them. However far it comes while one is being made, that one has all that it needs, or another is made: what its programs write is in
// the target.
func TestASessionIsBornBesideASweep(t *testing.T) {
	for name, sweeps := range map[string]func(g *Guard) error{
		"fold":  func(g *Guard) error { _, err := g.Apply(t.Context(), incr("/swept")); return err },
		"clean": func(g *Guard) error { _, err := g.Clean(t.Context()); return err },
	} {
		for i, more := 0, true; more; i++ {
			for j, deeper := 0, true; deeper; j++ {
				m := used(t, "{}")
				writer := m.doing(func(open func() *Guard) error {
					for {
						s := &Session{g: open(), reader: open(), prepared: map[string]preparedScratch{}}
						s.g.session, s.reader.session = s, s
						err := s.make()
						if isMissing(err) || errors.Is(err, errSweptUnborn) {
							s.release()
							continue
						}
						if err == nil {
							_, err = s.Publish(Writer{PID: 7}, []byte(`{"written": 1}`), Bases{Versions: [][]byte{[]byte("{}")}})
						}
						return err
					}
				})
				sweeper := m.doing(func(open func() *Guard) error { return sweeps(open()) })
				more = writer.run(i)
				deeper = sweeper.run(j)
				writer.finish(sweeper)
				require.Contains(t, m.recovered(), `"written": 1`, "%s: the writer stopped before call %d, the other before its call %d", name, i+1, j+1)
			}
		}
	}
}
