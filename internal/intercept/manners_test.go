//go:build linux && (amd64 || arm64)

package intercept

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/tests/command"
)

func TestArgumentsEnvironmentDirectory(t *testing.T) {
	h := newScratchHandler(t)
	dir := realTemp(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	s, err := Start(Command{Path: "/bin/sh", Dir: dir, Files: []*os.File{os.Stdin, w, w},
		Args: []string{"name", "-c", `printf '[%s]' "$0" "$@"; pwd -P; tr '\0' ' ' < /proc/$$/environ`, "zero", "", "a b", "*", "--", "-x\n"},
		Env:  []string{"A=1", markName + "=stale", "B= 2"}}, h)
	w.Close()
	if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrNested) {
		t.Skipf("SKIPPED: %v", err)
	}
	require.NoError(t, err)
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	until(t, func() bool { return ended(s) })
	require.Equal(t, "[zero][][a b][*][--][-x\n]"+dir+"\nA=1 B= 2 "+markName+"="+s.s.mark+" ", string(out))
}

func ended(s *Supervisor) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// The command has the descriptors that it is given, and none of ours.
func TestNoExtraDescriptors(t *testing.T) {
	h := newScratchHandler(t)
	bare, err := exec.Command("ls", "/proc/self/fd").Output()
	require.NoError(t, err)
	require.Equal(t, string(bare), run(t, h, "ls", "/proc/self/fd"))
}

func TestStatus(t *testing.T) {
	h := newScratchHandler(t)
	for script, want := range map[string]Status{
		"exit 0":        {},
		"exit 77":       {Code: 77},
		"kill -9 $$":    {Signal: syscall.SIGKILL},
		"kill -TERM $$": {Signal: syscall.SIGTERM},
	} {
		_, got := launch(t, h, "sh", "-c", script).finish(t)
		require.Equal(t, want, got, script)
	}
}

func TestCannotExecute(t *testing.T) {
	h := newScratchHandler(t)
	before := census(t)
	_, err := Start(Command{Path: "/no/such/program", Args: []string{"x"}}, h)
	if errors.Is(err, ErrUnsupported) || errors.Is(err, ErrNested) {
		t.Skipf("SKIPPED: %v", err)
	}
	var path *fs.PathError
	require.ErrorAs(t, err, &path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, "/no/such/program", path.Path)
	file := filepath.Join(realTemp(t), "data")
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	_, err = Start(Command{Path: file, Args: []string{"x"}}, h)
	require.ErrorIs(t, err, fs.ErrPermission)
	before.unchanged(t)
}

func TestScriptWithoutInterpreter(t *testing.T) {
	h := newScratchHandler(t)
	script := filepath.Join(sharedTemp(t), "script")
	require.NoError(t, command.WriteExecutable(script, []byte("echo $1 > "+h.target()+"\n"), 0o755))
	run(t, h, script, "a b")
	require.Equal(t, "a b\n", h.content(t))
}

func TestSameProcessGroup(t *testing.T) {
	out := run(t, newScratchHandler(t), "sh", "-c", "ps -o pgid= -p $$ 2>/dev/null || cut -d' ' -f5 /proc/$$/stat")
	require.Equal(t, strconv.Itoa(unix.Getpgrp()), strings.TrimSpace(out))
}

// A daemon outlives the command, and is supervised until it ends.
func TestDaemon(t *testing.T) {
	needs(t, "setsid")
	h := newScratchHandler(t)
	gate := filepath.Join(h.dir, "gate")
	s := launch(t, h, "sh", "-c", fmt.Sprintf("setsid -f sh -c 'while ! test -e %s; do sleep 0.01; done; echo late > %s'; exit 3", gate, h.target()))
	status, err := s.Wait()
	require.NoError(t, err)
	require.Equal(t, 3, status.Code)
	select {
	case <-s.Done():
		t.Fatal("the daemon is not waited for")
	case <-time.After(50 * time.Millisecond):
	}
	require.NoError(t, os.WriteFile(gate, nil, 0o666))
	s.finish(t)
	require.Equal(t, "late\n", h.content(t))
	require.Contains(t, h.logged(), "write guarded.json")
}

func TestKill(t *testing.T) {
	needs(t, "setsid")
	h := newScratchHandler(t)
	ready := filepath.Join(h.dir, "ready")
	s := launch(t, h, "sh", "-c", "setsid -f sleep 600; sleep 600 & touch "+ready+"; wait")
	until(t, func() bool { _, err := os.Stat(ready); return err == nil })
	require.NoError(t, s.Kill())
	_, status := s.finish(t)
	require.Equal(t, syscall.SIGKILL, status.Signal)
}

// Nothing that the supervisor makes for a command is left after it: descriptors, threads, goroutines, processes.
func TestNothingLeft(t *testing.T) {
	h := newScratchHandler(t)
	run(t, h, "sh", "-c", "echo 1 > "+h.target()) // what is made once is made
	before := census(t)
	for range scaled(10, 200) {
		run(t, newScratchHandlerIn(t, h.dir), "sh", "-c", "echo 1 > "+h.target()+"; cat "+h.target())
	}
	before.unchanged(t)
}

func newScratchHandlerIn(t testing.TB, dir string) *scratchHandler {
	h, err := newScratchHandlerAt(dir, "guarded.json", realTemp(t))
	require.NoError(t, err)
	return h
}

// counts of what a process has.
type counts struct{ descriptors, filtered, children int }

func census(t testing.TB) counts {
	t.Helper()
	var c counts
	fds, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	c.descriptors = len(fds)
	threads, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	for _, th := range threads {
		raw, _ := os.ReadFile("/proc/self/task/" + th.Name() + "/status")
		if strings.Contains(string(raw), "Seccomp:\t2") {
			c.filtered++
		}
	}
	born, err := children(os.Getpid())
	require.NoError(t, err)
	c.children = len(born)
	return c
}

// unchanged waits a while for what ends by itself.
func (c counts) unchanged(t testing.TB) {
	t.Helper()
	var now counts
	for range 3000 {
		if now = census(t); now.descriptors <= c.descriptors && now.filtered <= c.filtered && now.children <= c.children {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("before %+v, now %+v", c, now)
}
