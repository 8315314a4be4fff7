//go:build linux && (amd64 || arm64)

package intercept

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/tests/command"
)

// kinHandler records who is whose child, in the order of what is told.
type kinHandler struct {
	*scratchHandler
	mu    sync.Mutex
	order []string
	names map[*Process]string
}

func newKinHandler(t testing.TB) *kinHandler {
	return &kinHandler{scratchHandler: newScratchHandler(t), names: map[*Process]string{nil: "-"}}
}

func (h *kinHandler) say(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.order = append(h.order, fmt.Sprintf(format, args...))
}

func (h *kinHandler) name(p *Process) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.names[p] == "" {
		h.names[p] = fmt.Sprintf("p%d", len(h.names))
	}
	return h.names[p]
}

func (h *kinHandler) Forked(parent, child *Process) {
	h.say("%s from %s", h.name(child), h.name(parent))
	if child.Parent != parent {
		h.fail(fmt.Errorf("parent of %s", h.name(child)))
	}
}

func (h *kinHandler) Exited(p *Process, s syscall.Signal) { h.say("%s ended %d", h.name(p), s) }

func (h *kinHandler) Open(c *Call, p *Place, how OpenHow) (*os.File, error) {
	h.say("%s opens", h.name(c.Process))
	return h.scratchHandler.Open(c, p, how)
}

func (h *kinHandler) Changed(key any, what Change) {
	if what&Closed != 0 {
		h.say("closed")
	}
	h.scratchHandler.Changed(key, what)
}

// A process is told of before its first call, and before the next call of its parent: what the parent read until then
// is the child's too. Its end is told after the closing of what it had open.
func TestForkedBeforeParentsNextCall(t *testing.T) {
	needs(t, "python3")
	h := newKinHandler(t)
	require.NoError(t, os.WriteFile(h.target(), []byte("1"), 0o666))
	exe, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
	require.NoError(t, err)
	out, status := launch(t, h, strings.TrimSpace(string(exe)), "-c", `
import os, sys, time
F = sys.argv[1]
open(F).read()
r, w = os.pipe()
if os.fork() == 0:
    os.read(r, 1)                        # born before the second read, speaks after it
    f = os.open(F, os.O_WRONLY); os.write(f, b"2")
    os.kill(os.getpid(), 9)
open(F).read()
os.write(w, b"x"); os.wait()
open(F).read()`, h.target()).finish(t)
	require.Equal(t, Status{}, status, out)
	h.check(t)
	require.Equal(t, []string{
		"p1 from -", "p1 opens", "p2 from p1", "p1 opens", "p2 opens", "closed", "p2 ended 9", "p1 opens", "p1 ended 0",
	}, h.sorted())
}

// sorted puts the end of p2 and p1's last open, which are told at the same time, into one order.
func (h *kinHandler) sorted() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.order
	if n := len(o); n > 3 && o[n-3] == "p1 opens" && o[n-2] == "p2 ended 9" {
		o[n-3], o[n-2] = o[n-2], o[n-3]
	}
	return o
}

// The parents of a process that makes a call are known although they made none.
func TestAncestorsAreKnown(t *testing.T) {
	h := newKinHandler(t)
	s := launch(t, h, "sh", "-c", fmt.Sprintf(`sh -c 'sh -c "cat %s; true"; true'; true`, h.target()))
	s.finish(t)
	h.mu.Lock()
	defer h.mu.Unlock()
	require.Equal(t, []string{"p1 from -", "p2 from p1", "p3 from p2", "p4 from p3"}, born(h.order))
}

func born(order []string) (out []string) {
	for _, l := range order {
		if strings.Contains(l, " from ") {
			out = append(out, l)
		}
	}
	return out
}

