//go:build linux && (amd64 || arm64)

package intercept

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
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

// Each test here holds one thing that an earlier attempt at this mechanism got wrong.

var long = flag.Bool("long", false, "run the campaigns at full length")

func scaled(short, full int) int {
	if *long {
		return full
	}
	return short
}

// storm opens a file while a timer interrupts it a thousand times a second, and ends with 1 if open ever fails, gives
// a number that is not the lowest free one, or a descriptor of another file. Closing must leave none behind.
const storm = `
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
static volatile long hits;
static void hit(int s) { hits++; }
int main(int argc, char **argv) {
	int n = atoi(argv[2]), prof = !strcmp(argv[3], "prof");
	struct sigaction a = {.sa_handler = hit, .sa_flags = SA_RESTART};
	sigaction(prof ? SIGPROF : SIGALRM, &a, 0);
	struct itimerval t = {{0, 1000}, {0, 1000}};
	setitimer(prof ? ITIMER_PROF : ITIMER_REAL, &t, 0);
	int lowest = dup(0);
	close(lowest);
	for (int i = 0; i < n || hits < 5; i++) {
		char b[8] = {0};
		int f = open(argv[1], O_RDONLY);
		if (f != lowest) { printf("open %d: %d, not %d: %s\n", i, f, lowest, strerror(errno)); return 1; }
		if (read(f, b, 7) != 5 || strcmp(b, "storm")) { printf("open %d: %s\n", i, b); return 1; }
		close(f);
	}
	printf("%ld\n", hits);
	return 0;
}`

// Findings 1 and 3: signals in the caller and in the supervisor, and no descriptor is lost, doubled or wrong.
func TestFinding1SignalsLoseNoDescriptor(t *testing.T) {
	bin := compile(t, "storm", storm)
	for _, timer := range []string{"real", "prof"} {
		t.Run(timer, func(t *testing.T) {
			h := newScratchHandler(t)
			require.NoError(t, os.WriteFile(h.target(), []byte("storm"), 0o666))
			stop := disturb(t)
			out := run(t, h, bin, h.target(), strconv.Itoa(scaled(2000, 50000)), timer)
			stop()
			hits, err := strconv.Atoi(strings.TrimSpace(out))
			require.NoError(t, err)
			require.Positive(t, hits, "there was no storm")
		})
	}
}

// disturb sends SIGURG, which the Go runtime uses for itself and handles, to every thread of this process until stop.
func disturb(t testing.TB) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			threads, err := os.ReadDir("/proc/self/task")
			if err != nil {
				t.Error(err)
				return
			}
			for _, th := range threads {
				tid, _ := strconv.Atoi(th.Name())
				_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG)
			}
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// Findings 2 and 19: who closes what it wrote and opens it again reads it, each time, also while somebody else of the
// tree waits for a lock.
func TestFinding2ReadsOwnWrites(t *testing.T) { eachWay(t, testFinding2ReadsOwnWrites) }

func testFinding2ReadsOwnWrites(t *testing.T) {
	needs(t, "python3")
	h := newScratchHandler(t)
	locked := make(chan struct{})
	var once sync.Once
	h.lock = func(c *Call, _ Descriptor, _ LockRequest) error {
		once.Do(func() { close(locked) })
		<-c.Context().Done()
		return Interrupted
	}
	n := scaled(1000, 10000)
	writers := scaled(2, 12)
	require.NoError(t, os.WriteFile(h.target(), nil, 0o666))
	waiter := launch(t, h, "python3", "-c", "import fcntl,sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX)", h.target())
	<-locked
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			// Each has a file of its own: what is read back can only be its own.
			own := newScratchHandler(t)
			out := run(t, own, "python3", "-c", `
import sys
F, n = sys.argv[1], int(sys.argv[2])
stale = 0
for i in range(n):
    with open(F, "w") as f: f.write(str(i))
    with open(F) as f: stale += f.read() != str(i)
print(stale)`, own.target(), strconv.Itoa(n))
			require.Equal(t, "0\n", out)
		})
	}
	wg.Wait()
	out := run2(t, waiter, h, `for i in 1 2 3; do echo $i > $F; cat $F; done`)
	require.Equal(t, "1\n2\n3\n", out)
	_ = unix.Kill(waiter.PID(), unix.SIGKILL)
	_, status := waiter.finish(t)
	require.Equal(t, syscall.SIGKILL, status.Signal)
}

