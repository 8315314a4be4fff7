//go:build linux && (amd64 || arm64)

package intercept

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What linux/seccomp.h lays out. The kernel may append to these one day: install checks their sizes.
type (
	seccompData struct {
		number  int32
		arch    uint32
		pointer uint64
		args    [6]uint64
	}
	seccompNotif struct {
		id    uint64
		pid   uint32 // the calling thread, in our pid namespace
		flags uint32
		data  seccompData
	}
	seccompResponse struct {
		id    uint64
		value int64
		error int32
		flags uint32
	}
	seccompAddFD struct {
		id       uint64
		flags    uint32
		source   uint32
		newFD    uint32
		newFlags uint32
	}
)

// errRestart is the kernel's ERESTARTSYS (include/linux/errno.h), which programs never see: the signal's handling
// turns it into EINTR or makes the call again. A supervisor may answer it like any other number.
const errRestart = 512

func ioctl(fd int, request uintptr, arg unsafe.Pointer) (int, unix.Errno) {
	r, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return int(r), e
}

// listener is the descriptor on which the kernel tells of calls. Its methods are safe for concurrent use.
type listener struct{ fd int }

// receive waits for a call. n must be zero.
func (l listener) receive(n *seccompNotif) unix.Errno {
	_, e := ioctl(l.fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(n))
	return e
}

// send answers. That the caller was killed meanwhile (ENOENT) is nobody's concern. It never blocks: the runtime need
// not be told.
func (l listener) send(r seccompResponse) {
	for {
		if _, _, e := unix.RawSyscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&r))); e != unix.EINTR {
			return
		}
	}
}

func (l listener) passOn(id uint64) {
	l.send(seccompResponse{id: id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE})
}

// syncWakeup makes caller and receiver take turns on one processor (Linux 6.6): each waits for the other anyway, and
// waking one on another processor costs more than the call itself.
func (l listener) syncWakeup() bool {
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	return e == 0
}

func (l listener) valid(id uint64) bool {
	_, e := ioctl(l.fd, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&id))
	return e == 0
}

// inject puts a copy of our descriptor fd into the caller, and returns its number there. Not with ADDFD_FLAG_SEND,
// which answers in the same breath: when a signal interrupts that ioctl after the answer, the caller has a descriptor
// whose number it was not told. Like this an interrupted ioctl is made again; the kernel takes an unhandled request
// back (kernel/seccomp.c, seccomp_notify_addfd).
func (l listener) inject(id uint64, fd int, at int, cloexec bool) (int, unix.Errno) {
	a := seccompAddFD{id: id, source: uint32(fd)}
	if at >= 0 {
		a.flags, a.newFD = unix.SECCOMP_ADDFD_FLAG_SETFD, uint32(at)
	}
	if cloexec {
		a.newFlags = unix.O_CLOEXEC
	}
	for {
		number, e := ioctl(l.fd, unix.SECCOMP_IOCTL_NOTIF_ADDFD, unsafe.Pointer(&a))
		if e != unix.EINTR {
			return number, e
		}
	}
}

