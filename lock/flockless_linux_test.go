package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/tests/flockless"
)

func init() { roles["flockless"] = flocklessRole }

// flocklessRole takes flock away and becomes another role: ERRNO ROLE ARG...
func flocklessRole(args []string) error {
	errno, err := strconv.ParseUint(args[0], 10, 16)
	if err != nil {
		return err
	}
	if err := os.Setenv("LOCK_ROLE", args[1]); err != nil {
		return err
	}
	return flockless.Exec(syscall.Errno(errno), append([]string{os.Args[0]}, args[2:]...))
}

// leaseTestTime is short enough for a test to wait for, and long enough for a holder on a loaded machine to beat.
const leaseTestTime = 2 * time.Second

func init() {
	if text := os.Getenv("LOCK_LEASE"); text != "" {
		leaseTime, _ = time.ParseDuration(text)
	}
}

// without starts a role on a filesystem whose flock returns errno.
func without(t *testing.T, errno syscall.Errno, role string, args ...string) *process {
	t.Helper()
	return start(t, "flockless", append([]string{strconv.Itoa(int(errno)), role}, args...), func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, "LOCK_LEASE="+leaseTestTime.String())
	})
}

// leaseTarget is a target in memory, where there is one: a holder whose beats wait for a disk loses its lease, as it should.
func leaseTarget(t *testing.T, content string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "jsonguard-lock-*")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "results.json")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

var withoutFlock = []struct {
	name  string
	errno syscall.Errno
}{
	{"flock is given to everybody", 0}, {"no such call", unix.ENOSYS}, {"no lock daemon", unix.ENOLCK}, {"not supported", unix.EOPNOTSUPP},
}

func TestProbeFindsOut(t *testing.T) {
	for _, fs := range withoutFlock {
		t.Run(fs.name, func(t *testing.T) {
			dir := t.TempDir()
			without(t, fs.errno, "probe", dir).expect("false").end()
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Empty(t, entries)
		})
	}
	start(t, "probe", []string{t.TempDir()}).expect("true").end()
	found, err := Probe(filepath.Join(t.TempDir(), "missing"))
	require.Error(t, err)
	require.False(t, found.Excludes)
}

// Where flock excludes there is no lease: no file, no beats.
func TestNoLeaseWhereFlockExcludes(t *testing.T) {
	path := leaseTarget(t, "{}")
	hold(t, path)
	require.NoDirExists(t, LeaseDir(path))
}

func TestLeaseExcludes(t *testing.T) {
	t.Parallel()
	for _, fs := range withoutFlock {
		t.Run(fs.name, func(t *testing.T) {
			const procs, each = 8, 15
			path := leaseTarget(t, "0")
			var all []*process
			for range procs {
				all = append(all, without(t, fs.errno, "count", strconv.Itoa(each), path))
			}
			for _, p := range all {
				p.end()
			}
			requireCount(t, path, procs*each)
			numbers, err := leaseNumbers(LeaseDir(path))
			require.NoError(t, err)
			require.Len(t, numbers, 1, "only the last one is left")
			require.GreaterOrEqual(t, numbers[0], uint64(procs*each), "one number for each hold")
		})
	}
}

// Processes that are killed while they hold it, wait for it or take it over: those that live go on, and lose nothing.
func TestLeaseUnderKill(t *testing.T) {
	t.Parallel()
	const procs, each = 6, 30
	path := leaseTarget(t, "0")
	acknowledged := make(chan int)
	var victims, survivors []*process
	for range procs {
		victims = append(victims, without(t, 0, "count", "1000000", path))
		survivors = append(survivors, without(t, 0, "count", strconv.Itoa(each), path))
	}
	for _, p := range append(victims, survivors...) {
		go func() {
			n := 0
			for {
				text, err := p.out.ReadString('\n')
				if text != "" && text != "added\n" {
					t.Errorf("process %d: %s", p.cmd.Process.Pid, text)
				}
				if err != nil || text != "added\n" {
					acknowledged <- n
					return
				}
				n++
			}
		}()
	}
	for i, p := range victims {
		time.Sleep(50 * time.Millisecond)
		if i%3 == 0 { // one that surely holds it: the others are killed wherever they are
			eventually(t, func() bool { return holderOf(t, path) == p.cmd.Process.Pid }, "it holds the lease")
		}
		require.NoError(t, p.cmd.Process.Kill())
	}
	sum := 0
	for range 2 * procs {
		sum += <-acknowledged
	}
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	got, err := strconv.Atoi(string(raw))
	require.NoError(t, err)
	require.GreaterOrEqual(t, sum, procs*each)
	require.GreaterOrEqual(t, got, sum, "each acknowledged addition is there")
	require.LessOrEqual(t, got, sum+procs, "and at most one more for each victim")
}