// run2 runs a script under a second supervisor with the same handler.
func run2(t testing.TB, _ *started, h *scratchHandler, script string) string {
	return run(t, h, "sh", "-ec", environment(h, t)+script)
}

// Finding 4: a handler that takes its time, and a receiver that is stuck, hold up nobody else.
func TestFinding4NobodyElseWaits(t *testing.T) {
	t.Run("handler", func(t *testing.T) {
		h := newScratchHandler(t)
		release := make(chan struct{})
		h.open = func(c *Call, p *Place, how OpenHow) (*os.File, error) {
			if how.Write() {
				<-release
			}
			return h.openScratch(c, p, how)
		}
		require.NoError(t, os.WriteFile(h.target(), []byte("old\n"), 0o666))
		s := launch(t, h, "sh", "-c", environment(h, t)+`(echo new > $F) & cat $F; echo x > $T/other; cat $T/other; cat $F; echo done > $T/done; cat $T/done; wait; cat $F`)
		until(t, func() bool { return count(h.logged(), "read guarded.json") == 2 })
		close(release)
		out, _ := s.finish(t)
		require.Equal(t, "old\nx\nold\ndone\nnew\n", out)
	})
	t.Run("receiver", func(t *testing.T) {
		h := &stuckHandler{scratchHandler: newScratchHandler(t), release: make(chan struct{})}
		s := launch(t, h, "sh", "-c", environment(h.scratchHandler, t)+`cat $T/stuck 2>/dev/null & for i in 1 2 3; do echo $i > $F; cat $F; done; wait`)
		until(t, func() bool { return h.stuck.Load() && count(h.logged(), "read guarded.json") == 3 })
		close(h.release)
		out, _ := s.finish(t)
		require.Equal(t, "1\n2\n3\n", out)
	})
}

// stuckHandler does what a dead network filesystem does to the receiver.
type stuckHandler struct {
	*scratchHandler
	release chan struct{}
	stuck   atomic.Bool
}

func (h *stuckHandler) Named(name string) bool {
	if name == "stuck" && h.stuck.CompareAndSwap(false, true) {
		<-h.release
	}
	return h.scratchHandler.Named(name)
}

func count(log []string, what string) (n int) {
	for _, l := range log {
		if l == what {
			n++
		}
	}
	return n
}