// An orphan is its session's, where that is known.
func TestOrphan(t *testing.T) {
	needs(t, "setsid")
	h := newKinHandler(t)
	require.NoError(t, os.WriteFile(h.target(), nil, 0o666))
	s := launch(t, h, "setsid", "-w", "sh", "-c", fmt.Sprintf("read x < %[1]s; (sh -c 'while test $(cut -d\" \" -f4 /proc/$$/stat) = '$$'; do sleep 0.01; done; read x < %[1]s' &) ; true", h.target()))
	s.finish(t)
	h.mu.Lock()
	defer h.mu.Unlock()
	b := born(h.order)
	require.NotEmpty(t, b)
	require.Equal(t, 1, strings.Count(strings.Join(b, "\n"), "from -"), "%v", h.order)
}

// Of a process that was waited for a kernel before 6.15 tells nothing: that it ended by itself would be a guess.
func TestAnEndThatNobodyTells(t *testing.T) {
	cmd := exec.Command("true")
	require.NoError(t, cmd.Run())
	gone := &entry{Process: &Process{PID: cmd.Process.Pid}, pidfd: -1} // of which nothing can be asked
	require.Equal(t, UnknownEnd, newProcesses(&supervisor{}).killer(gone))
}

// The parent of an orphan is a process that was there when the orphan was born.
func TestWhoMayHaveForked(t *testing.T) {
	process := func(start, ended uint64) *Process {
		p := &Process{Start: start}
		p.ended.Store(ended)
		return p
	}
	orphan := process(100, 0)
	for who, c := range map[string]struct {
		p    *Process
		want bool
	}{
		"there then":            {process(90, 110), true},
		"born and ended beside": {process(100, 100), true},
		"about to end":          {process(90, 0), true},
		"younger":               {process(101, 0), false},
		"ended before":          {process(90, 99), false},
		"itself":                {orphan, false},
	} {
		require.Equal(t, c.want, c.p.MayHaveForked(orphan), who)
	}
}

// Many processes at once, and some are killed while their calls wait for an answer.
func TestManyProcessesSomeKilled(t *testing.T) {
	bin := compile(t, "counter", counter)
	h := newScratchHandler(t)
	var n sync.Map
	h.open = func(c *Call, p *Place, how OpenHow) (*os.File, error) {
		v, _ := n.LoadOrStore(c.Process, new(int))
		if k := v.(*int); c.Process.PID%4 == 0 {
			if *k++; *k == 20 {
				_ = unix.Kill(c.Process.PID, unix.SIGKILL)
				// The caller is gone as soon as it has noticed.
				until(t, func() bool { return !c.Alive() })
				<-c.Context().Done()
			}
		}
		return h.openScratch(c, p, how)
	}
	before := census(t)
	processes := scaled(64, 256)
	s := launch(t, h, "sh", "-c", fmt.Sprintf("for i in $(seq %d); do %s %s & done; wait", processes, bin, h.target()))
	out, status := s.finish(t)
	require.Equal(t, Status{}, status, out)
	h.check(t)
	before.unchanged(t)
	h.mu.Lock()
	defer h.mu.Unlock()
	killed := 0
	for p, sig := range h.died {
		if sig == syscall.SIGKILL {
			killed++
			require.Zero(t, p.PID%4)
		}
	}
	require.Positive(t, killed)
	require.Equal(t, len(h.born), len(h.died))
	require.Empty(t, h.pending, "a scratch was never seen closing")
}

// The supervisor runs out of descriptors: calls wait, and fail; none passes unguarded.
func TestOutOfDescriptors(t *testing.T) {
	h := newScratchHandler(t)
	require.NoError(t, os.WriteFile(h.target(), []byte("0"), 0o666))
	cmd := inRole(t, "supervise without descriptors", h.target(), "/bin/sh", "-c", "echo 1 > "+h.target())
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", out)
	require.Regexp(t, "Too many open files in system\nsupervisor: .*: too many open files\n$", string(out))
	require.Equal(t, "0", h.content(t))
}

// greedyHandler uses up all descriptors when it first hears of the file.
type greedyHandler struct {
	*scratchHandler
	once sync.Once
}

func (h *greedyHandler) Named(name string) bool {
	if name != h.name {
		return false
	}
	h.once.Do(func() {
		for {
			if _, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
				return
			}
		}
	})
	return true
}

