//go:build linux

package session

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
)

// A program is killed while it waits for a lock, and its supervisor gets the lock only after it has heard of that: whoever waits
// behind it is not kept waiting for one that nobody gives back.
func TestKilledWhileItWaitsForALock(t *testing.T) {
	for name, kind := range map[string]intercept.LockKind{"record": intercept.Record, "flock": intercept.Flock} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.json")
			require.NoError(t, os.WriteFile(path, []byte(`{}`), 0o644))
			tree := New(Options{Dir: filepath.Dir(path), Files: []string{path}})
			x := targetAt(t, tree, path)
			process := &intercept.Process{PID: os.Getpid()}
			program := &caller{process: process, tid: process.PID, ctx: func() context.Context { return context.Background() }}
			x.mu.Lock()
			err := x.need()
			if err != nil {
				x.unlock()
				t.Skipf("SKIPPED: no session here: %v", err)
			}
			x.starting(process)
			w := &writer{t: x, process: process, tid: process.PID, bases: []*version{missing}}
			bases, err := w.openBases()
			require.NoError(t, err)
			var f *os.File
			w.scratch, f, err = x.session.Create(w.who(), os.O_RDWR, 0o600, nil, bases, 0)
			require.NoError(t, err)
			w.file, err = w.scratch.Open()
			require.NoError(t, err)
			tree.knowScratch(w.id(), w)
			x.writers = append(x.writers, w)
			other, err := os.OpenFile(x.session.ProgramLock(), os.O_RDWR|os.O_CREATE, 0o600)
			x.unlock()
			require.NoError(t, err)
			require.NoError(t, unix.Flock(int(other.Fd()), unix.LOCK_EX))

			killed := make(chan struct{})
			go func() {
				defer close(killed)
				for waits := false; !waits; time.Sleep(time.Millisecond) {
					x.mu.Lock()
					waits = len(x.waits) > 0
					x.unlock()
				}
				_ = f.Close()
				tree.Changed(w, intercept.Closed)
				tree.Exited(process, syscall.SIGKILL)
				_ = unix.Flock(int(other.Fd()), unix.LOCK_UN)
			}()
			require.Error(t, tree.lock(program, intercept.Descriptor{FD: int(f.Fd()), ID: w.id()}, intercept.LockRequest{Kind: kind, Exclusive: true, Wait: true}))
			<-killed
			require.NoError(t, unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB), "nobody has it")
			require.NoError(t, other.Close())
			tree.Close(t.Context())
		})
	}
}

// A program that has the lock ends without closing what it wrote. Until it is known how it ended, what it wrote does not count, and so
// nobody else gets the lock.
func TestALockIsGivenWhenItsWriteCounts(t *testing.T) {
	x, path := linesIn(t, "1\n")
	process := &intercept.Process{PID: 1 << 30} // none
	x.mu.Lock()
	w := &writer{t: x, process: process, tid: process.PID, bases: []*version{x.onDisk()}}
	bases, err := w.openBases()
	require.NoError(t, err)
	var f *os.File
	w.scratch, f, err = x.session.Create(w.who(), os.O_RDWR, 0o600, nil, bases, 0)
	require.NoError(t, err)
	w.file, err = w.scratch.Open()
	require.NoError(t, err)
	x.tree.knowScratch(w.id(), w)
	lock, err := os.OpenFile(x.session.ProgramLock(), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	w.lock = &programLock{t: x, holder: lockHolder{writer: w}, file: lock}
	x.flocks = append(x.flocks, w.lock)
	x.writers = append(x.writers, w)
	other, err := os.OpenFile(x.session.ProgramLock(), os.O_RDWR, 0)
	x.unlock()
	require.NoError(t, err)
	defer other.Close()

	_, err = f.WriteString("2\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	x.tree.Changed(w, intercept.Closed)
	x.mu.Lock()
	x.settle()
	x.unlock()
	require.ErrorIs(t, unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
	x.tree.Exited(process, 0)
	require.NoError(t, unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	_, err = x.session.Guard().Flush(t.Context())
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "2\n", string(content))
}