// until waits for something to become true.
func until(t testing.TB, what func() bool) {
	t.Helper()
	const patience = time.Minute
	for end := time.Now().Add(patience); !what(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

// Finding 5: a program that locks the file itself, reads and writes it through that descriptor, stays correct: the
// handler takes the real lock and swaps a fresh copy into the descriptor.
func TestFinding5LockSwapsDescriptor(t *testing.T) {
	needs(t, "python3")
	h := newScratchHandler(t)
	require.NoError(t, os.WriteFile(h.target(), []byte("0"), 0o666))
	var held sync.Mutex // the real lock
	h.published = func([]byte) { held.Unlock() }
	h.lock = func(c *Call, d Descriptor, l LockRequest) error {
		if !l.Exclusive || !l.Wait || l.Kind != Flock {
			return syscall.EINVAL
		}
		if d.ID == (ID{}) || d.Path == "" {
			return syscall.EBADF
		}
		held.Lock()
		fresh, err := h.openScratch(c, &Place{DirID: h.dirID, Name: h.name, Given: h.name}, OpenHow{Flags: os.O_RDWR})
		if err != nil {
			return err
		}
		return c.Swap(d.FD, fresh)
	}
	h.open = func(c *Call, p *Place, how OpenHow) (f *os.File, err error) {
		// Nothing can be written before there is a lock.
		err = c.As(func() (err error) { f, err = os.Open(h.target()); return err })
		return f, err
	}
	const writers, each = 6, 20
	script := `
import fcntl, sys
for i in range(int(sys.argv[2])):
    with open(sys.argv[1], "r+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        n = int(f.read()); f.seek(0); f.write(str(n + 1)); f.truncate()`
	argv := fmt.Sprintf("for i in $(seq %d); do python3 -c '%s' %s %d & done; wait", writers, script, h.target(), each)
	require.Empty(t, run(t, h, "sh", "-c", argv))
	require.Equal(t, strconv.Itoa(writers*each), h.content(t))
}

// A call that waits for a lock is interrupted by signals as the kernel's own would be.
func TestLockIsInterrupted(t *testing.T) {
	bin := compile(t, "locker", `
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/time.h>
#include <unistd.h>
static int hits;
static void hit(int s) { hits++; }
int main(int argc, char **argv) {
	int f = open(argv[1], O_RDWR);
	struct sigaction a = {.sa_handler = hit, .sa_flags = strcmp(argv[2], "restart") ? 0 : SA_RESTART};
	sigaction(SIGALRM, &a, 0);
	struct itimerval t = {{0, 30000}, {0, 30000}};
	setitimer(ITIMER_REAL, &t, 0);
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -2, .l_len = -1};
	int r = strcmp(argv[3], "flock") ? fcntl(f, F_SETLKW, &l) : flock(f, LOCK_EX);
	printf("%s %d\n", r ? strerror(errno) : "locked", hits > 0);
	return 0;
}`)
	for _, kind := range []string{"flock", "fcntl"} {
		t.Run(kind, func(t *testing.T) {
			h := newScratchHandler(t)
			require.NoError(t, os.WriteFile(h.target(), []byte("12345"), 0o666))
			var calls atomic.Int32
			var seen atomic.Pointer[LockRequest]
			h.open = func(c *Call, p *Place, how OpenHow) (*os.File, error) { return os.OpenFile(h.target(), os.O_RDWR, 0) }
			h.lock = func(c *Call, _ Descriptor, l LockRequest) error {
				seen.Store(&l)
				if calls.Add(1) > 3 {
					return nil
				}
				<-c.Context().Done()
				require.Equal(t, Interrupted, context.Cause(c.Context()))
				return Interrupted
			}
			require.Equal(t, "Interrupted system call 1\n", run(t, h, bin, h.target(), "no", kind))
			require.EqualValues(t, 1, calls.Load())
			require.Equal(t, "locked 1\n", run(t, h, bin, h.target(), "restart", kind))
			require.EqualValues(t, 4, calls.Load())
			want := LockRequest{Kind: Flock, Exclusive: true, Wait: true}
			if kind == "fcntl" {
				want.Kind, want.Start, want.Len = Record, 2, 1
			}
			require.Equal(t, want, *seen.Load())
		})
	}
}

// Who waits for a lock is looked at less and less often. Each look wakes the supervisor: of twelve in a queue that was one processor,
// for nothing.
func TestWhoWaitsIsLookedAtRarely(t *testing.T) {
	needs(t, "flock")
	const wait = 2 * time.Second
	h := newScratchHandler(t)
	require.NoError(t, os.WriteFile(h.target(), []byte("12345"), 0o666))
	var looks atomic.Int32
	looked = func() { looks.Add(1) }
	t.Cleanup(func() { looked = nil })
	h.open = func(c *Call, p *Place, how OpenHow) (*os.File, error) { return os.OpenFile(h.target(), os.O_RDWR, 0) }
	h.lock = func(c *Call, _ Descriptor, _ LockRequest) error {
		select {
		case <-c.Context().Done():
		case <-time.After(wait):
		}
		return nil
	}
	began := time.Now()
	run(t, h, "flock", h.target(), "true")
	require.NotZero(t, looks.Load())
	require.Less(t, looks.Load(), int32(time.Since(began)/lastPause)+10) // the first few come sooner
}

// Finding 10: other names of the file, and ways around names.
func TestFinding10OtherNames(t *testing.T) {
	needs(t, "python3")
	for name, script := range map[string]string{
		"symlink":               `os.symlink(F, T + "/other"); w(T + "/other")`,
		"symlink to symlink":    `os.symlink(F, T + "/a"); os.symlink("a", T + "/b"); w(T + "/b")`,
		"symlinked directory":   `os.symlink(D, T + "/d"); w(T + "/d/guarded.json")`,
		"dangling symlink":      `os.remove(F); os.symlink(F, T + "/other"); w(T + "/other")`,
		"hard link":             `os.link(F, D + "/other"); w(D + "/other")`,
		"/proc/self/fd":         `f = os.open(F, os.O_RDONLY); w(f"/proc/self/fd/{f}")`,
		"/dev/fd":               `f = os.open(F, os.O_RDONLY); os.dup2(f, 900); w("/dev/fd/900")`,
		"/dev/stdin":            `f = os.open(F, os.O_RDONLY); os.dup2(f, 0); w("/dev/stdin")`,
		"/proc/thread-self":     `f = os.open(F, os.O_RDONLY); w(f"/proc/thread-self/fd/{f}")`,
		"/proc/pid":             `f = os.open(F, os.O_RDONLY); w(f"/proc/{os.getpid()}/fd/{f}")`,
		"symlink to /proc":      `f = os.open(F, os.O_RDONLY); os.symlink(f"/proc/self/fd/{f}", T + "/x"); w(T + "/x")`,
		"O_PATH":                `f = os.open(F, os.O_PATH); w(f"/proc/self/fd/{f}")`,
		"/proc/self/cwd":        `os.chdir(D); w("/proc/self/cwd/guarded.json")`,
		"symlink through /proc": `os.symlink(F, T + "/other"); os.chdir(T); w("/proc/self/cwd/other")`,
		"/proc/self/root":       `w("/proc/self/root" + F)`,
		"dots":                  `w(D + "/./../" + os.path.basename(D) + "//guarded.json")`,
		"relative to a dirfd":   `d = os.open(D, os.O_PATH); os.chdir("/"); f = os.open("guarded.json", os.O_WRONLY | os.O_TRUNC, dir_fd=d); os.write(f, b"new"); os.close(f); seen = True`,
		"dirfd and /proc":       `d = os.open(D, os.O_PATH); w(f"/proc/self/fd/{d}/guarded.json")`,
		"openat2":               `f = openat2(F, os.O_WRONLY | os.O_TRUNC); os.write(f, b"new"); os.close(f)`,
		"openat2 in a root":     `f = openat2("/../guarded.json", os.O_WRONLY | os.O_TRUNC, os.open(D, os.O_PATH), 0x10); os.write(f, b"new"); os.close(f)`,
		"openat2 beneath":       `f = openat2("guarded.json", os.O_WRONLY | os.O_TRUNC, os.open(D, os.O_PATH), 0x8); os.write(f, b"new"); os.close(f)`,
		"creat":                 `libc = ctypes.CDLL(None); f = libc.creat(F.encode(), 0o666); os.write(f, b"new"); os.close(f)`,
		"scratch opened again":  `f = os.open(F, os.O_WRONLY | os.O_TRUNC); g = os.open(f"/proc/self/fd/{f}", os.O_WRONLY); os.close(f); os.write(g, b"new"); os.close(g)`,
		"inherited by a child":  `f = os.open(F, os.O_WRONLY | os.O_TRUNC); os.set_inheritable(f, True); os.spawnlp(os.P_WAIT, "sh", "sh", "-c", f"printf new >&{f}"); os.close(f)`,
	} {
		t.Run(name, func(t *testing.T) {
			// Not parallel: see TestPrograms.
			h := newScratchHandler(t)
			require.NoError(t, os.WriteFile(h.target(), []byte("old"), 0o666))
			old, err := os.Open(h.target()) // keeps its number from being used again
			require.NoError(t, err)
			defer old.Close()
			var before unix.Stat_t
			require.NoError(t, unix.Fstat(int(old.Fd()), &before))
			out := run(t, h, "python3", "-c", `
import ctypes, os, sys
F, D, T = sys.argv[1:4]
def w(path):
    with open(path, "w") as f: f.write("new")
def openat2(path, flags, dir=-100, resolve=0):
    libc = ctypes.CDLL(None, use_errno=True)
    how = (ctypes.c_uint64 * 3)(flags, 0, resolve)
    f = libc.syscall(437, dir, path.encode(), how, 24)
    assert f >= 0, os.strerror(ctypes.get_errno())
    return f
`+script+`
print(open(F).read())`, h.target(), h.dir, sharedTemp(t))
			require.Equal(t, "new\n", out)
			require.Contains(t, strings.Join(h.logged(), "\n"), "write ")
			var after unix.Stat_t
			require.NoError(t, unix.Stat(h.target(), &after))
			require.NotEqual(t, before.Ino, after.Ino, "the file itself was written")
		})
	}
}

// Finding 10: names that the tree gives to the file are those of readers too.
func TestFinding10ReadsByOtherNames(t *testing.T) {
	for name, script := range map[string]string{
		"symlink":                           `ln -s $F $T/other; cat $T/other`,
		"hard link":                         `ln $F $D/other; cat $D/other`,
		"older symlink, once it is written": `echo 1 > $T/old; cat $T/old`,
		"through /proc":                     `exec 3< $F; cat /proc/self/fd/3`,
	} {
		t.Run(name, func(t *testing.T) {
			h := newScratchHandler(t)
			require.NoError(t, os.WriteFile(h.target(), []byte("1\n"), 0o666))
			elsewhere := sharedTemp(t)
			require.NoError(t, os.Symlink(h.target(), filepath.Join(elsewhere, "old")))
			out := run(t, h, "sh", "-c", fmt.Sprintf("F=%s D=%s T=%s\n", h.target(), h.dir, elsewhere)+script)
			require.Equal(t, "1\n", out)
			require.NotZero(t, countPrefix(h.logged(), "read "), "%v", h.logged())
		})
	}
}

func countPrefix(log []string, what string) (n int) {
	for _, l := range log {
		if strings.HasPrefix(l, what) {
			n++
		}
	}
	return n
}

// Finding 10: io_uring, which opens files from within the kernel, and 32-bit programs are refused.
func TestFinding10RefusedCalls(t *testing.T) {
	t.Run("io_uring", func(t *testing.T) {
		bin := compile(t, "uring", `
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main() {
	char p[256] = {0};
	long r = syscall(425, 4, p);
	printf("%s\n", r < 0 ? strerror(errno) : "made");
	return 0;
}`)
		require.Equal(t, "Function not implemented\n", run(t, newScratchHandler(t), bin))
	})
	t.Run("i386", func(t *testing.T) {
		onlyOnAMD64(t)
		bin := compile(t, "i386", int80)
		h := newScratchHandler(t)
		require.NoError(t, os.WriteFile(h.target(), []byte("old"), 0o666))
		bare, err := exec.Command(bin, h.target()).Output()
		if err != nil || !strings.HasPrefix(string(bare), "open 3 ") {
			t.Skipf("SKIPPED: no 32-bit calls here: %s", bare)
		}
		require.Equal(t, "open -38 openat -38 rename -38 unlink -38 getpid 1 fcntl -38 fcntl 0\n", run(t, h, bin, h.target()))
	})
	t.Run("x32", func(t *testing.T) {
		onlyOnAMD64(t)
		bin := compile(t, "x32", `
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
	long r = syscall(0x40000002, argv[1], O_WRONLY | O_TRUNC);
	printf("%s\n", r < 0 ? strerror(errno) : "opened");
	return 0;
}`)
		h := newScratchHandler(t)
		require.NoError(t, os.WriteFile(h.target(), []byte("old"), 0o666))
		require.Equal(t, "Function not implemented\n", run(t, h, bin, h.target()))
		require.Equal(t, "old", h.content(t))
	})
}

func onlyOnAMD64(t testing.TB) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("SKIPPED: only on amd64")
	}
}

