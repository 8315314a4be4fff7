package sidecar

import (
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// What a session wrote, and was folded, does not come back without its watermark when the power is cut while the guard
// directory is cleaned away, nor does a guard directory that is then used again look like a damaged one.
func TestPowerCutsWhileASessionIsCleanedAway(t *testing.T) {
	for _, writtenBack := range []bool{false, true} { // what the fold did is on disk, though nobody asked for that
		options := Options{Policy: &merge.Policy{Rules: []merge.Rule{{At: "/n", Merge: merge.Sum}}}}
		run := func(m *machine) {
			s := &Session{g: m.process(options), reader: m.process(options), prepared: map[string]preparedScratch{}}
			s.g.session, s.reader.session = s, s
			require.NoError(t, s.make())
			_, err := s.publish(Writer{PID: 1, Command: "program"}, []byte(`{"n":1}`), Bases{Versions: [][]byte{[]byte(`{"n":0}`)}})
			require.NoError(t, err)
			m.mem.Sync() // the system writes what nobody asked it to
			_, err = s.Fold(t.Context(), Closed{})
			require.NoError(t, err)
			if writtenBack {
				m.mem.Sync()
			}
			require.NoError(t, s.Close(true))
		}
		m := newMachine(t, `{"n":0}`)
		var killed, cut []*machine
		m.before = func(c vfs.Call) vfs.Fault {
			if c.Changes() {
				killed = append(killed, &machine{T: t, mem: m.mem.Clone()})
				cut = append(cut, &machine{T: t, mem: m.mem.Cuts(vfs.AnyOrder).Disk(0), boots: "2"})
			}
			return vfs.Fault{}
		}
		run(m)
		// next is the process that comes then. It needs a guard directory.
		next := func(m *machine) {
			g := m.process(options)
			require.NoError(t, g.Journal(t.Context(), incr("/next")))
			_, err := g.Flush(t.Context())
			require.NoError(t, err)
			require.NoError(t, g.Close())
			require.NotContains(t, m.content(), `"n":2`)
		}
		for _, m := range cut {
			next(m)
		}
		for _, m := range killed {
			var then []*machine
			m.before = func(c vfs.Call) vfs.Fault {
				if c.Changes() {
					then = append(then, &machine{T: t, mem: m.mem.Cuts(vfs.AnyOrder).Disk(0), boots: "2"})
				}
				return vfs.Fault{}
			}
			next(m)
			for _, m := range then {
				next(m)
			}
		}
	}
}
