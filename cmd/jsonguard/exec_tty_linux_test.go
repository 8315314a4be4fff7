package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// countsInterrupts is a program that writes how many INT it got within a while after the first, and then dies of one.
const countsInterrupts = `n=0; trap 'n=$((n+1))' INT; echo ready
until test $n -gt 0; do sleep 0.01; done; i=0; while test $i -lt 60; do sleep 0.01; i=$((i+1)); done
echo "{\"interrupts\": $n}" > "$0"; trap - INT; kill -INT $$`

// pty opens a terminal.
func pty(t *testing.T) (master, slave *os.File) {
	m, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal to be had: %v", err)
	}
	t.Cleanup(func() { _ = m.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(m.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(m.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	s, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return m, s
}

// A ^C reaches the whole foreground group: the program must get it once, not twice.
func TestTypedInterruptArrivesOnce(t *testing.T) {
	t.Parallel()
	master, slave := pty(t)
	file := filepath.Join(t.TempDir(), "a.json")
	cmd := jsonguard(t, "exec", "-q", "--file", file, "--", "sh", "-c", countsInterrupts, "{}")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	require.NoError(t, slave.Close())
	screen := bufio.NewReader(master)
	line, err := screen.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready", strings.TrimSpace(line))
	_, err = master.Write([]byte{3})
	require.NoError(t, err)
	go io.Copy(io.Discard, screen)
	requireDeathBy(t, cmd, syscall.SIGINT)
	requireContent(t, file, "{\"interrupts\": 1}\n")
}

// Sent by a process, it reaches the wrapper only, which passes it on: without a terminal, and in its foreground.
func TestSentInterruptIsPassedOn(t *testing.T) {
	t.Parallel()
	for _, terminal := range []bool{false, true} {
		file := filepath.Join(t.TempDir(), "a.json")
		cmd := jsonguard(t, "exec", "-q", "--file", file, "--", "sh", "-c", countsInterrupts, "{}")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if terminal {
			_, slave := pty(t)
			cmd.Stdin = slave
			cmd.SysProcAttr.Setctty = true
		}
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
		requireDeathBy(t, cmd, syscall.SIGINT)
		requireContent(t, file, "{\"interrupts\": 1}\n")
	}
}

// The wrapper is asked to end while it waits for a lock after the program's end: what was written is safe.
func TestSignalWhileWaitingForTheLock(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o644))
	// A process of its own: what this one held, its children would inherit.
	holder := jsonguard(t, "lock", file, "--", "cat")
	end, err := holder.StdinPipe()
	require.NoError(t, err)
	echo, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	_, err = end.Write([]byte("held\n"))
	require.NoError(t, err)
	_, err = bufio.NewReader(echo).ReadString('\n')
	require.NoError(t, err)
	cmd := jsonguard(t, "exec", "--timeout", "10m", "--file", file, "--", "sh", "-c", `echo '{"x": 1}' > "$0"; echo $$`, "{}")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	said, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	pid, err := bufio.NewReader(said).ReadString('\n')
	require.NoError(t, err)
	waitUntil(t, "the program has ended and the wrapper waits", func() bool {
		_, err := os.Stat("/proc/" + strings.TrimSpace(pid))
		return os.IsNotExist(err) && waitedFor(t, file)
	})
	time.Sleep(100 * time.Millisecond) // it has waited for the program already, and comes to know it
	began := time.Now()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_ = cmd.Wait()
	require.Less(t, time.Since(began), time.Minute)
	require.Equal(t, statusTemporary, cmd.ProcessState.ExitCode())
	requireContent(t, file, "{}\n")
	require.NoError(t, end.Close())
	require.NoError(t, holder.Wait())
	require.NoError(t, jsonguard(t, "recover", file).Run())
	requireContent(t, file, "{\"x\": 1}\n")
}

func requireDeathBy(t *testing.T, cmd *exec.Cmd, s syscall.Signal) {
	t.Helper()
	err := cmd.Wait()
	w := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, w.Signaled() && w.Signal() == s, "%v", err)
	require.False(t, w.CoreDump())
}

// Colour is for a terminal that wants it.
func TestColour(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o644))
	for _, c := range []struct {
		env      string
		coloured bool
	}{{"", true}, {"NO_COLOR=1", false}, {"TERM=dumb", false}} {
		master, slave := pty(t)
		cmd := jsonguard(t, "verify", file)
		cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=", c.env)
		cmd.Stdout = slave
		require.NoError(t, cmd.Run())
		screen := make([]byte, 4096)
		n, err := master.Read(screen)
		require.NoError(t, err)
		require.Contains(t, string(screen[:n]), "target")
		require.Equal(t, c.coloured, strings.Contains(string(screen[:n]), "\x1b["), "%q: %q", c.env, screen[:n])
	}
	out, err := jsonguard(t, "verify", file).Output()
	require.NoError(t, err)
	require.NotContains(t, string(out), "\x1b[", "no terminal")
}
