//go:build linux && (amd64 || arm64)

package intercept

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// events tells of what happens beside the calls: changes of watched files (inotify), the end of processes (pidfd), the
// end of the tree (the listener hangs up).
type events struct {
	s       *supervisor
	poll    int // epoll
	inotify int

	closes  atomic.Uint32 // by writers, that were told
	telling atomic.Bool   // changes have been read, or are about to be, and not told

	draining sync.Mutex // held while changes are told, so that a drain ends only when they have been
	buffer   []byte

	mu      sync.Mutex
	watches map[int32]*watch
	byKey   map[any]int32
	byFD    map[int32]*entry
	closing map[*watch]bool // a writer closed, but one was left when we looked
	closed  bool
	timer   int           // looks again at those
	again   time.Duration // after this; 0: it is not set
}

type watch struct {
	key  any
	what Change
	file *os.File // to ask for writers; nil if that cannot be
}

// The kernel tells of a close before the file is done being written (fs/file_table.c, __fput: fsnotify_close comes
// first), but before close(2) returns. So when a writer seems to be left it is looked again: before each answer, and
// now and then for some time. One that is really left will close too.
const (
	lookSoon = time.Millisecond
	lookLast = 128 * time.Millisecond
)

func newEvents(s *supervisor) (*events, error) {
	e := &events{s: s, watches: map[int32]*watch{}, byKey: map[any]int32{}, byFD: map[int32]*entry{},
		closing: map[*watch]bool{}, buffer: make([]byte, 64<<10), timer: -1}
	var err error
	if e.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if e.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
		unix.Close(e.poll)
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	if err = e.add(e.inotify, unix.EPOLLIN); err == nil {
		e.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	}
	if err == nil {
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
	unix.Close(e.inotify)
	if e.timer >= 0 {
		unix.Close(e.timer)
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
	const row, lookEach = 16, 4 // ms
	written, muted := 0, false
	for {
		wait := -1
		if muted {
			wait = lookEach
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
			switch int(ev.Fd) {
			case e.inotify:
				if written++; !e.drain() {
					written = 0
				}
			case e.timer:
				_ = e.drain()
				e.ring()
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

// listen says whether changes wake us.
func (e *events) listen(yes bool) error {
	what := &unix.EpollEvent{Fd: int32(e.inotify)}
	if yes {
		what.Events = unix.EPOLLIN
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(e.poll, unix.EPOLL_CTL_MOD, e.inotify, what))
}

// drain tells the handler of all changes up to now, and waits for a drain that is under way. It returns whether there was nothing
// but writing.
func (e *events) drain() (writing bool) {
	e.draining.Lock()
	defer e.draining.Unlock()
	e.telling.Store(true)
	defer e.telling.Store(false)
	writing = true
	for {
		n, err := unix.Read(e.inotify, e.buffer)
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
	e.lookAgain()
	return writing
}

// untold says whether there are changes that have not been told (FIONREAD, see inotify(7), which terminals call TIOCINQ).
// If not, closes counts all there were.
func (e *events) untold() bool {
	n, err := unix.IoctlGetInt(e.inotify, unix.TIOCINQ)
	return err == nil && n > 0 || e.telling.Load() // in this order: they are read while telling
}

// lookAgain tells of the files whose last writer has gone since.
func (e *events) lookAgain() {
	e.mu.Lock()
	var gone []*watch
	for w := range e.closing {
		if left, err := HasWriters(w.file); !left || err != nil {
			gone = append(gone, w)
			delete(e.closing, w)
		}
	}
	e.mu.Unlock()
	for _, w := range gone {
		e.s.handler.Changed(w.key, "", Closed)
	}
}

// ring reads the timer, and sets it if there is something to look at again.
func (e *events) ring() {
	var expirations [8]byte
	_, _ = unix.Read(e.timer, expirations[:])
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case len(e.closing) == 0:
		e.again = 0
	case e.again >= lookLast: // really left
		e.again = 0
		clear(e.closing)
	default:
		e.again *= 2
	}
	e.setTimer()
}

func (e *events) setTimer() {
	_ = unix.TimerfdSettime(e.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(e.again))}, nil)
}

// wait notes that a writer was left.
func (e *events) wait(w *watch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closing[w] = true
	e.again = lookSoon
	e.setTimer()
}

// tell parses struct inotify_event: int wd; uint32 mask, cookie, len; char name[len].
func (e *events) tell(raw []byte) (writing bool) {
	writing = true
	const header = unix.SizeofInotifyEvent
	for len(raw) >= header {
		wd := int32(binary.NativeEndian.Uint32(raw))
		mask := binary.NativeEndian.Uint32(raw[4:])
		length := int(binary.NativeEndian.Uint32(raw[12:]))
		name, _, _ := bytes.Cut(raw[header:header+length], []byte{0})
		raw = raw[header+length:]
		writing = writing && mask&^unix.IN_MODIFY == 0
		if mask&unix.IN_Q_OVERFLOW != 0 {
			e.s.handler.Changed(nil, "", Closed|Modified|Moved)
			continue
		}
		e.mu.Lock()
		w := e.watches[wd]
		e.mu.Unlock()
		if w == nil {
			continue
		}
		var what Change
		if mask&unix.IN_CLOSE_WRITE != 0 {
			e.closes.Add(1)
			what |= Closed
		}
		if mask&unix.IN_MODIFY != 0 {
			what |= Modified
		}
		if mask&(unix.IN_MOVED_TO|unix.IN_CREATE) != 0 {
			what |= Moved
		}
		what &= w.what
		if what&Closed != 0 && w.file != nil {
			if left, err := HasWriters(w.file); left && err == nil {
				what &^= Closed
				e.wait(w)
			}
		}
		if what != 0 {
			e.s.handler.Changed(w.key, string(name), what)
		}
	}
	return writing
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
	w := &watch{key: key, what: what}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "watch", Path: f.Name(), Err: err}
	}
	path := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	if what&Closed != 0 && st.Mode&unix.S_IFMT == unix.S_IFREG {
		file, err := os.Open(path)
		if err == nil {
			if _, err = HasWriters(file); err == nil {
				w.file = file
			} else {
				file.Close()
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	wd, err := unix.InotifyAddWatch(e.inotify, path, mask)
	if err != nil {
		w.end()
		return &os.PathError{Op: "watch", Path: f.Name(), Err: err}
	}
	if old := e.watches[int32(wd)]; old != nil {
		delete(e.byKey, old.key)
		e.forget(old)
	}
	e.watches[int32(wd)] = w
	e.byKey[key] = int32(wd)
	return nil
}

func (e *events) unwatch(key any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	wd, ok := e.byKey[key]
	if !ok || e.closed {
		return
	}
	e.forget(e.watches[wd])
	delete(e.byKey, key)
	delete(e.watches, wd)
	_, _ = unix.InotifyRmWatch(e.inotify, uint32(wd))
}

func (e *events) forget(w *watch) {
	delete(e.closing, w)
	w.end()
}

func (w *watch) end() {
	if w.file != nil {
		w.file.Close()
	}
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
