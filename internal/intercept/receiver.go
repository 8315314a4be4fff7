//go:build linux && (amd64 || arm64)

package intercept

import (
	"bytes"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A receiver takes calls from the listener as soon as they come: before a call is received, a signal can interrupt it
// (and open fails with EINTR in a program whose handlers do not restart), after that it cannot. It lets everything
// through that is of no interest, with at most three system calls, and starts a goroutine for the rest.
//
// What it looks at may block, on a dead network filesystem for example. One that stays busy with one call for
// replaceAfter gets a successor and ends when it is free again.
type receiver struct {
	s       *supervisor
	call    *seccompNotif // in a place of inFlight
	mem     memory
	path    [pathMax]byte
	at      [pathMax + 64]byte // a path as we reach it
	begins  bool               // the call is the first one of a thread or a program, while something is pending
	busy    atomic.Uint64      // the call being looked at; 0 none
	retired atomic.Bool
}

const (
	replaceAfter = 20 * time.Millisecond
	idleTicks    = 50 // of replaceAfter, until the replacer sleeps
)

// replacer keeps one receiver free.
type replacer struct {
	wake   chan struct{}
	asleep atomic.Bool
}

func (s *supervisor) receive() {
	s.replacer.wake = make(chan struct{}, 1)
	current := s.newReceiver()
	go func() {
		var last uint64
		idle := 0
		for {
			select {
			case <-s.over:
				return
			case <-time.After(replaceAfter):
			}
			switch busy := current.busy.Load(); {
			case busy == 0:
				if idle++; idle < idleTicks {
					break
				}
				s.replacer.asleep.Store(true)
				if current.busy.Load() == 0 {
					select {
					case <-s.over:
						return
					case <-s.replacer.wake:
					}
				}
				s.replacer.asleep.Store(false)
				idle = 0
			case busy == last:
				current.retired.Store(true)
				current = s.newReceiver()
				last = 0
			default:
				last, idle = busy, 0
			}
		}
	}()
}

func (s *supervisor) newReceiver() *receiver {
	r := &receiver{s: s}
	s.receivers.Add(1)
	go r.run()
	return r
}

// received is for a test that ends the supervisor there.
var received func(*receiver)

func (r *receiver) run() {
	defer r.s.receivers.Done()
	// Not unlocked: the thread, whose signals are blocked, ends with the goroutine.
	runtime.LockOSThread()
	blockSignals()
	r.s.threads.Store(unix.Gettid(), nil)
	defer r.s.threads.Delete(unix.Gettid())
	slot := r.s.inFlight.place()
	defer r.s.inFlight.give(slot)
	for !r.retired.Load() {
		r.call = r.s.inFlight.at(slot)
		switch e := r.s.listener.receive(r.call); e {
		case 0:
			if received != nil {
				received(r)
			}
			r.busy.Store(r.call.id)
			if r.s.replacer.asleep.Load() {
				select {
				case r.s.replacer.wake <- struct{}{}:
				default:
				}
			}
			if r.s.ending.Load() {
				r.s.listener.killCaller(r.call)
			} else if r.ofInterest(r.call) {
				call, begins, mine := *r.call, r.begins, r.s.inFlight.place()
				r.s.inFlight.set(mine, &call)
				r.s.answers.Go(func() {
					defer r.s.inFlight.give(mine)
					r.s.answer(call, begins)
				})
			} else {
				r.s.listener.passOn(r.call.id)
			}
			r.s.inFlight.clear(slot)
			r.busy.Store(0)
		case unix.EINTR, unix.ENOENT: // the caller was killed first, or there are no callers left
			if r.s.listener.abandoned() {
				return
			}
		default:
			r.s.fail("receive a call", e)
			return
		}
	}
}

// blockSignals for this thread. Faults stay: blocked, they would kill instead of telling. So does SIGURG, by which the
// runtime and dismissReceivers interrupt us.
func blockSignals() {
	set := unix.Sigset_t{}
	for i := range set.Val {
		set.Val[i] = ^uint64(0)
	}
	for _, s := range []unix.Signal{unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL, unix.SIGSYS, unix.SIGTRAP, unix.SIGURG} {
		set.Val[0] &^= 1 << (uint(s) - 1)
	}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &set, nil)
}