// int80 makes the calls of a 32-bit program; its arguments must lie in the lowest 4 GB.
const int80 = `
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
static long call(long nr, long a, long b, long c, long d) {
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d) : "memory", "r8", "r9", "r10", "r11");
	return (int)r;
}
int main(int argc, char **argv) {
	char *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	strcpy(low, argv[1]);
	long p = (long)low;
	printf("open %ld ", call(5, p, 1, 0, 0));
	printf("openat %ld ", call(295, -100, p, 1, 0));
	printf("rename %ld ", call(38, p, p, 0, 0));
	printf("unlink %ld ", call(10, p, 0, 0, 0));
	printf("getpid %d ", call(20, 0, 0, 0, 0) == getpid());
	printf("fcntl %ld ", call(221, 0, 13, p, 0));
	printf("fcntl %ld\n", call(221, 0, 1, 0, 0));
	return 0;
}`

// Finding 11: what cannot be looked into does not run unguarded in silence.
func TestFinding11Undumpable(t *testing.T) {
	needRoot(t)
	bin := compile(t, "undumpable", `
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int argc, char **argv) {
	if (argc > 2) prctl(PR_SET_DUMPABLE, 0);
	int f = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0666);
	printf("%s\n", f < 0 ? strerror(errno) : "opened");
	return 0;
}`)
	unreadable := filepath.Join(filepath.Dir(bin), "unreadable")
	require.NoError(t, command.CopyExecutable(bin, unreadable, 0o711))
	require.NoError(t, os.Chmod(unreadable, 0o711))
	require.NoError(t, os.Chmod(bin, 0o755))
	for name, argv := range map[string][]string{"prctl": {bin, "x"}, "unreadable": {unreadable}} {
		t.Run(name, func(t *testing.T) {
			h := newScratchHandler(t)
			argv := append([]string{argv[0], h.target()}, argv[1:]...)
			out, err := supervised(t, h, true, argv...)
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, out)
			require.Equal(t, 128+9, exit.ExitCode(), out)
			require.NoFileExists(t, h.target())
			// A supervisor that may look into it guards it.
			out, err = supervised(t, h, false, argv...)
			require.NoError(t, err, out)
			require.Equal(t, "opened\n", out)
			require.FileExists(t, h.target())
		})
	}
	t.Run("allowed", func(t *testing.T) {
		h := newScratchHandler(t)
		t.Setenv("INTERCEPT_TEST_ALLOW", "1")
		out, err := supervised(t, h, true, bin, h.target(), "x")
		require.NoError(t, err, out)
		require.Equal(t, "opened\n", out)
	})
}

