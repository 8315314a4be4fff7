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
							_, err = s.publish(Writer{PID: 7}, []byte(`{"written": 1}`), Bases{Versions: [][]byte{[]byte("{}")}})
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

// A session is born while another process cleans the guard directory away, writes, and the other is killed, anywhere behind that.
// Who comes next sees what was written, whatever it does.
func TestASessionIsBornBesideACleaningThatIsKilled(t *testing.T) {
	writes := func(open func() *Guard) error {
		s := &Session{g: open(), reader: open(), prepared: map[string]preparedScratch{}}
		s.g.session, s.reader.session = s, s
		if err := s.make(); err != nil {
			return err
		}
		_, err := s.publish(Writer{PID: 7}, []byte(`{"written": 1}`), Bases{Versions: [][]byte{[]byte("{}")}})
		return err
	}
	stride := 1
	if testing.Short() {
		stride = 3
	}
	for i, more := 0, true; more; i += stride {
		m := used(t, "{}")
		cleaner := m.doing(func(open func() *Guard) error { _, err := open().Clean(t.Context()); return err })
		more = cleaner.run(i)
		var written error
		writer := m.doing(func(open func() *Guard) error { written = writes(open); return nil })
		if writer.run(1000); !writer.done || written != nil {
			cleaner.finish(writer) // it waits, or has to begin again
			continue
		}
		for k := 0; ; k++ {
			for what, next := range map[string]func(g *Guard) error{
				"recover":            func(g *Guard) error { _, _, err := g.Recover(t.Context(), false); return err },
				"a lone change":      func(g *Guard) error { _, err := g.Apply(t.Context(), incr("/after")); return err },
				"a reader":           func(g *Guard) error { _, err := g.Read(t.Context()); return err },
				"clean":              func(g *Guard) error { _, err := g.Clean(t.Context()); return err },
				"a journaled change": func(g *Guard) error { return errors.Join(g.Journal(t.Context(), incr("/after")), g.Close()) },
			} {
				killed := m.clone()
				require.NoError(t, next(killed.process(Options{})), what)
				require.Contains(t, killed.content(), `"written": 1`, "%s: written before call %d of the one that was killed %d calls behind that", what, i+1, k)
			}
			if !cleaner.run(1) {
				break
			}
		}
		cleaner.finish(writer)
	}
}

// Two clean at once: however far the one has come when the other goes on, neither fails for what the other has removed.
func TestTwoCleanAtOnce(t *testing.T) {
	clean := func(open func() *Guard) error { _, err := open().Clean(t.Context()); return err }
	for i, more := 0, true; more; i++ {
		for j, deeper := 0, true; deeper; j++ {
			m := used(t, "{}")
			one, other := m.doing(clean), m.doing(clean)
			more = one.run(i)
			deeper = other.run(j)
			one.finish(other)
			require.Equal(t, "{}", m.content())
		}
	}
}
