//go:build unix

package main

import (
	"bufio"
	"bytes"
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
)

// needPython returns a python3, with a module if one is named.
func needPython(t *testing.T, module string) string {
	t.Helper()
	missing := "python3"
	// Debian's packages are those of /usr/bin/python3, whatever comes first in PATH.
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if _, err := exec.LookPath(python); err != nil {
			continue
		}
		if module == "" || exec.Command(python, "-c", "import "+module).Run() == nil {
			return python
		}
		missing = "Python's " + module
	}
	t.Skipf("SKIPPED: %s is missing: what it does beside us was not tried", missing)
	return ""
}

// pythonFile writes a file as Python's json.dump does, with what only Python writes.
func pythonFile(t *testing.T, file string) (lines []string) {
	t.Helper()
	const script = `
import json, sys
rows = {"model-%d" % i: {"rate": 1.10 * i, "nan": float("nan"), "inf": float("-inf"), "name": "caf\u00e9 \ud83d\ude00", "runs": [1, 2.0, 1e16, -0.0]} for i in range(20)}
json.dump({"n": 0, "rate": "@", "models": rows, "empty": {}, "list": []}, open(sys.argv[1], "w"), indent=2)
`
	out, err := exec.Command(needPython(t, ""), "-c", script, file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	content = bytes.Replace(content, []byte(`"@"`), []byte("1.10"), 1) // which Python would write as 1.1
	require.NoError(t, os.WriteFile(file, content, 0o644))
	require.Contains(t, string(content), "NaN")
	return strings.Split(string(content), "\n")
}

func TestManyProcessesOnAFileThatPythonWrote(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "results.json")
	before := pythonFile(t, file)
	const processes, each = 17, 5
	var all sync.WaitGroup
	for p := range processes {
		all.Go(func() {
			for i := range each {
				for _, args := range [][]string{{"incr", file, "/n"}, {"set", file, fmt.Sprintf("/k%d_%d", p, i), "1"}} {
					if out, err := jsonguard(t, args...).CombinedOutput(); err != nil {
						t.Errorf("%q: %v: %s", args, err, out)
					}
				}
			}
		})
	}
	all.Wait()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	after := strings.Split(string(content), "\n")
	// The line of the counter, the comma behind what was the last member, and the new lines: nothing else is different.
	require.Equal(t, fmt.Sprintf("  \"n\": %d,", processes*each), after[1])
	last := len(before) - 2 // before the closing brace
	require.Equal(t, before[0], after[0])
	require.Equal(t, before[2:last], after[2:last])
	require.Equal(t, before[last]+",", after[last])
	require.Equal(t, before[last+1:], after[len(after)-len(before)+last+1:])
	added := after[last+1 : len(after)-1]
	require.Len(t, added, processes*each)
	for _, line := range added {
		require.Regexp(t, `^  "k\d+_\d": 1,?$`, line)
	}
	for p := range processes {
		for i := range each {
			require.Equal(t, 1, strings.Count(string(content), fmt.Sprintf("\"k%d_%d\": 1", p, i)))
		}
	}
	out, err := exec.Command(needPython(t, ""), "-c", "import json, sys; print(len(json.load(open(sys.argv[1]))))", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, fmt.Sprint(5+processes*each), strings.TrimSpace(string(out)))
}

// background starts a program and waits for its first line. What it prints afterwards is read by rest.
func background(t *testing.T, cmd *exec.Cmd) (rest func() string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	lines := bufio.NewReader(out)
	_, err = lines.ReadString('\n')
	require.NoError(t, err)
	return func() string {
		var b strings.Builder
		_, _ = lines.WriteTo(&b)
		require.NoError(t, cmd.Wait())
		return strings.TrimSpace(b.String())
	}
}