// install puts the filter on the calling thread, which must be locked, and on what comes of it.
func install(program []unix.SockFilter, killable bool) (listener, error) {
	var sizes struct{ notif, response, data uint16 }
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&sizes))); e != 0 {
		return listener{}, missing("seccomp user notification (Linux 5.0)", e)
	}
	if sizes.notif != uint16(unsafe.Sizeof(seccompNotif{})) || sizes.response != uint16(unsafe.Sizeof(seccompResponse{})) {
		return listener{}, missing("a notification of the known size", nil)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return listener{}, missing("no_new_privs", err)
	}
	flags := uintptr(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	if killable {
		flags |= unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	fd, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
	switch {
	case e == unix.EBUSY:
		return listener{}, ErrNested
	case e == unix.EINVAL && killable:
		return listener{}, missing("seccomp's WAIT_KILLABLE_RECV (Linux 5.19)", e)
	case e != 0:
		return listener{}, missing("a seccomp filter with a listener", e)
	}
	return listener{int(fd)}, nil // close-on-exec
}

func missing(what string, err error) error {
	return &unsupportedError{what, err}
}

// unsupportedError is ErrUnsupported with the reason.
type unsupportedError struct {
	what  string
	cause error
}

func (e *unsupportedError) Error() string {
	text := ErrUnsupported.Error() + ": no " + e.what
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

func (e *unsupportedError) Is(target error) bool { return target == ErrUnsupported }
func (e *unsupportedError) Unwrap() error        { return e.cause }

// memory reads a caller's memory. One for each goroutine.
type memory struct {
	local  unix.Iovec
	remote unix.RemoteIovec
	way    string // that worked last
}

// The ways to read memory, as Findings name them.
const (
	byVM   = "process_vm_readv"
	byFile = "/proc/pid/mem"
)

// read fills buf as far as the memory at address goes.
func (m *memory) read(tid int, address uint64, buf []byte) (int, error) {
	m.local.Base = &buf[0]
	m.local.SetLen(len(buf))
	m.remote = unix.RemoteIovec{Base: uintptr(address), Len: len(buf)}
	n, _, e := unix.Syscall6(unix.SYS_PROCESS_VM_READV, uintptr(tid),
		uintptr(unsafe.Pointer(&m.local)), 1, uintptr(unsafe.Pointer(&m.remote)), 1, 0)
	switch e {
	case 0:
		m.way = byVM
		return int(n), nil
	case unix.EPERM, unix.ENOSYS, unix.EACCES: // refused as such in some containers, where the file is not
		f, err := unix.Open("/proc/"+strconv.Itoa(tid)+"/mem", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return 0, err
		}
		defer unix.Close(f)
		n, err := unix.Pread(f, buf, int64(address))
		m.way = byFile
		if errors.Is(err, unix.EIO) {
			err = unix.EFAULT
		}
		return n, err
	}
	return 0, e
}

// write puts all of buf at address. Not to do so is EFAULT.
func (m *memory) write(tid int, address uint64, buf []byte) error {
	m.local.Base = &buf[0]
	m.local.SetLen(len(buf))
	m.remote = unix.RemoteIovec{Base: uintptr(address), Len: len(buf)}
	done, _, e := unix.Syscall6(unix.SYS_PROCESS_VM_WRITEV, uintptr(tid),
		uintptr(unsafe.Pointer(&m.local)), 1, uintptr(unsafe.Pointer(&m.remote)), 1, 0)
	n := int(done)
	switch e {
	case 0:
	case unix.EPERM, unix.ENOSYS, unix.EACCES:
		f, err := unix.Open(procPath(tid, "mem"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(f)
		if n, err = unix.Pwrite(f, buf, int64(address)); err != nil {
			return unix.EFAULT
		}
	default:
		return e
	}
	if n < len(buf) {
		return unix.EFAULT
	}
	return nil
}

// bytesOf is what a struct of the kernel's looks like in memory.
func bytesOf[T unix.Stat_t | unix.Statx_t](st *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(st)), unsafe.Sizeof(*st))
}

const (
	pageSize = 4096
	pathMax  = 4096 // with its NUL
)

// path reads a NUL-terminated string into buf, which holds pathMax bytes.
func (m *memory) path(tid int, address uint64, buf []byte) ([]byte, error) {
	const usual = 256
	length := 0
	for length < pathMax {
		at := address + uint64(length)
		// Not beyond the page: the next one may not be there.
		want := min(usual, int(pageSize-at%pageSize), pathMax-length)
		n, err := m.read(tid, at, buf[length:length+want])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return nil, unix.EFAULT
		}
		for i := length; i < length+n; i++ {
			if buf[i] == 0 {
				return buf[:i], nil
			}
		}
		length += n
	}
	return nil, unix.ENAMETOOLONG
}

// procPath is /proc/<pid>/<rest>.
func procPath(pid int, rest string) string { return "/proc/" + strconv.Itoa(pid) + "/" + rest }

func errnoOf(err error) (syscall.Errno, bool) {
	var e syscall.Errno
	ok := errors.As(err, &e)
	return e, ok && e != 0
}

// retrying calls fn again while the kernel says EINTR.
func retrying(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

// openPath opens without effect on what is opened, symlinks included.
func openPath(dir int, name string, flags int) (int, error) {
	fd := -1
	err := retrying(func() (err error) {
		fd, err = unix.Openat(dir, name, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
		return err
	})
	return fd, err
}

func fileOf(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }
