//go:build linux

package session

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// What a program has renamed over the target is what it knows then, also where another process folds it at once: what it writes
// next from memory is made from that.
func TestARenameThatAnotherFoldsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, []byte(`{"n":0}`), 0o644))
	tree := New(Options{Dir: filepath.Dir(path), Files: []string{path}})
	x := targetAt(t, tree, path)
	process := &intercept.Process{PID: os.Getpid()}
	program := &caller{process: process, tid: process.PID}
	x.mu.Lock()
	x.starting(process)
	err := x.need()
	x.unlock()
	if err != nil {
		t.Skipf("SKIPPED: no session here: %v", err)
	}

	stop := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		g, err := sidecar.Open(path, sidecar.Options{})
		for err == nil {
			select {
			case <-stop:
				_ = g.Close()
				return
			default:
				_, err = g.Flush(t.Context())
			}
		}
		t.Error(err)
	})
	for i := range 100 {
		content := fmt.Sprintf(`{"n":%d}`, i+1)
		x.mu.Lock()
		require.NoError(t, x.publish(program, []byte(content), false, 0, unix.Timespec{}))
		bases, likely := x.heads.Bases(process, process.PID)
		known, err := bases[likely].read()
		x.unlock()
		require.NoError(t, err)
		require.Equal(t, content, string(known))
	}
	close(stop)
	others.Wait()
	tree.Close(t.Context())
}

// targetAt is the target that a program would find at path.
func targetAt(t *testing.T, tree *Tree, path string) *target {
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Dir(path), &st))
	dir, err := os.Open(filepath.Dir(path))
	require.NoError(t, err)
	defer dir.Close()
	x := tree.target(&intercept.Place{Dir: dir, DirID: intercept.ID{Dev: st.Dev, Ino: st.Ino}, Name: filepath.Base(path)})
	require.NotNil(t, x)
	return x
}
