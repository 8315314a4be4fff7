package sidecar

import (
	"bytes"
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
)

// oneSidecar is the only file in pending/.
func (m *machine) oneSidecar() (path string, file vfs.File) {
	dir, err := m.mem.OpenDir(guardOfFile + "/" + pendingName)
	require.NoError(m, err)
	names, err := dir.Names()
	require.NoError(m, err)
	require.Len(m, names, 1)
	file, err = dir.OpenFile(names[0], os.O_RDWR, 0)
	require.NoError(m, err)
	return guardOfFile + "/" + pendingName + "/" + names[0], file
}

// A damaged sidecar has changes in front of the damage. When the fold of a repair cannot read it, those are not in the
// target, and it is no time to take it away.
func TestRepairTakesNothingAwayThatIsNotFolded(t *testing.T) {
	ctx := context.Background()
	m := newMachine(t, `{"a":0}`)
	g := m.process(Options{})
	for range 4 {
		require.NoError(t, g.Journal(ctx, incr("/a")))
	}
	m.killAll()
	path, file := m.oneSidecar()
	content, _, err := readAll(file)
	require.NoError(t, err)
	lines := bytes.SplitAfter(content, []byte("\n"))
	_, err = file.WriteAt([]byte("?"), int64(len(lines[0])+len(lines[1])+len(lines[2])))
	require.NoError(t, err)

	failed := false
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "open" && c.Path == path && !failed {
			failed = true
			return vfs.Fault{Err: errDisk}
		}
		return vfs.Fault{}
	}
	g = m.process(Options{Warn: func(string) {}})
	_, err = g.Verify(ctx, true)
	require.NoError(t, err)
	require.True(t, failed)
	require.NoError(t, g.Close())
	require.Equal(t, `{"a":2}`, m.recovered())

	g = m.process(Options{Warn: func(string) {}})
	_, err = g.Verify(ctx, true)
	require.NoError(t, err)
	require.NoError(t, g.Close())
	require.Equal(t, `{"a":2}`, m.recovered())
	pending, err := m.mem.OpenDir(guardOfFile + "/" + pendingName)
	require.NoError(t, err)
	require.Empty(t, must(pending.Names()), "now it is in quarantine")
}
