package lock

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A lease excludes where flock does not. It is a file in .NAME.lease/ whose name is a number, the fencing number, and
// the one with the highest number counts:
//
//	held 00000000000000000042      beats: the holder counts up while it lives; "free" when it gave the lease back
//	{"pid":4711,"host":…}          for messages
//
// To take the lease that follows N is to create N+1 with O_EXCL, which one process can do. It may do so when N is free,
// or when it has itself watched N for leaseTime without a beat: no two clocks are compared, and a waiter that did not
// run did not watch. A holder that was stopped for longer finds a higher number, or its own file gone (check).
//
// Numbers go up for ever. Whoever holds N+1 removes what is lower, lowest first, and nobody removes the highest. So if
// N is still there after N+1 was created, then N+1 never existed before: a waiter that slept through any number of
// holders finds out that what it created counts for nothing.
type lease struct {
	dir    string
	number uint64
	head   []byte // the line of this holder, without its count
	beats  atomic.Uint64
	lost   atomic.Bool
	stop   chan struct{}
	beater sync.WaitGroup
}

// leaseTime without a beat makes a lease stale. It is what a dead holder costs the next one, and how long a holder may
// be stopped without losing the lease.
var leaseTime = 10 * time.Second

// beatInterval leaves room for several beats to come late.
func beatInterval() time.Duration { return leaseTime / 5 }

