package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// waitedFor says whether somebody waits in the kernel for the lock of a file (proc_locks(5)): by then all is done that comes before.
func waitedFor(t *testing.T, file string) bool {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(file+".lock", &st))
	table, err := os.ReadFile("/proc/locks")
	require.NoError(t, err)
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, "-> FLOCK") && strings.Contains(line, fmt.Sprintf(":%d ", st.Ino)) {
			return true
		}
	}
	return false
}

// A signal ends a wait for a lock: the verb says what became of its change, and dies of the signal.
func TestSignalWhileWaiting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		args   []string // behind them FILE
		rest   []string
		signal syscall.Signal
		says   string
		after  string
	}{
		{"set, INT", []string{"set"}, []string{"/a", "1"}, unix.SIGINT, "kept pending", `{"a": 1}`},
		{"set, TERM", []string{"set"}, []string{"/a", "1"}, unix.SIGTERM, "do not repeat it", `{"a": 1}`},
		{"incr, INT", []string{"incr"}, []string{"/a"}, unix.SIGINT, "hint: nothing was changed", `{}`},
		{"update, HUP", []string{"update"}, []string{".a = 1"}, unix.SIGHUP, "interrupted", `{}`},
		{"recover, INT", []string{"recover"}, nil, unix.SIGINT, "interrupted", `{}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if signal.Ignored(c.signal) { // inherited, from nohup for example; the verb leaves it so
				t.Skipf("SKIPPED: %v is ignored here", c.signal)
			}
			file := filepath.Join(t.TempDir(), "a.json")
			require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o644))
			release := holdLock(t, file)
			var out, errs bytes.Buffer
			cmd := jsonguard(t, append(append(c.args, file), c.rest...)...)
			cmd.Stdout, cmd.Stderr = &out, &errs
			require.NoError(t, cmd.Start())
			waitUntil(t, "it should wait for the lock", func() bool { return waitedFor(t, file) })
			require.NoError(t, cmd.Process.Signal(c.signal))
			requireDiedOf(t, cmd, c.signal)
			require.Empty(t, out.String())
			require.Contains(t, errs.String(), c.says)
			requireContent(t, file, "{}\n")
			release()
			require.NoError(t, jsonguard(t, "recover", file).Run())
			got, err := jsonguard(t, "get", file).Output()
			require.NoError(t, err)
			require.JSONEq(t, c.after, string(got))
		})
	}
}

// Standard input may never end: a signal does not wait for it.
func TestSignalWhileReadingStandardInput(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, args := range [][]string{{"set", "a.json", "/a", "-"}, {"patch", "a.json"}, {"batch", "a.json"}} {
		cmd := jsonguard(t, args...)
		cmd.Dir = dir
		r, w, err := os.Pipe()
		require.NoError(t, err)
		cmd.Stdin = r
		_, err = w.Write([]byte("{"))
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		waitUntil(t, "it should read", func() bool {
			waiting, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ)
			return err == nil && waiting == 0
		})
		require.NoError(t, cmd.Process.Signal(unix.SIGINT))
		requireDiedOf(t, cmd, unix.SIGINT)
		require.NoError(t, errors.Join(r.Close(), w.Close()))
		require.NoFileExists(t, filepath.Join(dir, "a.json"))
	}
}

func requireDiedOf(t *testing.T, cmd *exec.Cmd, s syscall.Signal) {
	t.Helper()
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		<-ended
		require.Fail(t, "it did not end")
	}
	w := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, w.Signaled() && w.Signal() == s, "%v: %v", cmd.ProcessState, cmd.Stderr)
}
