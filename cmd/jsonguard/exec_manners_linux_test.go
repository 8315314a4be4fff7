package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/intercept"
	"jsonguard/tests/command"
)

// wrapped is jsonguard exec under interception, started, with what it says on stderr.
type wrapped struct {
	*testing.T
	cmd *exec.Cmd
	dir string
	bin string // of this run alone, by which its processes are known
	err *bufio.Reader
	all bytes.Buffer
}

// wrap starts a program. Its wrapper is ended when the test takes too long, and says where it was (SIGABRT).
func wrap(t *testing.T, stdin *os.File, attr *syscall.SysProcAttr, argv ...string) *wrapped {
	if _, err := intercept.Probe(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	self, err := exec.LookPath("jsonguard")
	require.NoError(t, err)
	dir := t.TempDir()
	w := &wrapped{T: t, dir: dir, bin: filepath.Join(dir, "jsonguard")}
	require.NoError(t, command.CopyExecutable(self, w.bin, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "r.json"), []byte("{}\n"), 0o644))
	w.cmd = exec.Command(w.bin, append([]string{"exec", "--mode", "intercept", "--file", "r.json", "--"}, argv...)...)
	w.cmd.Dir, w.cmd.SysProcAttr = dir, attr
	if stdin != nil {
		w.cmd.Stdin = stdin
	}
	r, p, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = r.Close() })
	w.cmd.Stderr, w.err = p, bufio.NewReader(r)
	require.NoError(t, w.cmd.Start())
	require.NoError(t, p.Close())
	const patience = 3 * time.Minute
	timer := time.AfterFunc(patience, func() { _ = w.cmd.Process.Signal(syscall.SIGABRT) })
	t.Cleanup(func() { timer.Stop(); _ = w.cmd.Process.Kill() })
	return w
}

// says waits for a line with a text on stderr.
func (w *wrapped) says(text string) string {
	for {
		line, err := w.err.ReadString('\n')
		w.all.WriteString(line)
		if strings.Contains(line, text) {
			return line
		}
		require.NoError(w, err, "no %q in %q", text, &w.all)
	}
}

// ends waits for its end, and for that of everything that is of it.
func (w *wrapped) ends(status int) {
	_ = w.cmd.Wait()
	require.Equal(w, status, w.cmd.ProcessState.ExitCode(), "%s", &w.all)
	require.Empty(w, w.processes(), "left behind")
}

// processes are those of this run's binary: supervisor and guardian.
func (w *wrapped) processes() []string {
	var found []string
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	require.NoError(w, err)
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, w.bin) {
			found = append(found, link)
		}
	}
	return found
}

func (w *wrapped) touch(name string) {
	require.NoError(w, os.WriteFile(filepath.Join(w.dir, name), nil, 0o644))
}

const readThenWrite = `d=json.load(open("r.json")); d["late"]=1
with open("r.json","w") as f: json.dump(d,f)`

// Daemons outlive the program and are guarded until they end, however they were made; exec names them, stays, and ends with
// the program's status.
func TestDaemonsStayGuarded(t *testing.T) {
	t.Parallel()
	const late = `import json,os,time
while not os.path.exists("go"): time.sleep(.01)
` + readThenWrite
	for name, script := range map[string]string{
		"setsid":     `setsid -f /usr/bin/python3 late.py; exit 3`,
		"nohup":      `nohup /usr/bin/python3 late.py >/dev/null 2>&1 & exit 3`,
		"background": `/usr/bin/python3 late.py & exit 3`,
		"forks twice": `/usr/bin/python3 -c '
import os
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.execve("/usr/bin/python3", ["python3", "late.py"], dict())'; exit 3`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath("/usr/bin/python3"); err != nil {
				t.Skip("SKIPPED: no /usr/bin/python3")
			}
			w := wrap(t, nil, nil, "sh", "-c", "until test -e late.py; do sleep 0.01; done; "+script)
			require.NoError(t, os.WriteFile(filepath.Join(w.dir, "late.new"), []byte(late), 0o644))
			require.NoError(t, os.Rename(filepath.Join(w.dir, "late.new"), filepath.Join(w.dir, "late.py")))
			line := w.says("has ended and left ")
			require.Contains(t, line, "^C or TERM ends them")
			if name != "forks twice" { // without an environment, and nobody's child
				require.Contains(t, line, "python3 (")
			}
			require.NoError(t, exec.Command(w.bin, "set", filepath.Join(w.dir, "r.json"), "/meanwhile", "1").Run())
			w.touch("go")
			w.says("r.json: 1 write merged")
			w.ends(3)
			requireJSON(t, filepath.Join(w.dir, "r.json"), `{"meanwhile": 1, "late": 1}`)
		})
	}
}

func requireJSON(t *testing.T, file, want string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.JSONEq(t, want, string(content))
}

