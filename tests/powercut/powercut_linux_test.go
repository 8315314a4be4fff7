package powercut

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
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

	"jsonguard/merge"
	"jsonguard/sidecar"
)

var (
	cuts    = flag.Int("cuts", 4, "power cuts on each filesystem")
	writers = flag.Int("writers", 17, "processes that write")
	seed    = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of all random choices")
	kept    = flag.String("keep", os.TempDir(), "where the image of a cut that lost something is kept")
)

func TestMain(m *testing.M) {
	if os.Getenv("POWERCUT_WRITER") != "" {
		os.Exit(write(os.Args[1:]))
	}
	flag.Parse()
	os.Exit(m.Run())
}

func TestPowerCuts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: power cuts need root, to mount a filesystem and to shut it down")
	}
	for _, fs := range []filesystem{
		{"ext4", 48, []string{"mkfs.ext4", "-q", "-F"}},
		{"xfs", 320, []string{"mkfs.xfs", "-q", "-f"}},
	} {
		t.Run(fs.name, func(t *testing.T) {
			if _, err := exec.LookPath(fs.make[0]); err != nil {
				t.Skipf("SKIPPED: %s is not installed", fs.make[0])
			}
			t.Parallel()
			t.Logf("seed %d", *seed)
			var mu sync.Mutex
			total := tally{}
			t.Run("cut", func(t *testing.T) { // ends when all of them have
				for i := range *cuts {
					t.Run(strconv.Itoa(i), func(t *testing.T) {
						t.Parallel()
						one := fs.cut(t, i)
						mu.Lock()
						defer mu.Unlock()
						total.add(one)
					})
				}
			})
			if t.Failed() {
				return
			}
			t.Logf("%s: %d cuts, %d changes acknowledged, %d more found, lost 0, doubled 0", fs.name, *cuts, total.acknowledged, total.more)
			require.NotZero(t, total.acknowledged)
		})
	}
}

type filesystem struct {
	name string
	size int64 // MB
	make []string
}

type tally struct{ acknowledged, more int }

func (a *tally) add(b tally) {
	a.acknowledged += b.acknowledged
	a.more += b.more
}

// cut is one life of a filesystem: made, written, cut off, mounted again, looked at.
func (f filesystem) cut(t *testing.T, n int) tally {
	random := rand.New(rand.NewPCG(*seed, uint64(n)))
	dir, err := os.MkdirTemp(place(), "jsonguard-powercut-*")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	image, mount := filepath.Join(dir, "image"), filepath.Join(dir, "mount")
	require.NoError(t, os.Mkdir(mount, 0o700))
	file, err := os.Create(image)
	require.NoError(t, err)
	require.NoError(t, errors.Join(file.Truncate(f.size<<20), file.Close()))
	run(t, append(f.make, image)...)
	if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: cannot mount a file here: %s", out)
	}
	mounted := true
	defer func() {
		if mounted {
			_ = exec.Command("umount", "-l", mount).Run()
		}
	}()
	target := filepath.Join(mount, "data.json")
	require.NoError(t, os.WriteFile(target, []byte("{\"count\": 0, \"log\": []}\n"), 0o600))
	syncAll(t, mount)

	crowd := startCrowd(t, target)
	crowd.untilBusy(t)
	time.Sleep(time.Duration(random.IntN(150)) * time.Millisecond)
	tried, acknowledged := crowd.stop(t)
	shutdown(t, mount)
	crowd.kill()
	run(t, "umount", mount)
	run(t, "mount", "-o", "loop", image, mount)

	ctx := context.Background()
	g, err := sidecar.Open(target, sidecar.Options{})
	require.NoError(t, err)
	_, _, err = g.Recover(ctx, false)
	failed := err != nil
	if err == nil {
		var content []byte
		if content, err = g.Read(ctx); err == nil {
			err = check(content, tried, acknowledged)
		}
		failed = err != nil
	}
	require.NoError(t, g.Close())
	more := 0
	if !failed {
		more = countIDs(t, target) - len(acknowledged)
	}
	run(t, "umount", mount)
	mounted = false
	if failed {
		kept := filepath.Join(*kept, fmt.Sprintf("jsonguard-powercut-%s-%d-%d.image", f.name, *seed, n))
		keep(t, image, kept)
		t.Fatalf("cut %d, seed %d: %v; the image is %s", n, *seed, err, kept)
	}
	require.NoError(t, os.Remove(image))
	return tally{len(acknowledged), more}
}

