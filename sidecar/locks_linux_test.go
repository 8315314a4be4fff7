package sidecar

import (
	"os"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
)

// A wait for guard/lock that was given up goes on in a thread of its own, and Go ends a program with 10,000 of them.
func TestWaitsForTheGuardLockThatWereGivenUp(t *testing.T) {
	dir, err := vfs.OS.OpenDir(t.TempDir())
	require.NoError(t, err)
	defer dir.Close()
	open := func() vfs.File {
		file, err := dir.OpenFile(guardLockName, os.O_RDWR|os.O_CREATE, 0o600)
		require.NoError(t, err)
		return file
	}
	holder := open()
	ok, err := holder.TryLock()
	require.True(t, ok && err == nil)
	threads := func() int { return pprof.Lookup("threadcreate").Count() }
	before, files := threads(), openFiles(t)
	for range 300 {
		require.ErrorIs(t, waitLock(t.Context(), open(), time.Millisecond), lock.ErrTimeout)
	}
	require.Less(t, threads()-before, 100)

	require.NoError(t, holder.Close())
	last := open()
	require.NoError(t, waitLock(t.Context(), last, time.Minute))
	for range 1000 { // those that were given up let go as soon as they are served
		if openFiles(t) <= files {
			return
		}
		_ = last.Close()
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d files are open, %d before", openFiles(t), files)
}
