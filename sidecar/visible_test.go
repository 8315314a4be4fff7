package sidecar

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
)

// foldsSoon is a process whose journaled changes are folded in the background, by the clock of the test.
func (m *machine) foldsSoon(before func(vfs.Call) vfs.Fault) *Guard {
	g := m.processWith(Options{Timeout: time.Hour}, before)
	g.wake = nil
	return g
}

func allGoWell(vfs.Call) vfs.Fault { return vfs.Fault{} }

// visibleIn is how long it takes until every reader sees so many changes.
func (m *machine) visibleIn(changes int) time.Duration {
	began := time.Now()
	for m.counts()["n"] < changes {
		require.Less(m, time.Since(began), time.Hour)
		time.Sleep(time.Millisecond)
	}
	return time.Since(began)
}

// The clock stands still while anything runs, so that what is measured is for how long a change is put off. What is left of
// what is promised is for the fold.
func TestAJournaledChangeIsVisibleSoon(t *testing.T) {
	const soon = VisibleWithin * 17 / 20
	t.Run("alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine(t, `{"n":0}`)
			g := m.foldsSoon(allGoWell)
			for i := range 3 {
				require.NoError(t, g.Journal(t.Context(), incr("/n")))
				require.LessOrEqual(t, m.visibleIn(i+1), soon)
				time.Sleep(time.Minute)
			}
			require.NoError(t, g.Close())
		})
	})
	t.Run("with others behind it, of two processes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine(t, `{"n":0}`)
			both := []*Guard{m.foldsSoon(allGoWell), m.foldsSoon(allGoWell)}
			var made []time.Time
			seen, longest := 0, time.Duration(0)
			for range 1000 {
				for _, g := range both {
					made = append(made, time.Now())
					require.NoError(t, g.Journal(t.Context(), incr("/n")))
				}
				time.Sleep(time.Millisecond)
				synctest.Wait()
				for visible := m.counts()["n"]; seen < visible; seen++ {
					longest = max(longest, time.Since(made[seen]))
				}
			}
			require.Greater(t, seen, len(made)*9/10)
			require.LessOrEqual(t, longest, soon)
			require.NoError(t, errors.Join(both[0].Close(), both[1].Close()))
			time.Sleep(time.Minute) // who was waiting for a lock gets it, and gives it back
		})
	})
	t.Run("once there is room on the disk again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine(t, `{"n":0}`)
			full := true
			g := m.foldsSoon(func(c vfs.Call) vfs.Fault {
				if full && c.Op == "write" && strings.HasSuffix(c.Path, tempSuffix) {
					return vfs.Fault{Err: syscall.ENOSPC}
				}
				return vfs.Fault{}
			})
			require.NoError(t, g.Journal(t.Context(), incr("/n")))
			time.Sleep(10 * time.Minute)
			require.Zero(t, m.counts()["n"])
			full = false
			require.LessOrEqual(t, m.visibleIn(1), time.Minute+soon, "it is tried again each minute")
			require.NoError(t, g.Close())
		})
	})
}