func init() {
	roles["nested"] = func(args []string) int {
		_, err := Start(Command{Path: "/bin/true", Args: []string{"true"}}, &scratchHandler{})
		_, probed := Probe()
		if !errors.Is(err, ErrNested) || !errors.Is(probed, ErrNested) {
			fmt.Println("start:", err, "probe:", probed)
			return 1
		}
		ctx, stop := context.WithTimeout(context.Background(), time.Minute)
		defer stop()
		answer, err := Ask(ctx, []byte(args[0]))
		fmt.Printf("%s %v\n", answer, err)
		return 0
	}
}

// Finding 12: a supervisor inside another finds it and is answered by it.
func TestFinding12Nested(t *testing.T) {
	h := newScratchHandler(t)
	h.asked = func(p *Process, request []byte) ([]byte, error) {
		if string(request) == "no" {
			return nil, errors.New("refused")
		}
		return fmt.Appendf(nil, "%s of %s", request, p.Command), nil
	}
	path, err := self()
	require.NoError(t, err)
	out := run(t, h, "env", roleName+"=nested", path, "please")
	require.Equal(t, "please of self <nil>\n", out)
	out = run(t, h, "env", roleName+"=nested", path, "no")
	require.Equal(t, " intercept: the outer supervisor: refused\n", out)

	_, err = Ask(t.Context(), nil)
	require.ErrorContains(t, err, "not in the environment")
}

