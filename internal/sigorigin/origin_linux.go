//go:build linux && (amd64 || arm64)

package sigorigin

import (
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// siKernel is si_code of what the kernel itself sends, as the terminal driver does (sigaction(2)).
const siKernel = 0x80

const signals = 65 // 1 to 64

var (
	codes    [signals]int32   // written by trampoline: si_code of the last one
	handlers [signals]uintptr // the runtime's, that trampoline goes on to
)

// trampoline is the signal handler: it notes si_code and jumps to the handler that was there.
//
//lint:ignore U1000 the kernel calls it
func trampoline()

func trampolinePC() uintptr

// sigaction is the kernel's struct, the same on both architectures.
type sigaction struct {
	handler, flags, restorer, mask uintptr
}

// Watch starts to note where s comes from. Call it after signal.Notify, which installs the runtime's handler.
func Watch(s syscall.Signal) error {
	var action sigaction
	if err := rtSigaction(s, nil, &action); err != nil {
		return err
	}
	const sigDFL, sigIGN = 0, 1
	if action.handler == sigDFL || action.handler == sigIGN || action.handler == trampolinePC() {
		return nil
	}
	atomic.StoreUintptr(&handlers[s], action.handler)
	action.handler = trampolinePC()
	return rtSigaction(s, &action, nil)
}

func rtSigaction(s syscall.Signal, set, old *sigaction) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(set)), uintptr(unsafe.Pointer(old)),
		unsafe.Sizeof(sigaction{}.mask), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("rt_sigaction", errno)
	}
	return nil
}

// FromTerminal says whether the last s was typed at a terminal; known is false where s was not watched.
func FromTerminal(s syscall.Signal) (typed, known bool) {
	if atomic.LoadUintptr(&handlers[s]) == 0 {
		return false, false
	}
	return atomic.LoadInt32(&codes[s]) == siKernel, true
}