func holderOf(t *testing.T, path string) int {
	t.Helper()
	if h := leaseHolder(path); h != nil {
		return h.PID
	}
	return 0
}

// A holder that is stopped for longer than the lease finds out before it publishes.
func TestAStoppedHolderFindsOut(t *testing.T) {
	t.Parallel()
	path := leaseTarget(t, "{}")
	first := without(t, 0, "hold", path).expect("held")
	first.say("check").expect("ok")
	require.NoError(t, first.cmd.Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	second := without(t, 0, "hold", path).expect("held")
	require.GreaterOrEqual(t, time.Since(began), leaseTestTime, "not before the lease has run out")
	require.NoError(t, first.cmd.Process.Signal(syscall.SIGCONT))
	first.say("check").expect("lost")
	second.say("check").expect("ok")
	first.end() // gives back what it does not hold
	second.say("check").expect("ok")
	third := without(t, 0, "acquire", path, "timeout=0")
	require.Contains(t, third.line(), `"Timeout":true`)
	second.end()
}

// The same, with what is at stake: a stopped holder that goes on would set the counter back to what it had read.
func TestAStoppedHolderDoesNotPublish(t *testing.T) {
	t.Parallel()
	path := leaseTarget(t, "0")
	stopped := without(t, 0, "add slowly", path).expect("has read")
	require.NoError(t, stopped.cmd.Process.Signal(syscall.SIGSTOP))
	without(t, 0, "count", "20", path).end()
	require.NoError(t, stopped.cmd.Process.Signal(syscall.SIGCONT))
	stopped.say("go on").expect("lost")
	requireCount(t, path, 20)
	awake := without(t, 0, "add slowly", path).expect("has read")
	awake.say("go on").expect("added")
	requireCount(t, path, 21)
}

// A holder that lives and does nothing keeps it, for as many leases as it likes.
func TestAnIdleHolderKeepsTheLease(t *testing.T) {
	t.Parallel()
	path := leaseTarget(t, "{}")
	holder := without(t, 0, "hold", path).expect("held")
	timeout := "timeout=" + (3 * leaseTestTime / 2).String()
	require.Contains(t, without(t, 0, "acquire", path, timeout).line(), `"Timeout":true`)
	holder.say("check").expect("ok")
}

// Check beats, so that a waiter that is about to take over sees that the holder woke up.
func TestCheckBeats(t *testing.T) {
	path := leaseTarget(t, "{}")
	l, err := takeLease(context.Background(), path, options{})
	require.NoError(t, err)
	defer l.release()
	_, before, err := newestLease(l.dir)
	require.NoError(t, err)
	require.NoError(t, l.check())
	_, after, err := newestLease(l.dir)
	require.NoError(t, err)
	require.NotEqual(t, string(before), string(after))
}

// The new holder creates its number first, and removes the lower ones then: in between both are there.
func TestCheckSeesWhoTookOver(t *testing.T) {
	path := leaseTarget(t, "{}")
	l, err := takeLease(context.Background(), path, options{})
	require.NoError(t, err)
	defer l.release()
	require.NoError(t, createLike(path, leaseName(l.dir, l.number+1)))
	require.ErrorIs(t, l.check(), ErrLost)
	require.NoError(t, os.Remove(leaseName(l.dir, l.number+1)))
	require.NoError(t, l.check())
	content, err := os.ReadFile(l.path())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(l.path(), []byte("held 00000000000000000001\nsomebody else's"), 0o600))
	require.ErrorIs(t, l.check(), ErrLost, "its number with another holder in it: the directory was removed and made again")
	require.NoError(t, os.WriteFile(l.path(), content, 0o600))
}

// A waiter that was stopped itself does not take over from a holder that beats.
func TestAStoppedWaiterDidNotWatch(t *testing.T) {
	t.Parallel()
	for !stoppedWaiter(t) {
		t.Log("the holder slept for so long that the waiter may have taken over")
	}
}