// Finding 13: a supervisor that is killed takes its whole tree along, and its guardian ends, and until then nothing gets past.
func TestFinding13KilledSupervisor(t *testing.T) {
	needs(t, "setsid", "env")
	for range 3 {
		killedSupervisor(t)
	}
}

func killedSupervisor(t *testing.T) {
	h := newScratchHandler(t)
	pids := sharedTemp(t)
	cmd := inRole(t, "supervise", h.target(), "/bin/sh", "-c", fmt.Sprintf(`
cd %s
record() { echo $$ > $1.tmp; mv $1.tmp $1; }
# In the group, in a session of its own, with an empty environment as well.
sh -c 'echo $$ > child; exec sleep 600' &
setsid -f sh -c 'echo $$ > daemon; exec sleep 600'
setsid -f env -i sh -c 'echo $$ > bare; while :; do sleep 0.02; echo x >> bare.alive; done'
setsid -f sh -c 'sleep 600 & echo $! > orphan'
while ! test -s child -a -s daemon -a -s bare -a -s orphan; do sleep 0.01; done
echo unfinished > %s
echo ready > ready
exec sleep 600`, pids, h.target()))
	cmd.Env = append(cmd.Env, "INTERCEPT_TEST_SCRATCHES="+h.scratches)
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = time.Second // survivors may hold the pipe
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	until(t, func() bool { _, err := os.Stat(pids + "/ready"); return err == nil || cmd.ProcessState != nil })
	var tree []int
	for _, name := range []string{"child", "daemon", "bare", "orphan"} {
		raw, err := os.ReadFile(filepath.Join(pids, name))
		require.NoError(t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
		require.NoError(t, err)
		require.True(t, lives(pid), name)
		t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) })
		tree = append(tree, pid)
	}
	guardians, err := children(cmd.Process.Pid)
	require.NoError(t, err)
	require.NotEmpty(t, guardians)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	until(t, func() bool { return !slices.ContainsFunc(append(tree, guardians...), lives) })
}