// abandoned says that no process is left that could call.
func (l listener) abandoned() bool {
	p := []unix.PollFd{{Fd: int32(l.fd)}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLHUP != 0
}

// ofInterest says whether somebody should look closer. It errs on that side.
func (r *receiver) ofInterest(n *seccompNotif) bool {
	r.begins = false
	m := meaningOf(&n.data)
	if m.op == opView {
		r.s.views.Store(true)
		return false
	}
	looks := m.op == opStat || m.op == opFstat
	if looks && !r.s.handler.Pending() && !(m.op == opStat && r.s.handler.Replaceable()) && !(m.op == opFstat && r.s.handler.Disguised()) {
		return false
	}
	tid := int(n.pid)
	if m.descriptor() {
		return r.descriptorOfInterest(tid, int(int32(n.data.args[0])))
	}
	if r.s.starts(tid) && r.s.handler.Pending() {
		r.begins = true
		return true
	}
	if r.foreign(tid) {
		return true
	}
	if m.opensDirectory(&n.data) && !r.s.handler.Pending() {
		return false
	}
	how := look{follow: m.follows(&n.data), nameOnly: (looks || m.onlyReads(&n.data)) && !r.s.aliases.Load() && !r.s.handler.Pending(), absent: m.op == opRemove || m.op == opRmdir}
	if r.pathOfInterest(tid, dirOf(&n.data, m.dir), n.data.args[m.path], how) {
		return true
	}
	switch m.op {
	case opRename, opLink:
		return r.pathOfInterest(tid, dirOf(&n.data, m.dir2), n.data.args[m.path2], look{})
	case opSymlink:
		return r.pathOfInterest(tid, unix.AT_FDCWD, n.data.args[m.text], look{nameOnly: true})
	}
	return m.writes(&n.data) && r.s.handler.Pending() && r.s.lags(tid)
}

// starts says that a thread has not called before. Of two with like numbers it may say so again.
func (s *supervisor) starts(tid int) bool {
	seen := &s.begun[tid%len(s.begun)]
	if seen.Load() == int32(tid) {
		return false
	}
	seen.Store(int32(tid))
	return true
}

// lags says that a writer has closed since a thread was asked about last.
func (s *supervisor) lags(tid int) bool {
	if s.events.untold() {
		return true
	}
	seen, now := &s.behind[tid%len(s.behind)], uint64(tid)<<32|uint64(s.events.closes.Load())
	return seen.Swap(now) != now
}

// loader is what the dynamic linker opens first in a program that a thread executes (ld.so(8)).
const loader = "ld.so.cache"

// look says how closely to look at a path.
type look struct {
	follow bool // a symlink at its end
	// nameOnly: by its name alone. So are reads, as long as the tree is not known to have other names for a file of
	// interest: who reads one by a name from before gets the file itself, which is a complete version. Looking at what
	// is there makes half of what a call can cost. While something is pending they are looked at: a directory may be listed.
	nameOnly bool
	absent   bool // what is not there matters: a handler may have removed it
}

func (r *receiver) pathOfInterest(tid, dir int, address uint64, how look) bool {
	path, err := r.mem.path(tid, address, r.path[:])
	switch err {
	case nil:
	case unix.EFAULT, unix.ENAMETOOLONG, unix.ESRCH:
		return false // the kernel says so better
	default:
		return true
	}
	trimmed := bytes.TrimRight(path, "/")
	last := trimmed[bytes.LastIndexByte(trimmed, '/')+1:]
	if r.s.handler.Named(string(last)) || throughProcess(path, last) {
		return true
	}
	if string(last) == loader && r.s.handler.Pending() {
		r.begins = true
		return true
	}
	if len(trimmed) == 0 || how.nameOnly {
		return false
	}
	var st unix.Statx_t
	at := appendReach(r.at[:0], tid, dir, path)
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_STATX_DONT_SYNC
	const mask = unix.STATX_TYPE | unix.STATX_INO
	if e := statxBytes(at, flags, mask, &st); e != 0 {
		// Of what the caller can see and we cannot, the slow way finds out more.
		return how.absent && e == unix.ENOENT || e != unix.ENOENT && e != unix.ENOTDIR && e != unix.ENAMETOOLONG
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK && how.follow {
		return true
	}
	return r.s.handler.Known(idOfStatx(&st))
}

// throughProcess: paths that mean something else to us than to the caller, /proc/self/… and /dev/stdout.
func throughProcess(path, last []byte) bool {
	if bytes.Contains(path, []byte("self/")) {
		return true
	}
	digits := len(last) > 0
	for _, c := range last {
		digits = digits && '0' <= c && c <= '9'
	}
	if digits {
		return true
	}
	switch string(last) {
	case "stdin", "stdout", "stderr":
		return true
	}
	return false
}

// appendReach makes a path by which we reach what the caller means, with a NUL at its end.
func appendReach(to []byte, tid, dir int, path []byte) []byte {
	if len(path) == 0 || path[0] != '/' {
		to = append(to, "/proc/"...)
		to = strconv.AppendInt(to, int64(tid), 10)
		if dir == unix.AT_FDCWD {
			to = append(to, "/cwd/"...)
		} else {
			to = append(to, "/fd/"...)
			to = strconv.AppendInt(to, int64(dir), 10)
			to = append(to, '/')
		}
	}
	to = append(to, path...)
	return append(to, 0)
}

func statxBytes(path []byte, flags, mask int, st *unix.Statx_t) unix.Errno {
	at := unix.AT_FDCWD
	_, _, e := unix.Syscall6(unix.SYS_STATX, uintptr(at), uintptr(unsafe.Pointer(&path[0])), uintptr(flags),
		uintptr(mask), uintptr(unsafe.Pointer(st)), 0)
	return e
}

func idOfStatx(st *unix.Statx_t) ID {
	return ID{Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino}
}

// descriptorOfInterest: by the object, and by the name that it was opened as.
func (r *receiver) descriptorOfInterest(tid, fd int) bool {
	var st unix.Statx_t
	at := append(r.at[:0], "/proc/"...)
	at = strconv.AppendInt(at, int64(tid), 10)
	at = append(at, "/fd/"...)
	at = strconv.AppendInt(at, int64(fd), 10)
	at = append(at, 0)
	if e := statxBytes(at, unix.AT_STATX_DONT_SYNC, unix.STATX_TYPE|unix.STATX_INO, &st); e != 0 {
		return e != unix.ENOENT && e != unix.ESRCH // no such descriptor: the kernel says EBADF
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return false
	}
	if r.s.handler.Known(idOfStatx(&st)) {
		return true
	}
	n, _, e := unix.Syscall6(unix.SYS_READLINKAT, ^uintptr(0), uintptr(unsafe.Pointer(&at[0])),
		uintptr(unsafe.Pointer(&r.path[0])), uintptr(len(r.path)), 0, 0)
	if e != 0 {
		return true
	}
	name := bytes.TrimSuffix(r.path[:n], []byte(deleted)) // replaced since, as every older version is
	return r.s.handler.Named(string(name[bytes.LastIndexByte(name, '/')+1:]))
}

// foreign says whether an absolute path may lead the caller elsewhere than us: it has another root or mount namespace.
// A thread is looked at once; once any made a call that could change that, every time.
func (r *receiver) foreign(tid int) bool {
	seen := &r.s.sameRoot[tid%len(r.s.sameRoot)]
	if !r.s.views.Load() && seen.Load() == int32(tid) {
		return false
	}
	var st unix.Statx_t
	at := append(r.at[:0], "/proc/"...)
	at = strconv.AppendInt(at, int64(tid), 10)
	at = append(at, "/root\x00"...)
	if e := statxBytes(at, unix.AT_STATX_DONT_SYNC, rootMask, &st); e != 0 {
		return true
	}
	if rootOf(&st) != r.s.root {
		return true
	}
	seen.Store(int32(tid))
	return false
}

// root identifies a root directory, and by its mount the mount namespace.
type root struct {
	id    ID
	mount uint64
}

const rootMask = unix.STATX_INO | unix.STATX_MNT_ID

func rootOf(st *unix.Statx_t) root { return root{idOfStatx(st), st.Mnt_id} }