// stoppedWaiter stops both, and the waiter for less long. It is false where this process had no processor in between.
func stoppedWaiter(t *testing.T) (inTime bool) {
	path := leaseTarget(t, "{}")
	holder := without(t, 0, "hold", path).expect("held")
	waiting := without(t, 0, "hold", path)
	time.Sleep(leaseTestTime / 2)
	require.NoError(t, holder.cmd.Process.Signal(syscall.SIGSTOP))
	require.NoError(t, waiting.cmd.Process.Signal(syscall.SIGSTOP)) // as when the whole machine sleeps
	time.Sleep(3 * leaseTestTime / 2)
	woke := time.Now()
	require.NoError(t, waiting.cmd.Process.Signal(syscall.SIGCONT))
	time.Sleep(leaseTestTime / 10)
	require.NoError(t, holder.cmd.Process.Signal(syscall.SIGCONT))
	if time.Since(woke) > leaseTestTime/2 {
		return false
	}
	holder.say("check").expect("ok")
	holder.end()
	waiting.expect("held")
	return true
}

func TestWatchCountsOnlyWhatItSaw(t *testing.T) {
	w := watch{}
	require.False(t, w.stale(1, []byte("held 1")))
	w.looked = w.looked.Add(-time.Hour)
	require.False(t, w.stale(1, []byte("held 1")), "an hour between two looks is a beat's time")
	require.Equal(t, beatInterval(), w.unchanged)
	for range 3 {
		w.looked = w.looked.Add(-time.Hour)
		require.False(t, w.stale(1, []byte("held 1")))
	}
	w.looked = w.looked.Add(-time.Hour)
	require.True(t, w.stale(1, []byte("held 1")))
	require.False(t, w.stale(1, []byte("held 2")), "a beat")
	require.Zero(t, w.unchanged)
}

// Many waiters see the same stale lease at once: one of them gets it.
func TestOneTakesOver(t *testing.T) {
	t.Parallel()
	path := leaseTarget(t, "{}")
	without(t, 0, "hold", path).expect("held").kill()
	said := make(chan *process)
	for range 6 {
		p := without(t, 0, "hold", path)
		go func() {
			if text, err := p.out.ReadString('\n'); err == nil && text == "held\n" {
				said <- p
			}
		}()
	}
	for range 6 {
		holder := <-said
		holder.say("check").expect("ok")
		select {
		case <-said:
			t.Fatal("two took over")
		case <-time.After(50 * time.Millisecond):
		}
		holder.end()
	}
}

// A claimant that slept since it looked: whatever happened to the numbers meanwhile, what it creates counts for nothing.
func TestALateClaim(t *testing.T) {
	path := leaseTarget(t, "{}")
	dir := LeaseDir(path)
	take := func() *lease {
		l, err := takeLease(context.Background(), path, options{})
		require.NoError(t, err)
		return l
	}
	require.NoError(t, take().release())
	require.NoError(t, take().release()) // 2 is free
	current := take()                    // 3
	for seen := range uint64(3) {        // looked when 0, 1 or 2 was the newest
		late, err := claimLease(path, dir, seen)
		require.NoError(t, err)
		require.Nil(t, late, "after %d", seen)
		require.NoError(t, current.check())
	}
	numbers, err := leaseNumbers(dir)
	require.NoError(t, err)
	require.Equal(t, []uint64{3}, numbers)
	require.NoError(t, current.release())
	require.NoError(t, take().release())
}

// The same, when the holder removes the late one's file before it is written.
func TestALateClaimThatIsRemovedAtOnce(t *testing.T) {
	l := &lease{dir: t.TempDir(), number: 5}
	require.ErrorIs(t, l.write("held", true), os.ErrNotExist, "a file that is gone is not made again")
	entries, err := os.ReadDir(l.dir)
	require.NoError(t, err)
	require.Empty(t, entries)

	path := leaseTarget(t, "0")
	stop := make(chan struct{})
	defer close(stop)
	require.NoError(t, makeLeaseDir(path, LeaseDir(path)))
	go func() { // removes what is claimed, as fast as it can
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.Remove(leaseName(LeaseDir(path), 1))
			}
		}
	}()
	for range 2000 {
		l, err := claimLease(path, LeaseDir(path), 0)
		require.NoError(t, err)
		if l != nil {
			_ = l.release()
		}
	}
}

