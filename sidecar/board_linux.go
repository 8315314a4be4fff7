package sidecar

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations of futex(2) that work between processes (linux/futex.h).
const (
	futexWait = 0
	futexWake = 1
)

func (b *board) wakeAll(word int) {
	if b != nil {
		const everybody = 1<<31 - 1
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&b.page[4*word])), futexWake, everybody, 0, 0, 0)
	}
}

func (b *board) sleep(word int, value uint32, d time.Duration) {
	if b == nil {
		time.Sleep(min(d, boardlessNap))
		return
	}
	limit := unix.NsecToTimespec(d.Nanoseconds())
	// Whatever it returns, the caller looks again: woken, changed before, interrupted, timed out, faulted.
	_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&b.page[4*word])), futexWait, uintptr(value), uintptr(unsafe.Pointer(&limit)), 0, 0)
	if errno == unix.EFAULT || errno == unix.ENOSYS {
		time.Sleep(min(d, boardlessNap))
	}
}