func init() {
	roles["supervise without descriptors"] = func(args []string) int {
		const few = 100
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: few, Max: few}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		s, err := Start(Command{Path: args[1], Args: args[1:]}, &greedyHandler{scratchHandler: plainHandler(args[0])})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		<-s.Done()
		fmt.Fprintln(os.Stderr, "supervisor:", s.Err())
		status, err := s.Wait()
		if err != nil {
			return 1
		}
		return status.Code
	}
}

func TestChroot(t *testing.T) {
	needRoot(t)
	bin := compile(t, "counter", counter, "-static")
	h := newScratchHandler(t)
	require.NoError(t, command.CopyExecutable(bin, filepath.Join(h.dir, "counter"), 0o755))
	// Absolute for who is inside, and another file for who is not.
	require.NoError(t, os.Mkdir(filepath.Join(h.dir, "data"), 0o777))
	require.NoError(t, os.Symlink("/guarded.json", filepath.Join(h.dir, "data/link")))
	require.NoError(t, os.Symlink("/data/../../../guarded.json", filepath.Join(h.dir, "data/dots")))
	for i, name := range []string{"/guarded.json", "/data/link", "data/dots", "/data/../../guarded.json"} {
		run(t, h, "chroot", h.dir, "/counter", name)
		require.Equal(t, fmt.Sprint(50*(i+1)), h.content(t))
	}
	require.Len(t, h.logged(), 50*2*4)
}

// In a mount namespace of its own the file has another path.
func TestMountNamespace(t *testing.T) {
	needRoot(t)
	needs(t, "unshare", "mount")
	h := newScratchHandler(t)
	other := sharedTemp(t)
	script := fmt.Sprintf(`mount --bind %s %s || exit 42; cd %[2]s; echo 1 > %[2]s/guarded.json; echo 2 >> guarded.json; cat %[2]s/guarded.json; umount -l %[2]s; cat %[1]s/guarded.json`, h.dir, other)
	out, status := launch(t, h, "unshare", "-m", "sh", "-c", script).finish(t)
	if status.Code == 42 {
		t.Skip("SKIPPED: no bind mounts here")
	}
	require.Equal(t, "1\n2\n1\n2\n", out)
	require.Equal(t, "1\n2\n", h.content(t))
	require.Len(t, h.logged(), 4)
}

// Namespaces of users, processes and mounts, as unprivileged sandboxes make them.
func TestUserNamespace(t *testing.T) {
	needRoot(t)
	needs(t, "unshare")
	try := asNobody(exec.Command("unshare", "-Urmpf", "--mount-proc", "true"))
	if out, err := try.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no user namespaces: %s", out)
	}
	h := newScratchHandler(t)
	out, err := supervised(t, h, true, "unshare", "-Urmpf", "--mount-proc", "sh", "-ec",
		environment(h, t)+`echo 1 > $F; echo 2 >> $F; exec 3< $F; cat /proc/self/fd/3; echo $$`)
	require.NoError(t, err, out)
	require.Equal(t, "1\n2\n1\n", out)
	require.Equal(t, "1\n2\n", h.content(t))
}

func TestBubblewrap(t *testing.T) {
	needs(t, "bwrap")
	h := newScratchHandler(t)
	out := run(t, h, "bwrap", "--ro-bind", "/", "/", "--bind", h.dir, h.dir, "--dev", "/dev", "--proc", "/proc", "--unshare-pid",
		"sh", "-ec", fmt.Sprintf("echo 1 > %[1]s; cat %[1]s", h.target()))
	require.Equal(t, "1\n", out)
	require.Equal(t, "1\n", h.content(t))
}

// eachWay runs a test with inotify, and where the user has no instance of it left.
func eachWay(t *testing.T, test func(t *testing.T)) {
	t.Run("inotify", test)
	t.Run("no inotify", func(t *testing.T) {
		init := inotifyInit
		defer func() { inotifyInit = init }()
		inotifyInit = func(int) (int, error) { return -1, unix.EMFILE }
		test(t)
	})
}