// A Python process that holds fcntl.flock on the lock file keeps us out, and is named.
func TestPythonsFlockKeepsUsOut(t *testing.T) {
	t.Parallel()
	python := needPython(t, "")
	file := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, os.WriteFile(file, []byte("{\"a\": 0}\n"), 0o644))
	holder := exec.Command(python, "-c", `
import fcntl, sys
f = open(sys.argv[1], "a+"); fcntl.flock(f, fcntl.LOCK_EX); print("held", flush=True); sys.stdin.read()`, file+".lock")
	in, err := holder.StdinPipe()
	require.NoError(t, err)
	rest := background(t, holder)

	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"set", "--timeout", "1s", file, "/a", "1"}, "kept pending"},
		{[]string{"incr", "--timeout", "100ms", file, "/n"}, "nothing was changed"},
	} {
		var out, errs bytes.Buffer
		cmd := jsonguard(t, c.args...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run()
		require.Equal(t, statusTemporary, cmd.ProcessState.ExitCode(), errs.String())
		require.Empty(t, out.String())
		require.Contains(t, errs.String(), fmt.Sprintf("held by process %d (", holder.Process.Pid))
		require.Contains(t, errs.String(), "python")
		require.Contains(t, errs.String(), c.says)
	}
	requireContent(t, file, "{\"a\": 0}\n")
	got, err := jsonguard(t, "get", file, "/a").Output()
	require.NoError(t, err, "reading waits for nobody")
	require.Equal(t, "0\n", string(got))

	require.NoError(t, in.Close())
	rest()
	got, err = jsonguard(t, "get", file, "/a").Output()
	require.NoError(t, err)
	require.Equal(t, "1\n", string(got), "what was kept pending")
}

// Python's filelock waits for us.
func TestFilelockWaitsForUs(t *testing.T) {
	t.Parallel()
	python := needPython(t, "filelock")
	file := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o644))
	release := holdLock(t, file)
	out, err := exec.Command(python, "-c", `
import filelock, sys
try:
    filelock.FileLock(sys.argv[1], timeout=0.3).acquire()
    print("got it")
except filelock.Timeout:
    print("timeout")`, file+".lock").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "timeout", strings.TrimSpace(string(out)))

	waiter := exec.Command(python, "-c", `
import filelock, json, sys
print("waiting", flush=True)
with filelock.FileLock(sys.argv[1] + ".lock", timeout=60):
    print(json.load(open(sys.argv[1]))["x"])`, file)
	rest := background(t, waiter)
	time.Sleep(100 * time.Millisecond)
	// Written under the lock that is held: a waiter that did not wait finds nothing.
	require.NoError(t, os.WriteFile(file, []byte("{\"x\": \"waited\"}\n"), 0o644))
	release()
	require.Equal(t, "waited", rest())
}

// A runner that takes FileLock("results.json.lock") around its writing and reading back does not hang under exec,
// although the fold needs that lock.
func TestRunnerThatHoldsFilelockDoesNotHang(t *testing.T) {
	t.Parallel()
	python := needPython(t, "filelock")
	file := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, os.WriteFile(file, []byte("{\"n\": 0}\n"), 0o644))
	const runner = `
import filelock, json, sys, time
copy, target, me = sys.argv[1:]
for i in range(3):
    with filelock.FileLock(target + ".lock", timeout=300):
        data = json.load(open(copy)); data["%s.%d" % (me, i)] = i
        json.dump(data, open(copy, "w"), indent=1)
        time.sleep(0.06)
        assert json.load(open(copy))["%s.%d" % (me, i)] == i
        assert json.load(open(target))
`
	const runners = 3
	var all sync.WaitGroup
	began := time.Now()
	for r := range runners {
		all.Go(func() {
			out, err := jsonguard(t, "exec", "-q", "--timeout", "5m", "--file", file, "--", python, "-c", runner, "{}", file, fmt.Sprint("r", r)).CombinedOutput()
			if err != nil {
				t.Errorf("runner %d: %v: %s", r, err, out)
			}
		})
	}
	all.Wait()
	require.Less(t, time.Since(began), 4*time.Minute)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	for r := range runners {
		for i := range 3 {
			require.Contains(t, string(content), fmt.Sprintf("\"r%d.%d\": %d", r, i, i))
		}
	}
}

