//go:build linux && (amd64 || arm64)

package intercept

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// events tells of what happens beside the calls: changes of watched files (inotify), the end of processes (pidfd), the
// end of the tree (the listener hangs up).
type events struct {
	s       *supervisor
	poll    int // epoll
	inotify int

	draining sync.Mutex // held while changes are told, so that a drain ends only when they have been
	buffer   []byte

	mu      sync.Mutex
	watches map[int32]*watch
	byKey   map[any]int32
	byFD    map[int32]*entry
	stopped bool
}

type watch struct {
	key  any
	what Change
}

func newEvents(s *supervisor) (*events, error) {
	e := &events{s: s, watches: map[int32]*watch{}, byKey: map[any]int32{}, byFD: map[int32]*entry{}, buffer: make([]byte, 64<<10)}
	var err error
	if e.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if e.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		unix.Close(e.poll)
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if err := e.add(e.inotify, unix.EPOLLIN); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *events) close() {
	unix.Close(e.poll)
	unix.Close(e.inotify)
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
	for {
		n, err := unix.EpollWait(e.poll, got, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			e.s.fail("wait for events", err)
			return
		}
		ended := false
		for _, ev := range got[:n] {
			switch int(ev.Fd) {
			case e.inotify:
				e.drain()
			case e.s.listener.fd:
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

// drain tells the handler of all changes up to now, and waits for a drain that is under way.
func (e *events) drain() {
	e.draining.Lock()
	defer e.draining.Unlock()
	for {
		n, err := unix.Read(e.inotify, e.buffer)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return
		}
		e.tell(e.buffer[:n])
	}
}

// tell parses struct inotify_event: int wd; uint32 mask, cookie, len; char name[len].
func (e *events) tell(raw []byte) {
	const header = unix.SizeofInotifyEvent
	for len(raw) >= header {
		wd := int32(binary.NativeEndian.Uint32(raw))
		mask := binary.NativeEndian.Uint32(raw[4:])
		length := int(binary.NativeEndian.Uint32(raw[12:]))
		name, _, _ := bytes.Cut(raw[header:header+length], []byte{0})
		raw = raw[header+length:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			e.s.handler.Changed(nil, "", Closed|Modified|Moved)
			continue
		}
		e.mu.Lock()
		w := e.watches[wd]
		if w != nil && mask&unix.IN_IGNORED != 0 {
			delete(e.watches, wd)
			if e.byKey[w.key] == wd {
				delete(e.byKey, w.key)
			}
			w = nil
		}
		e.mu.Unlock()
		if w == nil {
			continue
		}
		var what Change
		if mask&unix.IN_CLOSE_WRITE != 0 {
			what |= Closed
		}
		if mask&unix.IN_MODIFY != 0 {
			what |= Modified
		}
		if mask&(unix.IN_MOVED_TO|unix.IN_CREATE) != 0 {
			what |= Moved
		}
		if what &= w.what; what != 0 {
			e.s.handler.Changed(w.key, string(name), what)
		}
	}
}

func (e *events) watch(f *os.File, key any, what Change) error {
	var mask uint32
	if what&Closed != 0 {
		mask |= unix.IN_CLOSE_WRITE
	}
	if what&Modified != 0 {
		mask |= unix.IN_MODIFY
	}
	if what&Moved != 0 {
		mask |= unix.IN_MOVED_TO
	}
	if mask == 0 || key == nil {
		return errors.New("intercept: Watch needs a key and something to watch for")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	wd, err := unix.InotifyAddWatch(e.inotify, "/proc/self/fd/"+strconv.Itoa(int(f.Fd())), mask)
	if err != nil {
		return &os.PathError{Op: "watch", Path: f.Name(), Err: err}
	}
	if old := e.watches[int32(wd)]; old != nil && old.key != key {
		delete(e.byKey, old.key)
	}
	e.watches[int32(wd)] = &watch{key, what}
	e.byKey[key] = int32(wd)
	return nil
}

func (e *events) unwatch(key any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	wd, ok := e.byKey[key]
	if !ok {
		return
	}
	delete(e.byKey, key)
	delete(e.watches, wd)
	_, _ = unix.InotifyRmWatch(e.inotify, uint32(wd))
}

func hasWriters(f *os.File) (bool, error) {
	// A read lease is granted only while nobody has the file open for writing (fcntl(2), F_SETLEASE). It is held for a
	// moment only: who opens the file for writing then waits until it is given up.
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	switch err {
	case nil:
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
		return false, err
	case unix.EAGAIN:
		return true, nil
	}
	return false, &os.PathError{Op: "lease", Path: f.Name(), Err: err}
}
