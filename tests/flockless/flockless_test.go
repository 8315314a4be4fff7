//go:build linux

package flockless

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/tests/command"
)

var long = flag.Bool("long", false, "kill holders as well, which costs 10 s each")

var binary string

// TestMain: called by another name, the test binary takes flock away and becomes the program in its arguments.
func TestMain(m *testing.M) {
	if errno := os.Getenv("FLOCKLESS"); errno != "" {
		n, err := strconv.Atoi(errno)
		if err == nil {
			err = Exec(syscall.Errno(n), os.Args[1:])
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(99)
	}
	flag.Parse()
	os.Exit(command.Run(m, &binary))
}

func run(errno syscall.Errno, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{binary}, args...)...)
	cmd.Env = append(cmd.Environ(), "FLOCKLESS="+strconv.Itoa(int(errno)))
	return cmd
}

func mustRun(t *testing.T, errno syscall.Errno, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := run(errno, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%v: %s", args, &stderr)
	return stdout.String()
}

var worlds = map[string]syscall.Errno{"flock is given to everybody": 0, "no such call": unix.ENOSYS, "no lock daemon": unix.ENOLCK}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "doc.json")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

// Counters and members through every verb that writes, from many processes at once: nothing is lost or doubled.
func TestVerbsTogether(t *testing.T) {
	for name, errno := range worlds {
		t.Run(name, func(t *testing.T) {
			const procs, each = 6, 4
			path := file(t, `{"n": 0, "exec": {"first": 1}}`)
			var all sync.WaitGroup
			for p := range procs {
				all.Go(func() {
					for i := range each {
						for _, args := range [][]string{
							{"incr", path, "/n"},
							{"set", path, fmt.Sprintf("/keys/%d-%d", p, i), "1"},
							{"exec", "--mode", "copy", "--file", path, "--", "sh", "-c", fmt.Sprintf(`sed -i 's/"exec": {/&"%d-%d": 1, /' "$0"`, p, i), "{}"},
						} {
							if out, err := run(errno, args...).CombinedOutput(); err != nil {
								t.Errorf("%v: %v: %s", args, err, out)
							}
						}
					}
				})
			}
			all.Wait()
			var doc struct {
				N    int
				Keys map[string]int
				Exec map[string]int
			}
			require.NoError(t, json.Unmarshal([]byte(mustRun(t, errno, "get", path)), &doc))
			require.Equal(t, procs*each, doc.N)
			require.Len(t, doc.Keys, procs*each)
			require.Len(t, doc.Exec, procs*each+1)
			mustRun(t, errno, "verify", path)
			mustRun(t, errno, "status", path)
		})
	}
}

// Under the hold of jsonguard lock the verbs inside exclude each other by guard/lock, which is a lease too.
func TestUnderAHold(t *testing.T) {
	for name, errno := range worlds {
		t.Run(name, func(t *testing.T) {
			path := file(t, `{"n": 0}`)
			script := `for i in 1 2 3 4 5 6 7 8; do "$0" incr "$1" /n & done; wait`
			mustRun(t, errno, "lock", path, "--", "sh", "-c", script, binary, path)
			require.JSONEq(t, `{"n": 8}`, mustRun(t, errno, "get", path))
			mustRun(t, errno, "clean", path)
			left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*.guard"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestLockKeepsOut(t *testing.T) {
	path := file(t, `{"n": 0}`)
	holder := run(0, "lock", path, "--", "sh", "-c", "echo held; read x")
	in, err := holder.StdinPipe()
	require.NoError(t, err)
	out, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	defer holder.Wait()
	defer in.Close()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)

	outsider := run(0, "lock", "--timeout", "200ms", path, "--", "true")
	text, err := outsider.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 75, outsider.ProcessState.ExitCode(), "%s", text)
	require.Contains(t, string(text), fmt.Sprintf("held by process %d (", holder.Process.Pid))
	require.Contains(t, string(text), "since")
}

// Interception cannot work without flock, and says so before the program runs.
func TestInterceptSaysWhy(t *testing.T) {
	if _, err := intercept.Probe(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	path := file(t, `{"n": 0}`)
	cmd := run(0, "exec", "--mode", "intercept", "--file", path, "--", "sh", "-c", `echo '{"n": 1}' > "$0" || exit 9`, path)
	text, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 125, cmd.ProcessState.ExitCode(), "%s", text)
	require.Contains(t, string(text), "flock does not exclude on this filesystem")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, `{"n": 0}`, string(content))
}

// doctor says what is weaker, and why.
func TestDoctor(t *testing.T) {
	for name, errno := range worlds {
		t.Run(name, func(t *testing.T) {
			cmd := run(errno, "doctor", t.TempDir())
			text, _ := cmd.CombinedOutput()
			require.Regexp(t, `weak +lock between processes`, string(text))
			require.Contains(t, string(text), "lease")
			if _, err := intercept.Probe(); err == nil {
				require.Regexp(t, `weak +interception .*\n +→ not for files in this directory`, string(text))
			}
			require.Equal(t, 0, cmd.ProcessState.ExitCode(), "what is left is safe: %s", text)
		})
	}
}

// A holder that is killed blocks the others for the time of a lease, and no longer; what it had acknowledged is there.
func TestKilledHolder(t *testing.T) {
	if !*long {
		t.Skip("SKIPPED: a lease of 10 s has to run out; run with -long")
	}
	path := file(t, `{"n": 0}`)
	for range 2 {
		holder := run(0, "lock", path, "--", "sh", "-c", "echo held; exec sleep 60")
		out, err := holder.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, holder.Start())
		_, err = bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		require.NoError(t, holder.Process.Kill())
		_ = holder.Wait()
		began := time.Now()
		mustRun(t, 0, "incr", path, "/n")
		require.Greater(t, time.Since(began), 8*time.Second)
	}
	require.Equal(t, "2", strings.TrimSpace(mustRun(t, 0, "get", path, "/n")))
}

// Interception tells by flock when a program is done with a file: where that does not exclude, exec takes a copy by itself.
func TestExecTakesACopy(t *testing.T) {
	path := file(t, `{"n": 0}`)
	cmd := run(0, "exec", "-v", "--file", path, "--", "sh", "-c", `echo '{"n": 1}' > "$0"; echo "at $0"`, "{}")
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
	require.Contains(t, string(text), "exec: mode copy: ")
	require.Contains(t, string(text), ".guard/views/")
	if _, err := intercept.Probe(); err == nil {
		require.Contains(t, string(text), "flock does not exclude on this filesystem")
	}
	require.Equal(t, "1", strings.TrimSpace(mustRun(t, 0, "get", path, "/n")))
}
