//go:build unix

package vfs

import (
	"errors"
	"io/fs"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who removes a directory that another one removes in the same moment is told that it is gone, and not that it is a directory.
func TestADirectoryIsRemovedByTwo(t *testing.T) {
	dir, err := OS.OpenDir(t.TempDir())
	require.NoError(t, err)
	defer dir.Close()
	const rounds, removers = 3000, 2
	for range rounds {
		require.NoError(t, dir.Mkdir("d", 0o700))
		var start, done sync.WaitGroup
		var errs [removers]error
		start.Add(1)
		for i := range removers {
			done.Go(func() {
				start.Wait()
				errs[i] = dir.Remove("d")
			})
		}
		start.Done()
		done.Wait()
		removed := 0
		for _, err := range errs {
			if err == nil {
				removed++
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
		}
		require.Equal(t, 1, removed)
	}
}
