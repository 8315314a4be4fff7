package main

import (
	"syscall"
	"unsafe"
)

// restoreDefault gives s its default action. signal.Reset leaves the runtime's handler in place for SEGV, BUS and
// their like, which would print goroutines. A struct sigaction of zeros is SIG_DFL on every architecture.
func restoreDefault(s syscall.Signal) {
	var zero [64]byte
	const sigsetSize = 8 // of the kernel, not of libc
	_, _, _ = syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&zero)), 0, sigsetSize, 0, 0)
}