// takeLease waits for the lease of target. A shared lock is an exclusive one here.
func takeLease(ctx context.Context, target string, o options) (*lease, error) {
	dir := LeaseDir(target)
	if err := makeLeaseDir(target, dir); err != nil {
		return nil, err
	}
	var w watch
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		number, state, err := newestLease(dir)
		if err != nil {
			return nil, err
		}
		stale := w.stale(number, state)
		if number == 0 || bytes.HasPrefix(state, []byte("free")) || stale {
			l, err := claimLease(target, dir, number)
			if err != nil {
				return nil, err
			}
			if l != nil && stale {
				// A holder that woke up between its check and its rename is through with it by then.
				time.Sleep(leaseTime / 50)
			}
			if l != nil {
				return l, nil
			}
		}
		if o.timeout == 0 || o.inherit && isAncestor(leaseHolder(target)) {
			return nil, ErrTimeout
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

func makeLeaseDir(target, dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(target); err == nil {
		if d, err := os.Open(dir); err == nil {
			giveTo(d, info)
			_ = d.Close()
		}
		return os.Chmod(dir, dirPerm(info))
	}
	return nil
}

// newestLease is the highest number in dir, 0 if there is none, and what its file says.
func newestLease(dir string) (uint64, []byte, error) {
	for {
		numbers, err := leaseNumbers(dir)
		if err != nil || len(numbers) == 0 {
			return 0, nil, err
		}
		highest := numbers[len(numbers)-1]
		state, err := os.ReadFile(leaseName(dir, highest))
		if !errors.Is(err, fs.ErrNotExist) {
			return highest, state, err
		}
	}
}

// leaseNumbers are sorted: names have the same length.
func leaseNumbers(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	var numbers []uint64
	for _, e := range entries {
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil && leaseName(dir, n) == filepath.Join(dir, e.Name()) {
			numbers = append(numbers, n)
		}
	}
	return numbers, err
}

func leaseName(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d", number))
}

// claimLease tries to become the holder after number. nil: another process was faster.
func claimLease(target, dir string, number uint64) (*lease, error) {
	l := &lease{dir: dir, number: number + 1, stop: make(chan struct{})}
	if err := createLike(target, l.path()); errors.Is(err, fs.ErrExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	note, err := json.Marshal(self(options{}))
	if err != nil {
		return nil, err
	}
	l.head = append(append(note, '\n'), rand.Text()...)
	if err := l.write("held", true); errors.Is(err, fs.ErrNotExist) {
		return nil, nil // it came late: a holder of a higher number has removed it
	} else if err != nil {
		return nil, errors.Join(err, ignoreMissing(os.Remove(l.path())))
	}
	if err := l.first(number); err != nil {
		return nil, errors.Join(ignoreLost(err), ignoreMissing(os.Remove(l.path())))
	}
	l.beater.Go(l.beat)
	return l, nil
}

// first says whether nobody held this number or a higher one before, and removes the lower ones.
func (l *lease) first(previous uint64) error {
	if previous > 0 {
		if _, err := os.Lstat(leaseName(l.dir, previous)); err != nil {
			return errors.Join(ErrLost, err)
		}
	}
	numbers, err := leaseNumbers(l.dir)
	if err != nil {
		return err
	}
	if len(numbers) == 0 || numbers[len(numbers)-1] != l.number {
		return ErrLost
	}
	for _, n := range numbers[:len(numbers)-1] {
		if err := os.Remove(leaseName(l.dir, n)); ignoreMissing(err) != nil {
			break // the next holder tries again; a higher one must not go before it
		}
	}
	return nil
}

func (l *lease) path() string { return leaseName(l.dir, l.number) }

// write never makes the file: a holder that lost the lease must not bring it back. It is opened anew each time, because
// network filesystems show others what was written when it is closed.
func (l *lease) write(state string, all bool) error {
	f, err := os.OpenFile(l.path(), os.O_WRONLY|nonblock, 0)
	if err != nil {
		return err
	}
	text := fmt.Appendf(nil, "%s %020d\n", state, l.beats.Add(1))
	if all {
		text = append(text, l.head...)
	}
	_, err = f.WriteAt(text, 0)
	return errors.Join(err, f.Close())
}

func (l *lease) beat() {
	tick := time.NewTicker(beatInterval())
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			if errors.Is(l.write("held", false), fs.ErrNotExist) {
				l.lost.Store(true)
				return
			}
		}
	}
}

// check beats first, so that a waiter that is about to take over sees it, and then looks whether one did.
func (l *lease) check() error {
	if l.lost.Load() {
		return ErrLost
	}
	if err := l.write("held", false); err != nil {
		return lostIfMissing(err)
	}
	number, state, err := newestLease(l.dir)
	if err != nil {
		return lostIfMissing(err)
	}
	if number != l.number || !bytes.HasSuffix(state, l.head) {
		return ErrLost
	}
	return nil
}

func (l *lease) release() error {
	close(l.stop)
	l.beater.Wait()
	return ignoreMissing(l.write("free", false)) // missing: somebody took over
}

// watch is what a waiter has seen of the newest lease.
type watch struct {
	number    uint64
	state     []byte
	unchanged time.Duration
	looked    time.Time
}

// stale counts how long the lease has been watched without a beat. Between two looks no more than a beat's interval is
// counted: a waiter that was stopped itself (SIGSTOP, a suspended machine) cannot say what the holder did meanwhile.
func (w *watch) stale(number uint64, state []byte) bool {
	now := time.Now()
	if number != w.number || !bytes.Equal(state, w.state) {
		w.number, w.state, w.unchanged = number, state, 0
	} else {
		w.unchanged += min(now.Sub(w.looked), beatInterval())
	}
	w.looked = now
	return w.unchanged >= leaseTime
}

// leaseHolder is who the newest lease says holds it, nil if nobody does.
func leaseHolder(target string) *Holder {
	_, state, err := newestLease(LeaseDir(target))
	if err != nil || !bytes.HasPrefix(state, []byte("held")) {
		return nil
	}
	lines := bytes.SplitN(state, []byte("\n"), 3)
	if len(lines) < 2 {
		return nil
	}
	return readNote(lines[1])
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func ignoreLost(err error) error {
	if errors.Is(err, ErrLost) {
		return nil
	}
	return err
}

func lostIfMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.Join(ErrLost, err)
	}
	return err
}