func lives(pid int) bool {
	st, err := readStat(pid)
	return err == nil && !strings.ContainsRune("ZX", rune(st.state))
}

// Finding 13: what the supervisor holds open (a lock, a pipe) is not kept open by the guardian.
func TestGuardianHoldsNothing(t *testing.T) {
	h := newScratchHandler(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	s := launch(t, h, "sleep", "600")
	require.NoError(t, w.Close())
	require.NoError(t, r.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err = r.Read(make([]byte, 1))
	require.EqualError(t, err, "EOF")
	fds, err := os.ReadDir(procPath(s.Supervisor.s.guardian.pid, "fd"))
	require.NoError(t, err)
	var names []string
	for _, fd := range fds {
		names = append(names, fd.Name())
	}
	require.Equal(t, []string{"3", "4", "5"}, names)
	require.NoError(t, s.Kill())
	_, status := s.finish(t)
	require.Equal(t, syscall.SIGKILL, status.Signal)
}

// Finding 14: no_new_privs is set for the tree, and for nobody else.
func TestFinding14NoNewPrivileges(t *testing.T) {
	own, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	out := run(t, newScratchHandler(t), "grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status")
	require.Equal(t, "NoNewPrivs:\t1\nSeccomp:\t2\n", out)
	again, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	line := func(raw []byte) string {
		for l := range strings.Lines(string(raw)) {
			if strings.HasPrefix(l, "NoNewPrivs") {
				return l
			}
		}
		return ""
	}
	require.Equal(t, line(own), line(again))
}

func init() {
	// Without process_vm_readv, as in some containers.
	roles["supervise without vm"] = func(args []string) int {
		code := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offNumber},
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PROCESS_VM_READV, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		if err := everyThread(code); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		f, err := Probe()
		if err != nil || f.ReadMemory != byFile {
			fmt.Fprintln(os.Stderr, "probe:", f, err)
			return 1
		}
		return supervise(args)
	}
}

// Finding 17: where process_vm_readv is refused, memory is read through its file.
func TestFinding17WithoutProcessVMReadv(t *testing.T) {
	h := newScratchHandler(t)
	cmd := inRole(t, "supervise without vm", h.target(), "/bin/sh", "-c", environment(h, t)+"echo 1 > $F; mv $F $D/x; cat $D/x")
	cmd.Env = append(cmd.Env, "INTERCEPT_TEST_SCRATCHES="+h.scratches)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "1\n", string(out))
}