// The lower number is there only if nobody held the next: also when the list of names says less than it should.
func TestALateClaimWhoseListIsStale(t *testing.T) {
	path := leaseTarget(t, "{}")
	dir := LeaseDir(path)
	for range 3 {
		l, err := takeLease(context.Background(), path, options{})
		require.NoError(t, err)
		require.NoError(t, l.release())
	}
	l := &lease{dir: dir, number: 2}
	require.NoError(t, os.Remove(leaseName(dir, 3))) // the list misses it
	require.NoError(t, createLike(path, l.path()))
	require.ErrorIs(t, l.first(1), ErrLost)
}

// Killed between creating its file and writing into it.
func TestAnEmptyLeaseBecomesStale(t *testing.T) {
	t.Parallel()
	path := leaseTarget(t, "{}")
	require.NoError(t, makeLeaseDir(path, LeaseDir(path)))
	require.NoError(t, createLike(path, leaseName(LeaseDir(path), 7)))
	p := without(t, 0, "acquire", path, "timeout=0")
	require.Contains(t, p.line(), `"Timeout":true`)
	without(t, 0, "hold", path).expect("held").end()
	numbers, err := leaseNumbers(LeaseDir(path))
	require.NoError(t, err)
	require.Equal(t, []uint64{8}, numbers)
}

func TestTheHolderOfALeaseIsNamed(t *testing.T) {
	path := leaseTarget(t, "{}")
	holder := without(t, unix.ENOSYS, "hold", path).expect("held")
	var said outcome
	require.NoError(t, json.Unmarshal([]byte(without(t, unix.ENOSYS, "acquire", path, "timeout=50ms").line()), &said))
	require.True(t, said.Timeout)
	require.Contains(t, said.Error, fmt.Sprintf("held by process %d (", holder.cmd.Process.Pid))
	require.Contains(t, said.Error, " since 2")
}

func TestALeaseIsInherited(t *testing.T) {
	path := leaseTarget(t, "{}")
	l, err := takeLease(context.Background(), path, options{})
	require.NoError(t, err)
	defer l.release()
	require.Contains(t, without(t, 0, "acquire", path, "inherit").line(), `"Inherited":true`)
	require.Contains(t, without(t, 0, "acquire", path, "timeout=50ms").line(), `"Timeout":true`)
}

// Pointers have one lock together there.
func TestPointersWithoutFlock(t *testing.T) {
	for _, fs := range withoutFlock {
		t.Run(fs.name, func(t *testing.T) {
			path := leaseTarget(t, "{}")
			p := without(t, fs.errno, "hold", path, "at=/a").expect("held")
			require.Contains(t, without(t, fs.errno, "acquire", path, "at=/a", "timeout=0").line(), `"Timeout":true`)
			require.Contains(t, without(t, fs.errno, "acquire", path, "at=/b", "timeout=0").line(), `"Timeout":true`)
			require.Contains(t, without(t, fs.errno, "acquire", path, "timeout=0").line(), `"Error":""`)
			p.end()
			require.Contains(t, without(t, fs.errno, "acquire", path, "at=/a", "timeout=0").line(), `"Error":""`)
		})
	}
}

func TestModesOfTheLease(t *testing.T) {
	path := leaseTarget(t, "{}")
	require.NoError(t, os.Chmod(path, 0o640))
	old := unix.Umask(0)
	l, err := takeLease(context.Background(), path, options{})
	unix.Umask(old)
	require.NoError(t, err)
	defer l.release()
	for name, want := range map[string]os.FileMode{LeaseDir(path): 0o750, l.path(): 0o640} {
		info, err := os.Stat(name)
		require.NoError(t, err)
		require.Equal(t, want, info.Mode().Perm(), name)
	}
	content, err := os.ReadFile(l.path())
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(content), "held 0"))
}

// A disk that is full, or a directory that is read-only, is an error and no endless loop.
func TestLeaseErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "results.json")
	_, err := takeLease(context.Background(), path, options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	path = target(t, "{}")
	require.NoError(t, os.WriteFile(LeaseDir(path), nil, 0o600))
	_, err = takeLease(context.Background(), path, options{})
	require.Error(t, err)
	require.False(t, errors.Is(err, ErrTimeout))
}

// A link in the place of a guard directory leads a probe nowhere.
func TestProbeFollowsNoLink(t *testing.T) {
	elsewhere, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(elsewhere, link))
	_, err := Probe(link)
	require.ErrorIs(t, err, ErrForeign)
	entries, err := os.ReadDir(elsewhere)
	require.NoError(t, err)
	require.Empty(t, entries)
}
