//go:build linux && (amd64 || arm64)

package intercept

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An actor is an operating system thread that takes on a caller's credentials, because the kernel knows them by
// thread, and its umask, which threads share unless they say otherwise (CLONE_FS).
type actor struct {
	own  Credentials
	work chan func()
}

// actors lend idle ones.
type actors struct {
	mu   sync.Mutex
	idle []*actor
	own  Credentials
}

const idleActors = 4

// as implements Call.As.
func (n *notification) as(fn func() error) error {
	want := n.task.credentials
	a := &n.s.actors
	if same(want, a.own) {
		return fn()
	}
	return a.run(want, fn)
}

func same(a, b Credentials) bool {
	return a.UID == b.UID && a.GID == b.GID && a.Umask == b.Umask && a.capabilities == b.capabilities &&
		slices.Equal(a.Groups, b.Groups)
}

func (a *actors) run(want Credentials, fn func() error) error {
	worker := a.borrow()
	result := make(chan error, 1)
	worker.work <- func() {
		back, err := assume(want, worker.own)
		if err != nil {
			err = fmt.Errorf("%w: %w", errAssume, err)
		} else {
			err = fn()
		}
		if e := back(); e != nil {
			result <- fmt.Errorf("%w: and take back our own: %w", errAssume, e)
			runtime.Goexit() // and the thread with it
		}
		a.giveBack(worker)
		result <- err
	}
	return <-result
}

func (a *actors) borrow() *actor {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := len(a.idle); n > 0 {
		w := a.idle[n-1]
		a.idle = a.idle[:n-1]
		return w
	}
	w := &actor{own: a.own, work: make(chan func())}
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_FS)
		for f := range w.work {
			if err != nil {
				w.own.Umask = noUmask
			}
			f()
		}
	}()
	return w
}

// errAssume: whatever was to be done with the caller's credentials has not been done.
var errAssume = errors.New("take on the credentials of the caller")

// noUmask: it could not be separated from that of the process.
const noUmask = 1 << 31

func (a *actors) giveBack(w *actor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.idle) >= idleActors {
		close(w.work)
		return
	}
	a.idle = append(a.idle, w)
}

func (a *actors) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.idle {
		close(w.work)
	}
	a.idle = nil
}

// assume changes the calling thread's credentials, by the raw calls: those of package syscall change all threads. back
// undoes what was changed, also after an error.
func assume(want, own Credentials) (back func() error, err error) {
	var undo []func() error
	back = func() error {
		var failure error
		for _, f := range slices.Backward(undo) {
			failure = errors.Join(failure, f())
		}
		return failure
	}
	if want.Umask != own.Umask {
		if own.Umask == noUmask {
			return back, unix.EPERM
		}
		unix.Umask(int(want.Umask))
		undo = append(undo, func() error { unix.Umask(int(own.Umask)); return nil })
	}
	var before, now [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &before[0]); err != nil {
		return back, err
	}
	// Leaving fsuid 0 takes capabilities away, and returning to it gives them all: also those that we had not.
	restore := func() error { return unix.Capset(&header, &before[0]) }
	if want.UID != own.UID || want.GID != own.GID || !slices.Equal(want.Groups, own.Groups) {
		undo = append(undo, restore, func() error { return setIDs(own) })
		if err := setIDs(want); err != nil {
			return back, err
		}
	}
	if err := unix.Capget(&header, &now[0]); err != nil {
		return back, err
	}
	less := now
	for i := range less {
		not := uint32((fileCapabilities &^ want.capabilities) >> (32 * i))
		less[i].Effective &^= not
	}
	if less != now {
		undo = append(undo, restore) // first, for setgroups needs one
		if err := unix.Capset(&header, &less[0]); err != nil {
			return back, err
		}
	}
	return back, nil
}

func setIDs(c Credentials) error {
	groups := make([]uint32, len(c.Groups)+1) // never empty: its address is taken
	for i, g := range c.Groups {
		groups[i] = uint32(g)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(c.Groups)), uintptr(unsafe.Pointer(&groups[0])), 0); e != 0 {
		return e
	}
	// These two return what was before, and no error: ask again to know.
	for _, id := range []struct {
		call uintptr
		want int
	}{{unix.SYS_SETFSGID, c.GID}, {unix.SYS_SETFSUID, c.UID}} {
		unix.RawSyscall(id.call, uintptr(id.want), 0, 0)
		if is, _, _ := unix.RawSyscall(id.call, ^uintptr(0), 0, 0); int(int32(is)) != id.want {
			return unix.EPERM
		}
	}
	return nil
}
