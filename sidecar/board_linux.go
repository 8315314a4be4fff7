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
	if b == nil {
		return
	}
	b.using.RLock()
	defer b.using.RUnlock()
	if b.page != nil {
		const everybody = 1<<31 - 1
		_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&b.page[4*word])), futexWake, everybody, 0, 0, 0)
	}
}

func (b *board) sleep(word int, value uint32, d time.Duration) {
	if !b.sleepOn(word, value, d) {
		time.Sleep(min(d, boardlessNap))
	}
}

// sleepOn is false where nobody can be woken.
func (b *board) sleepOn(word int, value uint32, d time.Duration) bool {
	if b == nil {
		return false
	}
	b.using.RLock()
	defer b.using.RUnlock()
	if b.page == nil {
		return false
	}
	limit := unix.NsecToTimespec(d.Nanoseconds())
	// Whatever it returns, the caller looks again: woken, changed before, interrupted, timed out, faulted.
	_, _, errno := unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&b.page[4*word])), futexWait, uintptr(value), uintptr(unsafe.Pointer(&limit)), 0, 0)
	return errno != unix.EFAULT && errno != unix.ENOSYS
}
