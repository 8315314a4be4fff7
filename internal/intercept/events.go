//go:build linux && (amd64 || arm64)

package intercept

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// events tells of what happens beside the calls: changes of watched files (see watches.go), the end of processes (pidfd), the end of
// the tree (the listener hangs up).
type events struct {
	s       *supervisor
	poll    int          // epoll
	inotify atomic.Int32 // -1 until a file is watched
	looked  atomic.Int32 // how many watches have none

	closes  atomic.Uint32 // by writers, that were told
	telling atomic.Bool   // changes have been read, or are about to be, and not told

	draining sync.Mutex // held while changes are told, so that a drain ends only when they have been
	buffer   []byte

	mu      sync.Mutex
	watches map[int32]*watch // by inotify's number; below zero: it is looked at
	byKey   map[any]int32
	byFD    map[int32]*entry
	closing map[*watch]bool // a writer closed, but one was left when we looked
	closed  bool
	timer   int           // looks again
	again   time.Duration // after this; 0: it is not set
}

func newEvents(s *supervisor) (*events, error) {
	e := &events{s: s, watches: map[int32]*watch{}, byKey: map[any]int32{}, byFD: map[int32]*entry{},
		closing: map[*watch]bool{}, buffer: make([]byte, 64<<10), timer: -1}
	e.inotify.Store(-1)
	var err error
	if e.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	e.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err = os.NewSyscallError("timerfd_create", err); err == nil {
		err = e.add(e.timer, unix.EPOLLIN)
	}
	if err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *events) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	unix.Close(e.poll)
	for _, fd := range []int{int(e.inotify.Load()), e.timer} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	for _, w := range e.watches {
		w.end()
	}
	e.closed = true
}

func (e *events) add(fd int, what uint32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: what, Fd: int32(fd)}))
}

func (e *events) addProcess(p *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.byFD[int32(p.pidfd)] = p
	if err := e.add(p.pidfd, unix.EPOLLIN|unix.EPOLLONESHOT); err != nil {
		e.s.fail("watch a process", err)
	}
}

func (e *events) remove(fd int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.byFD, int32(fd))
	_ = unix.EpollCtl(e.poll, unix.EPOLL_CTL_DEL, fd, nil)
}

// run returns when the tree has ended.
func (e *events) run() {
	// Hang-up alone: calls are the receiver's.
	if err := e.add(e.s.listener.fd, 0); err != nil {
		e.s.fail("watch the listener", err)
		return
	}
	got := make([]unix.EpollEvent, 64)
	// A program that writes much would wake us, and pay for it, with each call. After some of them in a row we look now and then,
	// and what was written in between is one event to the kernel (inotify(7): those that are alike are one). Who needs to
	// know sooner drains.
	const row = 16
	written, muted := 0, false
	for {
		wait := -1
		if muted {
			wait = int(lookEach.Milliseconds())
		}
		n, err := unix.EpollWait(e.poll, got, wait)
		if err == unix.EINTR {
			continue
		}
		if err == nil && (muted || written >= row) {
			muted = !muted
			err = e.listen(!muted)
		}
		if err != nil {
			e.s.fail("wait for events", err)
			return
		}
		ended := false
		for _, ev := range got[:n] {
			switch ev.Fd {
			case e.inotify.Load():
				if written++; !e.drain() {
					written = 0
				}
			case int32(e.timer):
				_ = e.drain()
				e.ring()
			case int32(e.s.listener.fd):
				ended = true
			default:
				e.mu.Lock()
				p := e.byFD[ev.Fd]
				e.mu.Unlock()
				if p != nil {
					e.s.processes.ended(p)
				}
			}
		}
		if ended {
			return
		}
	}
}

// listen says whether changes wake us.
func (e *events) listen(yes bool) error {
	what := &unix.EpollEvent{Fd: e.inotify.Load()}
	if yes {
		what.Events = unix.EPOLLIN
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.poll, unix.EPOLL_CTL_MOD, int(what.Fd), what))
}

// drain tells the handler of all changes up to now, and waits for a drain that is under way. It returns whether there was nothing
// but writing.
func (e *events) drain() (writing bool) {
	e.draining.Lock()
	defer e.draining.Unlock()
	e.telling.Store(true)
	defer e.telling.Store(false)
	writing = true
	for fd := int(e.inotify.Load()); fd >= 0; {
		n, err := unix.Read(fd, e.buffer)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		if !e.tell(e.buffer[:n]) {
			writing = false
		}
	}
	e.look()
	e.lookAgain()
	return writing
}

// untold says whether there may be changes that have not been told (FIONREAD, see inotify(7), which terminals call TIOCINQ).
// If not, closes counts all there were.
func (e *events) untold() bool {
	if e.looked.Load() > 0 {
		return true
	}
	fd := int(e.inotify.Load())
	if fd < 0 {
		return false
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	return err == nil && n > 0 || e.telling.Load() // in this order: they are read while telling
}