// place is in memory, where that is large enough: an image lies in the page cache anyway.
func place() string {
	const memory, enough = "/dev/shm", 2 << 30
	var fs unix.Statfs_t
	if unix.Statfs(memory, &fs) != nil || int64(fs.Bavail)*fs.Bsize < enough {
		return ""
	}
	return memory
}

// keep copies the image, without its holes, to where it outlives the test.
func keep(t *testing.T, image, to string) {
	if out, err := exec.Command("cp", "--sparse=always", image, to).CombinedOutput(); err != nil {
		t.Errorf("the image could not be kept: %v: %s", err, out)
	}
}

func run(t *testing.T, argv ...string) {
	t.Helper()
	var out []byte
	var err error
	for range 1500 { // the loop device may be busy, or who has it open be slow to die
		if out, err = exec.Command(argv[0], argv[1:]...).CombinedOutput(); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	require.NoError(t, err, "%v: %s", argv, out)
}

func syncAll(t *testing.T, mount string) {
	d, err := os.Open(mount)
	require.NoError(t, err)
	require.NoError(t, errors.Join(unix.Syncfs(int(d.Fd())), d.Close()))
}

// shutdown is FS_IOC_SHUTDOWN with "no log flush" (fs/ext4/ioctl.c, fs/xfs/xfs_fsops.c have it under the same number).
func shutdown(t *testing.T, mount string) {
	const goingDown, noLogFlush = 0x8004587d, 2
	d, err := os.Open(mount)
	require.NoError(t, err)
	defer d.Close()
	require.NoError(t, unix.IoctlSetPointerInt(int(d.Fd()), goingDown, noLogFlush))
}

// crowd are the writers.
type crowd struct {
	members []*exec.Cmd
	outs    []*os.File
	errs    said
}

// said is what several processes say on their standard error. The buffer is no embedded one, whose ReadFrom io.Copy would
// prefer.
type said struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func startCrowd(t *testing.T, target string) *crowd {
	self, err := os.Executable()
	require.NoError(t, err)
	c := &crowd{}
	for i := range *writers {
		r, w, err := os.Pipe()
		require.NoError(t, err)
		cmd := exec.Command(self, target, strconv.Itoa(i))
		cmd.Env = append(os.Environ(), "POWERCUT_WRITER=1")
		cmd.Stdout, cmd.Stderr = w, &c.errs
		require.NoError(t, cmd.Start())
		require.NoError(t, w.Close())
		c.members, c.outs = append(c.members, cmd), append(c.outs, r)
	}
	return c
}

// untilBusy waits until there is something to lose: everybody was acknowledged something, or nearly everybody on a machine
// that has other things to do.
func (c *crowd) untilBusy(t *testing.T) {
	const patience, enough = 5 * time.Second, 5 * time.Minute
	firstTwoLines := len("try 0-0\nack 0-0\n")
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		busy := 0
		for _, out := range c.outs {
			raw, err := out.SyscallConn()
			require.NoError(t, err)
			require.NoError(t, raw.Control(func(fd uintptr) {
				if n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ); err == nil && n >= firstTwoLines {
					busy++
				}
			}))
		}
		waited := time.Since(began)
		if busy == len(c.outs) || busy > 0 && waited > patience {
			return
		}
		require.Less(t, waited, enough, "no writer works: %s", &c.errs)
	}
}

