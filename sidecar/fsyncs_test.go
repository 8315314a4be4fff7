package sidecar

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// docs/fold.md says what each acknowledgement costs: one fsync more is a bug as one less is.
func TestFsyncsOfEachAcknowledgement(t *testing.T) {
	update := func(g *Guard) error {
		_, err := g.Update(t.Context(), func(d *merge.Document) error { return d.Do(incr("/n")) })
		return err
	}
	apply := func(g *Guard) error { _, err := g.Apply(t.Context(), appendOp("1")); return err }
	journal := func(g *Guard) error { return g.Journal(t.Context(), incr("/n")) }
	flush := func(g *Guard) error { _, err := g.Flush(t.Context()); return err }
	refuse := func(g *Guard) error {
		return g.Journal(t.Context(), merge.Op{Kind: merge.OpAppend, At: "/n", Value: []byte("1")})
	}

	keeping := func(do func(g *Guard) error) func(g *Guard) error {
		return func(g *Guard) error { g.history.Store(&History{}); return do(g) }
	}

	for _, c := range []struct {
		what   string
		target string
		before func(g *Guard) error // not counted
		do     func(g *Guard) error
		want   string
	}{
		{"a lone change", `{"n":0}`, nil, update, "temp parent"},
		{"a change beside sidecars", `{"n":0}`, journal, update, "temp parent commit parent"},
		{"the fold of a journaled change", `{"n":0}`, journal, flush, "temp parent commit parent"},
		{"the fold of a refused change", `{"n":0}`, refuse, flush, "quarantined quarantine guard conflicts commit"},
		{"a fold that finds nothing", `{"n":0}`, func(g *Guard) error {
			if err := journal(g); err != nil {
				return err
			}
			return flush(g)
		}, flush, ""},
		{"a journaled change", `{"n":0}`, journal, journal, "sidecar"},
		{"the first one of a process", `{"n":0}`, func(g *Guard) error { _, err := g.openedStore(true); return err }, journal, "pending sidecar"},
		{"an append to JSON Lines", "", apply, apply, "commit target"},
		{"a fold that keeps what it replaces", `{"n":0}`, keeping(journal), keeping(flush), "temp parent commit parent"},
	} {
		t.Run(c.what, func(t *testing.T) {
			m := newMachine(t, c.target)
			if c.target == "" {
				lines := merge.Lines
				m.format = &lines
			}
			g := m.process(Options{})
			if c.before != nil {
				require.NoError(t, c.before(g))
			}
			var synced []string
			m.before = func(c vfs.Call) vfs.Fault {
				if c.Op == "sync" {
					synced = append(synced, whatIsSynced(c.Path))
				}
				return vfs.Fault{}
			}
			require.NoError(t, c.do(g))
			require.Equal(t, c.want, strings.Join(synced, " "))
		})
	}
}

// A journaled change takes as long as its calls. What asks for more than the inode has the next fsync write the inode, too.
func TestCallsOfAJournaledChange(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	var calls []string
	m.before = func(c vfs.Call) vfs.Fault {
		calls = append(calls, c.Op+" "+whatIsSynced(c.Path))
		return vfs.Fault{}
	}
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	require.Equal(t, []string{"stat target", "read " + guardOfFile + "/" + settledName, "write sidecar", "sync sidecar", "inode sidecar"}, calls)
}

func whatIsSynced(path string) string {
	switch name := path[strings.LastIndexByte(path, '/')+1:]; {
	case path == machineDir:
		return "parent"
	case name == machineFile:
		return "target"
	case path == guardOfFile:
		return "guard"
	case name == pendingName, name == quarantineName:
		return name
	case name == conflictsName:
		return "conflicts"
	case strings.HasPrefix(name, "commit."):
		return "commit"
	case strings.HasSuffix(name, tempSuffix):
		return "temp"
	case strings.Contains(path, "/"+pendingName+"/"):
		return "sidecar"
	case strings.Contains(path, "/"+quarantineName+"/"):
		return "quarantined"
	default:
		return path
	}
}
