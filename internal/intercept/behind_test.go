//go:build linux && (amd64 || arm64)

package intercept

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// following says when it was told of calls that have nothing to do with it, and what it knew by then.
type following struct {
	*scratchHandler
	idle atomic.Bool // nothing is pending
}

func (h *following) Pending() bool { return !h.idle.Load() }

func (h *following) Behind(_ *Call, begins bool) {
	raw, _ := os.ReadFile(h.target())
	h.note("behind %v: %s", begins, raw)
	if err := os.WriteFile(filepath.Join(h.scratches, "told"), nil, 0o666); err != nil {
		h.fail(err)
	}
}

// Who starts, and who opens something else for writing behind a close, is told of before it goes on, and after what was
// closed; while nothing is pending nobody is.
func TestBehind(t *testing.T) {
	needs(t, "python3")
	h := &following{scratchHandler: newScratchHandler(t)}
	h.published = func([]byte) {}
	require.NoError(t, os.WriteFile(h.target(), []byte("0"), 0o666))
	// Each phase begins with a read of the guarded file, which is told of as what it is.
	const script = `
import os, subprocess, sys, threading
target, dir = sys.argv[1], sys.argv[2]
told = dir + "/told"
def phase(name):
    os.close(os.open(target, os.O_RDONLY))
def make(name):
    if os.path.lexists(told): os.unlink(told)
    os.close(os.open(dir + "/" + name, os.O_WRONLY | os.O_CREAT))
    return os.path.lexists(told)
def save(text):
    f = os.open(target, os.O_WRONLY | os.O_TRUNC); os.write(f, text); os.close(f)
make("first")
phase("another, with no close in between"); assert not make("a")
phase("behind a close"); save(b"1"); assert make("b"), "it went on before that was done"
make("again") # what was told of in the same breath counts once more
phase("no more than that"); assert not make("c")
phase("a read"); save(b"2"); os.close(os.open("/dev/null", os.O_RDONLY))
phase("and then a write"); assert make("d")
phase("a thread")
t = threading.Thread(target=lambda: os.close(os.open("/dev/null", os.O_RDONLY))); t.start(); t.join()
phase("a program"); subprocess.run(["true"], check=True)
phase("in its own place"); sys.stdout.flush()
os.execvp("sh", ["sh", "-c", "exec cat < " + target])
`
	path := filepath.Join(h.scratches, "script.py")
	require.NoError(t, os.WriteFile(path, []byte(script), 0o644))
	out, status := launch(t, h, "python3", path, h.target(), h.scratches).finish(t)
	require.Equal(t, Status{}, status, out)
	h.check(t)
	require.Equal(t, "2", out)
	var phases [][]string
	for _, line := range h.logged() {
		switch {
		case strings.HasPrefix(line, "read "):
			phases = append(phases, nil)
		case strings.HasPrefix(line, "behind ") && len(phases) > 0:
			phases[len(phases)-1] = append(phases[len(phases)-1], line)
		}
	}
	require.GreaterOrEqual(t, len(phases), 8)
	require.Contains(t, [][]string{{"behind false: 1"}, {"behind false: 1", "behind false: 1"}}, phases[1])
	require.Equal(t, [][]string{nil, phases[1], nil, nil, {"behind false: 2"}}, phases[:5])
	// A thread is told of once or more, a program as a process and as what it executes; both are where they started.
	for i, least := range map[int]int{5: 1, 6: 1, 7: 1} {
		require.GreaterOrEqual(t, len(phases[i]), least, "%v", phases)
		for _, line := range phases[i] {
			require.Equal(t, "behind true: 2", line)
		}
	}

	h.idle.Store(true)
	h.log = nil
	h.count.Store(0)
	out, status = launch(t, h, "sh", "-c", "echo 3 > "+h.target()+"; echo > "+h.scratches+"/e; cat /dev/null").finish(t)
	require.Equal(t, Status{}, status, out)
	require.Equal(t, []string{"write guarded.json"}, h.logged())
}
