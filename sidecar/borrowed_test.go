package sidecar

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// A process may fold while a child of it, which goes on under its hold, folds as well. However far the one comes before the
// other begins, and however far that comes before the one goes on, both changes are there.
func TestParentAndChildFoldAtOnce(t *testing.T) {
	stride := 1
	if testing.Short() {
		stride = 3
	}
	for _, change := range []string{"apply", "update"} {
		for _, parentFirst := range []bool{true, false} {
			for i, more := 0, true; more; i += stride {
				for j, deeper := 0, true; deeper; j += stride {
					m := newMachine(t, "{}")
					first, second := m.lone(change, "/parent"), m.child(change, "/child")
					if !parentFirst {
						first, second = second, first
					}
					more = first.run(i)
					deeper = second.run(j)
					first.finish(second)
					require.JSONEq(t, `{"parent": 1, "child": 1}`, m.recovered(),
						"%s, parent first: %v; the first stopped before call %d, the second before its call %d", change, parentFirst, i+1, j+1)
				}
			}
		}
	}
}

// process is a change under way in another process, which goes on call by call.
type process struct {
	t     *testing.T
	asks  chan vfs.Call
	grant chan struct{}
	ended chan error
	waits bool // for a lock
	done  bool
}

func (m *machine) lone(change, at string) *process { return m.changing(change, at, func(*Guard) {}) }

func (m *machine) child(change, at string) *process {
	return m.changing(change, at, func(g *Guard) {
		g.seams.lockTarget = func(context.Context, string, time.Duration) (targetLock, error) { return heldByTree{}, nil }
	})
}

func (m *machine) changing(change, at string, prepare func(*Guard)) *process {
	return m.doing(func(open func() *Guard) error {
		g := open()
		prepare(g)
		var err error
		if change == "apply" {
			_, err = g.Apply(m.Context(), incr(at))
		} else {
			_, err = g.Update(m.Context(), func(d *merge.Document) error { return d.Do(incr(at)) })
		}
		return err
	})
}

// doing is another process that does something with the guards that it opens.
func (m *machine) doing(what func(open func() *Guard) error) *process {
	p := &process{t: m.T, asks: make(chan vfs.Call), grant: make(chan struct{}), ended: make(chan error)}
	open := func() *Guard {
		return m.processWith(Options{Timeout: time.Hour}, func(c vfs.Call) vfs.Fault {
			p.asks <- c
			<-p.grant
			return vfs.Fault{}
		})
	}
	go func() { p.ended <- what(open) }()
	p.await()
	return p
}

// await waits until it stands before a call, or is done.
func (p *process) await() {
	select {
	case c := <-p.asks:
		p.waits = c.Op == "lock"
	case err := <-p.ended:
		require.NoError(p.t, err)
		p.done = true
	}
}

// run lets it make so many calls, and says whether it could make more.
func (p *process) run(calls int) bool {
	for p.waits = false; calls > 0 && !p.done && !p.waits; calls-- {
		p.grant <- struct{}{}
		p.await()
	}
	return !p.done && !p.waits
}

// finish lets it come to its end, and the other one; each goes on by itself for as long as it waits for nobody.
func (p *process) finish(other *process) {
	const longest = 1000 // calls
	for turns := 0; !p.done || !other.done; turns++ {
		require.Less(p.t, turns, 10, "they wait for each other")
		p.run(longest)
		other.run(longest)
	}
}