// A descriptor that stays open is no closed file, also when another one of the same file is closed; and a mapping
// counts.
func TestClosedIsTheLastWriter(t *testing.T) { eachWay(t, testClosedIsTheLastWriter) }

func testClosedIsTheLastWriter(t *testing.T) {
	needs(t, "python3")
	h := newScratchHandler(t)
	var contents []string
	h.published = func(content []byte) { contents = append(contents, string(content)) }
	run(t, h, "python3", "-c", `
import mmap, os, sys, time
F = sys.argv[1]
f = os.open(F, os.O_RDWR | os.O_CREAT)
g = os.open(f"/proc/self/fd/{f}", os.O_WRONLY)
os.write(g, b"one"); os.close(g); time.sleep(0.3)
os.write(f, b"two")
m = mmap.mmap(f, 3); os.close(f); time.sleep(0.3)
m[0:3] = b"map"; m.close()
assert open(F).read() == "map"`, h.target())
	require.Equal(t, []string{"map"}, contents)
}

// Modified is told while a file is being written.
func TestWatchModified(t *testing.T) { eachWay(t, testWatchModified) }

func testWatchModified(t *testing.T) {
	h := newScratchHandler(t)
	w := &watchHandler{scratchHandler: h, seen: make(chan Change, 1000)}
	s := launch(t, w, "sleep", "600")
	f, err := os.Create(filepath.Join(h.scratches, "file"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, s.Watch(f, "file"))
	_, err = f.WriteString("x")
	require.NoError(t, err)
	w.until(t, Modified)
	other, err := os.Create(filepath.Join(h.scratches, "other"))
	require.NoError(t, err)
	require.NoError(t, s.Watch(other, "other"))
	s.Unwatch("other")
	_, err = other.WriteString("x")
	require.NoError(t, err)
	require.NoError(t, other.Close())
	require.NoError(t, f.Close())
	w.until(t, Closed)
	require.Error(t, s.Watch(f, nil))
	require.Nil(t, h.failed.Load())
}

// Much writing is told of now and then, and what comes behind it always.
func TestWatchOfMuchWriting(t *testing.T) { eachWay(t, testWatchOfMuchWriting) }

func testWatchOfMuchWriting(t *testing.T) {
	w := &countingHandler{scratchHandler: newScratchHandler(t)}
	s := launch(t, w, "sleep", "600")
	f, err := os.Create(filepath.Join(w.scratches, "file"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, s.Watch(f, "file"))
	for range 100 { // each of them, told without that anybody drains
		before := w.modified.Load()
		_, err = f.WriteString("x")
		require.NoError(t, err)
		require.Eventually(t, func() bool { return w.modified.Load() > before }, time.Minute, 100*time.Microsecond)
	}
	before := w.modified.Load()
	for range 1000 {
		_, err = f.WriteString("x")
		require.NoError(t, err)
	}
	s.Drain()
	require.Greater(t, w.modified.Load(), before)
	require.Zero(t, w.closed.Load())
	require.NoError(t, f.Close())
	require.Eventually(t, func() bool { return w.closed.Load() == 1 }, time.Minute, time.Millisecond)
}

type countingHandler struct {
	*scratchHandler
	modified, closed atomic.Int64
}

func (h *countingHandler) Changed(_ any, what Change) {
	if what&Modified != 0 {
		h.modified.Add(1)
	}
	if what&Closed != 0 {
		h.closed.Add(1)
	}
}

type watchHandler struct {
	*scratchHandler
	seen chan Change
}

func (h *watchHandler) Changed(key any, what Change) {
	if key != "file" {
		h.fail(fmt.Errorf("told of %v", key))
	}
	h.seen <- what
}

// until waits for one of the changes that are told.
func (h *watchHandler) until(t *testing.T, what Change) {
	for {
		select {
		case seen := <-h.seen:
			if seen&what != 0 {
				return
			}
		case <-time.After(time.Minute):
			t.Fatalf("%v is not told", what)
		}
	}
}