// Wrapper and runner are killed after the runner's write: recover, or just the next use, brings all.
func TestKilledAfterTheWrite(t *testing.T) {
	t.Parallel()
	for _, next := range [][]string{{"recover"}, {"get"}, {"set", "/next", "1"}} {
		t.Run(next[0], func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "a.json")
			require.NoError(t, os.WriteFile(file, []byte("{\n  \"rate\": 1.10\n}\n"), 0o644))
			const runs = 12
			var all sync.WaitGroup
			for i := range runs {
				all.Go(func() {
					// The runner writes in one step, says so, and waits to be killed.
					script := fmt.Sprintf(`sed 's/{/{\n  "k%d": %d,/' "$0" > "$0.new.$$" && mv "$0.new.$$" "$0" && echo $$ && exec sleep 100`, i, i)
					cmd := jsonguard(t, "exec", "-q", "--file", file, "--", "sh", "-c", script, "{}")
					out, err := cmd.StdoutPipe()
					if err == nil {
						err = cmd.Start()
					}
					if err != nil {
						t.Error(err)
						return
					}
					var pid int
					if _, err := fmt.Fscan(out, &pid); err != nil {
						t.Error(err)
						return
					}
					_ = cmd.Process.Kill()
					_ = syscall.Kill(pid, syscall.SIGKILL)
					_ = cmd.Wait()
					// The runner is nobody's child now: it is gone when its pipe is.
					_, _ = bufio.NewReader(out).ReadByte()
				})
			}
			all.Wait()
			args := append([]string{next[0], file}, next[1:]...)
			out, err := jsonguard(t, args...).CombinedOutput()
			require.NoError(t, err, "%s", out)
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			for i := range runs {
				require.Contains(t, string(content), fmt.Sprintf("\"k%d\": %d,", i, i), "%s", content)
			}
			require.Contains(t, string(content), "\"rate\": 1.10")
		})
	}
}

// A client that stops reading holds up itself and nobody else.
func TestBatchWhoseReaderStops(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.json")
	cmd := jsonguard(t, "batch", file)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	const operations = 50_000
	go func() {
		for i := range operations {
			if _, err := fmt.Fprintf(in, `{"op":"incr","at":"/n","id":"a rather long id, so that the answers fill the pipe %d"}`+"\n", i); err != nil {
				return
			}
		}
		_ = in.Close()
	}()
	waitUntil(t, "it should write", func() bool { _, err := os.Stat(file); return err == nil })
	for i := range 5 {
		out, err := jsonguard(t, "set", "--timeout", "5m", file, fmt.Sprintf("/other%d", i), "1").CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	answers := 0
	for lines := bufio.NewScanner(out); lines.Scan(); answers++ {
		require.Contains(t, lines.Text(), `"ok":true`)
	}
	require.NoError(t, cmd.Wait())
	require.Equal(t, operations, answers)
	got, err := jsonguard(t, "get", file, "/n").Output()
	require.NoError(t, err)
	require.Equal(t, fmt.Sprint(operations, "\n"), string(got))
}

// A program that opens its file once and keeps it open (TinyDB does): each complete state is seen while it runs, and what
// it had written when it was killed is there.
func TestProgramThatKeepsItsFileOpen(t *testing.T) {
	t.Parallel()
	python := needPython(t, "")
	file := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(file, []byte("{\"n\": 0}\n"), 0o644))
	const runner = `
import json, os, sys, time
f = open(os.environ["DB"], "r+")
data = json.load(f)
for i in range(3):
    data["k%d" % i] = i
    f.seek(0); json.dump(data, f); f.truncate(); f.flush()
    end = time.time() + 30
    while "k%d" % i not in json.load(open(sys.argv[1])):
        assert time.time() < end, "not seen"
        time.sleep(0.01)
os.kill(os.getpid(), 9)
`
	cmd := jsonguard(t, "exec", "--env", "DB", "--file", file, "--", python, "-c", runner, file)
	out, _ := cmd.CombinedOutput()
	w := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, w.Signaled() && w.Signal() == syscall.SIGKILL, "%v: %s", cmd.ProcessState, out)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, `{"n": 0, "k0": 0, "k1": 1, "k2": 2}`, strings.TrimSpace(string(content)))
}
