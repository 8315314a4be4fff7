// Package flockless makes a filesystem whose flock is missing or excludes nobody, for tests: under a seccomp filter
// flock(2) and the byte-range locks of fcntl(2) do nothing and return an error or success. The code under test has no
// switch for it: it finds out by trying.
package flockless

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Exec makes this process argv, in a world where locking returns errno; 0: success.
func Exec(errno syscall.Errno, argv []string) error {
	runtime.LockOSThread() // execve keeps the filter of the thread that calls it
	if err := filter(errno); err != nil {
		return err
	}
	return syscall.Exec(argv[0], argv, os.Environ())
}

// filter makes the calls return errno without being carried out (seccomp(2), SECCOMP_RET_ERRNO).
func filter(errno syscall.Errno) error {
	const loadWord = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	const ifEqual = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	const result = unix.BPF_RET | unix.BPF_K
	const number, secondArgument = 0, 24 // offsets in struct seccomp_data, little-endian
	program := []unix.SockFilter{
		{Code: loadWord, K: number},
		{Code: ifEqual, K: unix.SYS_FLOCK, Jt: 5},
		{Code: ifEqual, K: unix.SYS_FCNTL, Jf: 3},
		{Code: loadWord, K: secondArgument},
		{Code: ifEqual, K: unix.F_OFD_SETLK, Jt: 2},
		{Code: ifEqual, K: unix.F_OFD_SETLKW, Jt: 1},
		{Code: result, K: unix.SECCOMP_RET_ALLOW},
		{Code: result, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p))); e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	return nil
}
