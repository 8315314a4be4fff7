//go:build linux && (amd64 || arm64)

package intercept

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// started is a supervised command and what it says.
type started struct {
	*Supervisor
	out *bytes.Buffer
	eof chan struct{}
}

// launch runs a command under the handler. Its stdout and stderr are kept.
func launch(t testing.TB, h Handler, argv ...string) *started {
	t.Helper()
	return launchWith(t, h, nil, argv...)
}

// launchWith gives the command more descriptors, from 3.
func launchWith(t testing.TB, h Handler, files []*os.File, argv ...string) *started {
	t.Helper()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		t.Skipf("SKIPPED: %s is not installed", argv[0])
	}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	null, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer null.Close()
	s, err := Start(Command{Path: path, Args: argv, Files: append([]*os.File{null, w, w}, files...)}, h)
	w.Close()
	if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrNested) {
		t.Skipf("SKIPPED: %v", err)
	}
	require.NoError(t, err)
	out := &started{Supervisor: s, out: &bytes.Buffer{}, eof: make(chan struct{})}
	go func() {
		_, _ = io.Copy(out.out, r)
		r.Close()
		close(out.eof)
	}()
	t.Cleanup(func() {
		_ = s.Kill()
		select {
		case <-s.Done():
		case <-time.After(10 * time.Second):
		}
	})
	return out
}

// finish waits for the command and its tree, and returns what was said.
func (s *started) finish(t testing.TB) (string, Status) {
	t.Helper()
	patience := 3 * time.Minute
	if *long {
		patience = time.Hour
	}
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Fatal("the tree does not end")
	}
	status, err := s.Wait()
	require.NoError(t, err)
	require.NoError(t, s.Err())
	<-s.eof
	return s.out.String(), status
}

// run is launch and finish, for a command that must succeed.
func run(t testing.TB, h *scratchHandler, argv ...string) string {
	t.Helper()
	out, status := launch(t, h, argv...).finish(t)
	require.Equal(t, Status{}, status, out)
	h.check(t)
	return out
}

func (h *scratchHandler) check(t testing.TB) {
	t.Helper()
	if err := h.failed.Load(); err != nil {
		t.Fatal(*err)
	}
}

func (h *scratchHandler) content(t testing.TB) string {
	t.Helper()
	raw, err := os.ReadFile(h.target())
	require.NoError(t, err)
	return string(raw)
}

func TestShellWritesThroughScratch(t *testing.T) {
	h := newScratchHandler(t)
	run(t, h, "sh", "-c", "echo one > "+h.target()+"; echo two >> "+h.target()+"; cat "+h.target())
	require.Equal(t, "one\ntwo\n", h.content(t))
	require.Equal(t, []string{"write guarded.json", "write guarded.json", "read guarded.json"}, h.logged())
}

// The guardian has nothing of the heap: what both had would be copied whenever we write it.
func TestGuardianHasNoHeap(t *testing.T) {
	const size, several = 1 << 20, 8 // larger than the stack that it has
	var blocks [several][]byte
	for i := range blocks {
		blocks[i] = make([]byte, size)
		blocks[i][size/2] = 1
	}
	s, err := New(newScratchHandler(t))
	if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrNested) {
		t.Skipf("SKIPPED: %v", err)
	}
	require.NoError(t, err)
	defer s.Close()
	var m memory
	looked := 0
	for _, block := range blocks {
		at := uint64(uintptr(unsafe.Pointer(&block[size/2])))
		if at&^(arenaSize-1) != s.s.guardian.heap {
			continue
		}
		looked++
		_, err := m.read(s.s.guardian.pid, at, make([]byte, 1))
		require.Equal(t, unix.EFAULT, err)
	}
	runtime.KeepAlive(&blocks)
	if looked == 0 {
		t.Log("SKIPPED: the heap begins at the end of an arena")
	}
	text, err := m.path(s.s.guardian.pid, s.s.guardian.text, make([]byte, pathMax))
	require.NoError(t, err)
	require.Equal(t, guardianName, string(text))
}

// Whoever passes signals on learns that there is nobody any more.
func TestSignalCommand(t *testing.T) {
	needs(t, "sleep")
	path, err := exec.LookPath("sleep")
	require.NoError(t, err)
	s, err := Start(Command{Path: path, Args: []string{"sleep", "1000"}}, newScratchHandler(t))
	if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrNested) {
		t.Skipf("SKIPPED: %v", err)
	}
	require.NoError(t, err)
	require.NoError(t, s.SignalCommand(syscall.Signal(0)))
	require.NoError(t, s.SignalCommand(syscall.SIGTERM))
	status, err := s.Wait()
	require.NoError(t, err)
	require.Equal(t, syscall.SIGTERM, status.Signal)
	require.ErrorIs(t, s.SignalCommand(syscall.SIGTERM), os.ErrProcessDone)
	<-s.Done()
	s.s.command = os.Getpid() // its number is another's by then
	require.ErrorIs(t, s.SignalCommand(syscall.Signal(0)), os.ErrProcessDone)
}