// An unprivileged supervisor can take on a umask, and has nothing else to take on.
func TestUnprivilegedUmask(t *testing.T) {
	needRoot(t)
	h := newScratchHandler(t)
	kept := filepath.Join(h.dir, "kept")
	require.NoError(t, os.WriteFile(h.target(), []byte("old\n"), 0o666))
	require.NoError(t, os.Chmod(h.target(), 0o666))
	require.NoError(t, os.Link(h.target(), kept))
	out, err := supervised(t, h, true, "sh", "-ec", environment(h, t)+"umask 077; echo 1 > $F; umask 0; echo 2 >> $F; cat $F")
	require.NoError(t, err, out)
	require.Equal(t, "1\n2\n", out)
	raw, err := os.ReadFile(kept)
	require.NoError(t, err)
	require.Equal(t, "old\n", string(raw), "the file itself was written")
}

// Finding 18: what a process may not do, it may not do through a privileged supervisor.
func TestFinding18CallersCredentials(t *testing.T) {
	needRoot(t)
	needs(t, "python3")
	drop := `
import os, sys
F, D = sys.argv[1:3]
def attempt(what, path, mode="r"):
    try:
        with open(path, mode) as f:
            if mode != "r": f.write("new")
        print(what, "ok")
    except OSError as e: print(what, e.strerror)
`
	t.Run("root only", func(t *testing.T) {
		h := newScratchHandler(t)
		require.NoError(t, os.WriteFile(h.target(), []byte("old"), 0o600))
		out := run(t, h, "python3", "-c", drop+`
attempt("root", F)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
attempt("read", F); attempt("write", F, "w")
`, h.target(), h.dir)
		require.Equal(t, "root ok\nread Permission denied\nwrite Permission denied\n", out)
	})
	t.Run("by directory", func(t *testing.T) {
		h := newScratchHandler(t)
		require.NoError(t, os.WriteFile(h.target(), []byte("old"), 0o666))
		require.NoError(t, os.Chmod(h.dir, 0o700))
		out := run(t, h, "python3", "-c", drop+`
os.setgroups([]); os.setgid(65534); os.setuid(65534)
attempt("read", F); attempt("write", F, "w")
`, h.target(), h.dir)
		require.Equal(t, "read Permission denied\nwrite Permission denied\n", out)
	})
	t.Run("by group", func(t *testing.T) {
		const group = 4321
		h := newScratchHandler(t)
		require.NoError(t, os.WriteFile(h.target(), []byte("old"), 0o640))
		require.NoError(t, os.Chown(h.target(), 0, group))
		out := run(t, h, "python3", "-c", drop+`
os.setgroups([4321]); os.setgid(65534); os.setuid(65534)
attempt("read", F); attempt("write", F, "w")
`, h.target(), h.dir)
		require.Equal(t, "read ok\nwrite Permission denied\n", out)
	})
	t.Run("root without capabilities", func(t *testing.T) {
		needs(t, "setpriv")
		h := newScratchHandler(t)
		require.NoError(t, os.WriteFile(h.target(), []byte("old"), 0o600))
		require.NoError(t, os.Chown(h.target(), nobody, nobody))
		out := run(t, h, "setpriv", "--bounding-set=-all", "--inh-caps=-all", "python3", "-c", drop+`
attempt("read", F)`, h.target(), h.dir)
		require.Equal(t, "read Permission denied\n", out)
	})
	t.Run("umask and owner", func(t *testing.T) {
		h := newScratchHandler(t)
		h.open = func(c *Call, p *Place, how OpenHow) (f *os.File, err error) {
			err = c.As(func() error {
				fd, err := unix.Openat(int(p.Dir.Fd()), p.Name, how.Flags|unix.O_CLOEXEC, how.Mode)
				f = fileOf(fd, p.Name)
				return err
			})
			return f, err
		}
		run(t, h, "python3", "-c", `
import os, sys
os.umask(0o027); os.setgroups([]); os.setgid(65534); os.setuid(65534)
open(sys.argv[1], "w")`, h.target())
		info, err := os.Stat(h.target())
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o640), info.Mode().Perm())
		st := info.Sys().(*syscall.Stat_t)
		require.EqualValues(t, nobody, st.Uid)
		require.EqualValues(t, nobody, st.Gid)
		// Of the process itself nothing has changed, on no thread.
		for range 32 {
			own, err := readTask(unix.Gettid())
			require.NoError(t, err)
			require.Zero(t, own.credentials.UID)
		}
	})
}