// stop stops everybody and then reads what they said.
func (c *crowd) stop(t *testing.T) (tried, acknowledged map[string]bool) {
	tried, acknowledged = map[string]bool{}, map[string]bool{}
	for _, m := range c.members {
		require.NoError(t, m.Process.Signal(syscall.SIGSTOP))
	}
	for _, m := range c.members {
		waitStopped(m.Process.Pid)
	}
	for _, out := range c.outs {
		for line := range strings.Lines(drain(t, out)) {
			word, id, whole := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			switch {
			case !whole || !strings.HasSuffix(line, "\n"):
			case word == "try":
				tried[id] = true
			case word == "ack":
				acknowledged[id] = true
			}
		}
	}
	return tried, acknowledged
}

// waitStopped: SIGSTOP takes effect when a thread leaves the kernel, which an fsync may take a while to do.
func waitStopped(pid int) {
	for range 5000 {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		stopped := true
		for _, task := range tasks {
			stat, err := os.ReadFile(task)
			if err != nil {
				continue
			}
			state := stat[bytes.LastIndexByte(stat, ')')+2]
			stopped = stopped && (state == 'T' || state == 'Z' || state == 'D')
		}
		if stopped {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// drain reads what is in a pipe, whose writer is stopped.
func drain(t *testing.T, r *os.File) string {
	defer r.Close()
	var said []byte
	raw, err := r.SyscallConn()
	require.NoError(t, err)
	var failed error
	require.NoError(t, raw.Read(func(fd uintptr) bool {
		for buf := make([]byte, 64<<10); ; {
			n, err := unix.Read(int(fd), buf)
			switch {
			case err == unix.EINTR:
			case err == unix.EAGAIN || err == nil && n == 0:
				return true
			case err != nil:
				failed = err
				return true
			default:
				said = append(said, buf[:n]...)
			}
		}
	}))
	require.NoError(t, failed)
	return string(said)
}

func (c *crowd) kill() {
	for _, m := range c.members {
		_ = m.Process.Kill()
	}
	for _, m := range c.members {
		_ = m.Wait()
	}
}

// write is one writer: it says what it is about to do, does it, and says that it was acknowledged.
func write(args []string) int {
	ctx := context.Background()
	g, err := sidecar.Open(args[0], sidecar.Options{Timeout: time.Minute})
	if err != nil {
		return 1
	}
	for i := 0; ; i++ {
		id := args[1] + "-" + strconv.Itoa(i)
		fmt.Println("try " + id)
		ops := []merge.Op{{Kind: merge.OpIncr, At: "/count", Value: merge.Raw("1")}, {Kind: merge.OpAppend, At: "/log", Value: merge.Raw(strconv.Quote(id))}}
		switch i % 3 {
		case 0:
			_, err = g.Apply(ctx, ops...)
		case 1:
			err = g.Journal(ctx, ops...)
		default:
			_, err = g.Update(ctx, func(d *merge.Document) error { return d.Do(ops...) })
		}
		if err != nil && !errors.Is(err, sidecar.ErrPending) { // which is as good: it is on disk
			fmt.Fprintln(os.Stderr, id, err) // the filesystem is gone
			return 1
		}
		fmt.Println("ack " + id)
	}
}

type data struct {
	Count int      `json:"count"`
	Log   []string `json:"log"`
}

func check(content []byte, tried, acknowledged map[string]bool) error {
	var d data
	if err := json.Unmarshal(content, &d); err != nil {
		return fmt.Errorf("the target is no document: %w: %q", err, content)
	}
	if d.Count != len(d.Log) {
		return fmt.Errorf("counted %d, listed %d", d.Count, len(d.Log))
	}
	found := map[string]bool{}
	for _, id := range d.Log {
		if found[id] {
			return fmt.Errorf("twice: %s", id)
		}
		if !tried[id] {
			return fmt.Errorf("nobody wrote %s", id)
		}
		found[id] = true
	}
	for id := range acknowledged {
		if !found[id] {
			return fmt.Errorf("lost: %s", id)
		}
	}
	return nil
}

func countIDs(t *testing.T, target string) int {
	content, err := os.ReadFile(target)
	require.NoError(t, err)
	var d data
	require.NoError(t, json.Unmarshal(content, &d))
	return len(d.Log)
}
