//go:build linux

package session

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// A program is killed while its call waits to be carried out, and its end is told first. Nobody is left to say how what that call makes
// came to its end: a file that it has opened, and emptied by that, would count as emptied by a program that meant it.
func TestACallOfWhoHasEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	const before = `{"n":0}`
	require.NoError(t, os.WriteFile(path, []byte(before), 0o644))
	require.NoError(t, os.WriteFile(path+".new", []byte(`{"n":1}`), 0o644))
	tree := New(Options{Dir: filepath.Dir(path), Files: []string{path}})
	x := targetAt(t, tree, path)
	x.mu.Lock()
	err := x.need()
	x.unlock()
	if err != nil {
		t.Skipf("SKIPPED: no session here: %v", err)
	}
	defer tree.Close(t.Context())
	at := func(path string) *intercept.Place {
		var st, parent unix.Stat_t
		dir, err := os.Open(filepath.Dir(path))
		require.NoError(t, err)
		object, err := os.Open(path)
		require.NoError(t, err)
		t.Cleanup(func() { dir.Close(); object.Close() })
		require.NoError(t, unix.Fstat(int(object.Fd()), &st))
		require.NoError(t, unix.Fstat(int(dir.Fd()), &parent))
		return &intercept.Place{
			Dir: dir, DirID: intercept.ID{Dev: parent.Dev, Ino: parent.Ino}, Name: filepath.Base(path), Path: path,
			Object: object, ID: intercept.ID{Dev: st.Dev, Ino: st.Ino}, Mode: st.Mode, Links: 1,
		}
	}
	gone := &caller{
		process: &intercept.Process{PID: os.Getpid()}, tid: os.Getpid(), ended: func() bool { return true },
		as: func(act func() error) error { return act() }, ctx: func() context.Context { return context.Background() },
	}
	f, err := tree.open(gone, at(path), intercept.OpenHow{Flags: unix.O_WRONLY | unix.O_TRUNC})
	require.Nil(t, f)
	require.ErrorIs(t, err, unix.EINTR)
	require.ErrorIs(t, tree.rename(gone, at(path+".new"), at(path), 0), unix.EINTR)
	require.ErrorIs(t, tree.unlink(gone, at(path)), unix.EINTR)
	require.ErrorIs(t, tree.rename(gone, at(path), &intercept.Place{Dir: at(path).Dir, DirID: at(path).DirID, Name: "away"}, 0), unix.EINTR)
	require.ErrorIs(t, tree.truncate(gone, at(path), 0), unix.EINTR)
	descriptor := intercept.Descriptor{ID: at(path).ID, Path: path}
	tree.know(descriptor.ID, x)
	require.ErrorIs(t, tree.lock(gone, descriptor, intercept.LockRequest{Kind: intercept.Flock, Exclusive: true}), unix.EINTR)

	require.Empty(t, x.writers)
	require.False(t, x.gone)
	left, err := filepath.Glob(filepath.Join(sidecar.GuardDir(path), "views", "*", "*"))
	require.NoError(t, err)
	require.Len(t, left, 1, "the session's owner: %q", left)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, string(content))
}
