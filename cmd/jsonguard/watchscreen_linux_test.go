package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal is a program on a terminal of its own, and what it wrote there.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File

	mu   sync.Mutex
	text []byte
	ends chan struct{}
}

func onTerminal(t *testing.T, width, height int, cmd *exec.Cmd) *terminal {
	t.Helper()
	master, slave := pty(t)
	x := &terminal{t: t, cmd: cmd, master: master, ends: make(chan struct{})}
	x.resize(width, height)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	require.NoError(t, slave.Close())
	go func() {
		defer close(x.ends)
		buffer := make([]byte, 64<<10)
		for {
			n, err := master.Read(buffer)
			x.mu.Lock()
			x.text = append(x.text, buffer[:n]...)
			x.mu.Unlock()
			if err != nil { // EIO: nobody holds the other end any more
				return
			}
		}
	}()
	return x
}

func (x *terminal) resize(width, height int) {
	require.NoError(x.t, unix.IoctlSetWinsize(int(x.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(width), Row: uint16(height)}))
}

// frame is the last whole screen that was drawn, line by line.
func (x *terminal) frame() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	end := strings.LastIndex(string(x.text), "\x1b[K\x1b[J")
	if end < 0 {
		return nil
	}
	start := strings.LastIndex(string(x.text[:end]), "\x1b[H")
	return strings.Split(string(x.text[start+len("\x1b[H"):end]), "\x1b[K\x1b[E")
}

func (x *terminal) until(what string, is func(lines []string) bool) {
	x.t.Helper()
	for late := time.Now().Add(time.Minute); time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
		if is(x.frame()) {
			return
		}
	}
	x.t.Fatalf("waited for %s; the screen is\n%s", what, strings.Join(x.frame(), "\n"))
}

func (x *terminal) shows(text string) {
	x.t.Helper()
	x.until(text, func(lines []string) bool { return strings.Contains(strings.Join(lines, "\n"), text) })
}

// all waits for the end and returns everything that was written.
func (x *terminal) all() string {
	<-x.ends
	_ = x.cmd.Wait()
	return string(x.text)
}

func TestWatchOnATerminal(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"runs": [1, 2, 3]}`), 0o644))
	cmd := jsonguard(t, "watch", file, "--grow", "/runs")
	cmd.Env = append(cmd.Environ(), "NO_COLOR=", "TERM=xterm-256color")
	x := onTerminal(t, 90, 28, cmd)
	x.shows("in /runs")
	require.Len(t, x.frame(), 28)

	x.resize(60, 18)
	x.until("a smaller screen", func(lines []string) bool { return len(lines) == 18 })
	x.resize(100, 30)
	x.until("a larger screen", func(lines []string) bool { return len(lines) == 30 })

	succeed(t, "append", file, "/runs", "4")
	x.shows("+1")
	succeed(t, "set", file, "/runs", "[]")
	x.shows("\x1b[1;97;41m")
	x.shows("/runs SHRANK from 4 to 0: 4 lost")

	_, err := x.master.Write([]byte{3}) // ^C
	require.NoError(t, err)
	text := x.all()
	require.Equal(t, statusMissing, x.cmd.ProcessState.ExitCode())
	require.Equal(t, 1, strings.Count(text, "\x1b[?1049h"))
	last := text[strings.LastIndex(text, "\x1b[J"):]
	require.Contains(t, last, "\x1b[?7h\x1b[?25h\x1b[?1049l", "the terminal is as it was")
	require.Contains(t, last, "/runs SHRANK from 4 to 0: 4 lost", "and the last words stay")
	require.Contains(t, last, "results.json: ")
}

// A ^Z gives the terminal back too, and what continues takes it again.
func TestWatchStops(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"runs": [1, 2, 3]}`), 0o644))
	x := onTerminal(t, 80, 24, jsonguard(t, "watch", file, "--grow", "/runs"))
	x.shows("in /runs")
	written := func(what string) int {
		x.mu.Lock()
		defer x.mu.Unlock()
		return strings.Count(string(x.text), what)
	}
	const enters, leaves = "\x1b[?1049h", "\x1b[?7h\x1b[?25h\x1b[?1049l"
	_, err := x.master.Write([]byte{26}) // ^Z
	require.NoError(t, err)
	stat := fmt.Sprintf("/proc/%d/stat", x.cmd.Process.Pid)
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(stat)
		return err == nil && strings.Contains(string(text), ") T ")
	}, time.Minute, 10*time.Millisecond, "it stops")
	require.Eventually(t, func() bool { return written(leaves) == 1 }, time.Minute, 10*time.Millisecond)
	require.Equal(t, 1, written(enters))
	require.NoError(t, x.cmd.Process.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool { return written(enters) == 2 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, x.cmd.Process.Signal(syscall.SIGINT))
	x.all()
	require.Zero(t, x.cmd.ProcessState.ExitCode())
	require.Equal(t, 2, written(leaves))
}

// However it ends, the terminal is given back; NO_COLOR leaves colours out.
func TestWatchGivesTheTerminalBack(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"runs": [1, 2, 3]}`), 0o644))
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		cmd := jsonguard(t, "watch", file, "--grow", "/runs")
		cmd.Env = append(cmd.Environ(), "NO_COLOR=1")
		x := onTerminal(t, 80, 24, cmd)
		x.shows("in /runs")
		require.NoError(t, cmd.Process.Signal(signal))
		text := x.all()
		require.Zero(t, cmd.ProcessState.ExitCode())
		require.Contains(t, text, "\x1b[?7h\x1b[?25h\x1b[?1049l")
		require.NotRegexp(t, `\x1b\[[0-9;]*m`, text)
	}
}
