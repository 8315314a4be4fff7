package sidecar

import (
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

func refused(id string) merge.Op {
	return merge.Op{Kind: merge.OpAppend, At: "/n", Value: []byte(`"` + id + `"`)} // a number is no array
}

// A name in quarantine is what salvage and the owner of a change go by: half a file must not have it.
func TestQuarantineHoldsWholeFiles(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), refused("x")))
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "write" && strings.Contains(c.Path, "/"+quarantineName+"/") {
			return vfs.Fault{Err: syscall.ENOSPC, Short: true}
		}
		return vfs.Fault{}
	}
	_, err := g.Flush(t.Context())
	require.ErrorIs(t, err, syscall.ENOSPC)
	names := func() []string {
		dir, err := m.mem.OpenDir(guardOfFile + "/" + quarantineName)
		require.NoError(t, err)
		all, err := dir.Names()
		require.NoError(t, err)
		return all
	}
	for _, name := range names() {
		require.False(t, strings.HasSuffix(name, ".json"), name)
	}
	require.Equal(t, `{"n":0}`, m.recovered())
	require.Len(t, names(), 1)
	require.True(t, strings.HasSuffix(names()[0], ".1.json"))
}

// What is in quarantine is the change as it was, with who made it and why it is there.
func TestQuarantineTellsWhatAndWhy(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{Command: "a command"})
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	require.NoError(t, g.Journal(t.Context(), incr("/u"), refused("x")))
	require.NoError(t, g.Journal(t.Context(), incr("/n")))
	result, err := g.Flush(t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"n":2}`, m.content(), "all or nothing of a change, and the ones around it went on")
	require.Len(t, result.Rejected, 1)
	require.EqualValues(t, 2, result.Rejected[0].Seq)

	dir, err := m.mem.OpenDir(guardOfFile + "/" + quarantineName)
	require.NoError(t, err)
	record, err := readFile(dir, result.Rejected[0].File)
	require.NoError(t, err)
	for _, part := range []string{`"command": "a command"`, `"reason": "`, `"seq": 2`, `\"at\":\"/u\"`, `/n`, `x`} {
		require.Contains(t, string(record), part)
	}
	require.NotContains(t, string(record), `"reason": ""`)
	log, err := g.Conflicts(t.Context())
	require.NoError(t, err)
	require.Len(t, log, 1)
	require.True(t, log[0].Refused)
	require.NoError(t, g.Close())
}

// A line of the conflict log that a crash tore is passed over, and the next one begins on a line of its own.
func TestConflictLogSurvivesATornLine(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{})
	require.NoError(t, g.Journal(t.Context(), refused("x")))
	_, err := g.Flush(t.Context())
	require.NoError(t, err)
	dir, err := m.mem.OpenDir(guardOfFile)
	require.NoError(t, err)
	raw, err := readFile(dir, conflictsName)
	require.NoError(t, err)
	for cut := range raw {
		one := &machine{T: t, mem: m.mem.Clone()}
		dir, err := one.mem.OpenDir(guardOfFile)
		require.NoError(t, err)
		f, err := dir.OpenFile(conflictsName, 2, 0)
		require.NoError(t, err)
		require.NoError(t, f.Truncate(int64(cut)))
		h := one.process(Options{})
		require.NoError(t, h.Journal(t.Context(), refused("y")))
		_, err = h.Flush(t.Context())
		require.NoError(t, err)
		log, err := h.Conflicts(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, log, "cut at %d", cut)
		require.Contains(t, log[len(log)-1].Sidecar, h.journal.id, "cut at %d", cut)
	}
}