// A signal while only daemons are left is for them: TERM first, so that they may save; once more kills them.
func TestSignalsEndWhatTheProgramLeft(t *testing.T) {
	t.Parallel()
	const saves = `trap 'echo "{\"saved\": 1}" > r.json; exit' TERM; touch up; while :; do sleep 0.02; done`
	const stubborn = `trap '' TERM INT; touch up; while :; do sleep 0.02; done`
	start := func(t *testing.T, stdin *os.File, attr *syscall.SysProcAttr, daemon string) *wrapped {
		w := wrap(t, stdin, attr, "sh", "-c", `setsid -f sh -c "$0"; until test -e up; do sleep 0.01; done`, daemon)
		w.says("has ended and left ")
		return w
	}
	t.Run("TERM", func(t *testing.T) {
		t.Parallel()
		w := start(t, nil, nil, saves)
		require.NoError(t, w.cmd.Process.Signal(syscall.SIGHUP), "a hangup is theirs to ignore")
		require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
		w.says("1 write merged")
		w.ends(0)
		requireJSON(t, filepath.Join(w.dir, "r.json"), `{"saved": 1}`)
	})
	t.Run("typed at the terminal", func(t *testing.T) {
		t.Parallel()
		master, slave := pty(t)
		w := start(t, slave, &syscall.SysProcAttr{Setsid: true, Setctty: true}, saves)
		_ = slave.Close()
		_, err := master.Write([]byte{3})
		require.NoError(t, err)
		w.says("1 write merged")
		w.ends(0)
		requireJSON(t, filepath.Join(w.dir, "r.json"), `{"saved": 1}`)
	})
	t.Run("without an environment, and nobody's child", func(t *testing.T) {
		t.Parallel()
		// It is found by the calls that it makes.
		w := wrap(t, nil, nil, "sh", "-c", `setsid -f sh -c 'exec env -i /bin/sh -c "$0"' "$0"; until test -e up; do sleep 0.01; done`,
			`trap '' TERM; touch up; while :; do cat r.json >/dev/null; done`)
		w.says("has ended and left ")
		require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
		w.says("once more kills them")
		require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
		w.ends(0)
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		w := start(t, nil, nil, stubborn)
		require.NoError(t, w.cmd.Process.Signal(syscall.SIGTERM))
		w.says("once more kills them")
		require.NoError(t, w.cmd.Process.Signal(syscall.SIGINT))
		w.ends(0)
	})
}

// Signals that a process sends reach the program, each once; its group, session, terminal and parent are as without us. What was
// ignored when the wrapper started (nohup) is not passed on.
func TestSignalsAndGroupUnderInterception(t *testing.T) {
	t.Parallel()
	const program = `import os, signal, sys, time, json
got, expected = [], int(sys.argv[1])
for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGQUIT):
    signal.signal(s, lambda n, _: got.append(n))
seen = {"group": os.getpgrp(), "session": os.getsid(0), "parent": os.getppid()}
open("up", "w").close()
while len(got) < expected: time.sleep(.01)
time.sleep(.1)
seen["got"] = sorted(got)
with open("r.json", "w") as f: json.dump(seen, f)
sys.exit(5)
`
	sent := []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTERM}
	var numbers []string
	for _, s := range sent {
		if !signal.Ignored(s) {
			numbers = append(numbers, strconv.Itoa(int(s)))
		}
	}
	w := wrap(t, nil, &syscall.SysProcAttr{Setpgid: true}, "/usr/bin/python3", "-c", program, strconv.Itoa(len(numbers)))
	waitUntil(t, "the program is there", func() bool { _, err := os.Stat(filepath.Join(w.dir, "up")); return err == nil })
	for _, s := range sent {
		require.NoError(t, w.cmd.Process.Signal(s))
	}
	w.says("1 write merged")
	w.ends(5)
	session, _, _ := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
	pid := w.cmd.Process.Pid
	requireJSON(t, filepath.Join(w.dir, "r.json"), fmt.Sprintf(`{"group": %d, "session": %d, "parent": %d, "got": [%s]}`,
		pid, session, pid, strings.Join(numbers, ",")))
}

// Nothing of the tree is left as a zombie, neither while the program runs nor after it.
func TestNoZombies(t *testing.T) {
	t.Parallel()
	w := wrap(t, nil, nil, "sh", "-c", `i=0; while test $i -lt 20; do setsid -f true; sh -c 'exit 1'; i=$((i+1)); done; touch up; until test -e go; do sleep 0.01; done`)
	waitUntil(t, "the program is there", func() bool { _, err := os.Stat(filepath.Join(w.dir, "up")); return err == nil })
	zombies := func() []string {
		var found []string
		stats, err := filepath.Glob("/proc/[0-9]*/stat")
		require.NoError(t, err)
		for _, path := range stats {
			raw, _ := os.ReadFile(path)
			fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
			if len(fields) > 1 && fields[0] == "Z" && fields[1] == strconv.Itoa(w.cmd.Process.Pid) {
				found = append(found, string(raw))
			}
		}
		return found
	}
	require.Empty(t, zombies())
	w.touch("go")
	w.says("did not write it")
	w.ends(0)
}
