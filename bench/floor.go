package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The least that a supervisor by seccomp's notification can be: it receives a call, lets it go on, and does nothing else. What is
// asked of jsonguard exec is measured beside it, because below it nothing can be.

func init() {
	single["floor"] = floor
	single["floored"] = floored
}

// floorKind says what the floor does with each call, as the first argument of its role.
type floorKind string

const (
	floorAnswers floorKind = "answers" // opens
	floorReads   floorKind = "reads"   // opens, and reads their path from the caller's memory
	floorLooks   floorKind = "looks"   // and looks at what is there, in the caller's working directory
	floorBuild   floorKind = "build"   // opens, whose path it reads, and stat(2), which it answers
)

// under is argv under the floor.
func (b *bench) under(kind floorKind, argv ...string) []string {
	return append([]string{"env", "BENCH_ROLE=floor", b.self, string(kind)}, argv...)
}

// floored puts the filter on itself, says so, and becomes args[1:].
func floored(args []string) int {
	runtime.LockOSThread()
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	answer := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	unless := func(op uint16, k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k, Jf: skip}
	}
	const flags = 16 + 8*3 // of fstatat(2), the fourth argument
	stat := map[string]uint32{"amd64": 262, "arm64": 79}[runtime.GOARCH]
	if floorKind(args[0]) != floorBuild {
		stat = unix.SYS_OPENAT
	}
	program := []unix.SockFilter{
		load(0),
		unless(unix.BPF_JEQ, unix.SYS_OPENAT, 1), answer(unix.SECCOMP_RET_USER_NOTIF),
		unless(unix.BPF_JEQ, stat, 3), load(flags), unless(unix.BPF_JSET, unix.AT_SYMLINK_NOFOLLOW, 2), answer(unix.SECCOMP_RET_ALLOW),
		answer(unix.SECCOMP_RET_ALLOW), answer(unix.SECCOMP_RET_USER_NOTIF),
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return report(err)
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		return report(err)
	}
	if err := os.Unsetenv("BENCH_ROLE"); err != nil {
		return report(err)
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	fd, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER|unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return report(e)
	}
	const said, heard = 3, 4 // ExtraFiles
	if _, err := unix.Write(said, []byte(strconv.Itoa(int(fd)))); err != nil {
		return report(err)
	}
	if _, err := unix.Read(heard, make([]byte, 1)); err != nil {
		return report(err)
	}
	unix.CloseOnExec(said)
	unix.CloseOnExec(heard)
	return report(syscall.Exec(path, args[1:], os.Environ()))
}

// floor supervises args[1:] and ends as it does.
func floor(args []string) int {
	kind := floorKind(args[0])
	listening, said, err := os.Pipe()
	if err != nil {
		return report(err)
	}
	heard, go_, err := os.Pipe()
	if err != nil {
		return report(err)
	}
	self, err := os.Executable()
	if err != nil {
		return report(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), "BENCH_ROLE=floored")
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdin, os.Stdout, os.Stderr, []*os.File{said, heard}
	if err := cmd.Start(); err != nil {
		return report(err)
	}
	said.Close()
	heard.Close()
	text := make([]byte, 16)
	n, err := listening.Read(text)
	if err != nil {
		return report(errors.Join(err, cmd.Wait()))
	}
	number, err := strconv.Atoi(string(text[:n]))
	if err != nil {
		return report(err)
	}
	pidfd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		return report(err)
	}
	listener, err := unix.PidfdGetfd(pidfd, number, 0)
	if err != nil {
		return report(err)
	}
	_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	if _, err := go_.Write([]byte{0}); err != nil {
		return report(err)
	}
	go answerAll(kind, listener)
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		return report(err)
	}
	return 0
}

// What linux/seccomp.h lays out.
type (
	floorCall struct {
		id         uint64
		pid, flags uint32
		number     int32
		arch       uint32
		pointer    uint64
		args       [6]uint64
	}
	floorAnswer struct {
		id    uint64
		value int64
		error int32
		flags uint32
	}
)

func answerAll(kind floorKind, listener int) {
	runtime.LockOSThread()
	path := make([]byte, 256)
	at := make([]byte, 0, 512)
	var local unix.Iovec
	var remote unix.RemoteIovec
	var st unix.Statx_t
	here := unix.AT_FDCWD
	for {
		var call floorCall
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&call))); e != 0 {
			continue // the caller was killed
		}
		if kind != floorAnswers && call.number == unix.SYS_OPENAT {
			local.Base = &path[0]
			local.SetLen(len(path))
			remote = unix.RemoteIovec{Base: uintptr(call.args[1]), Len: len(path)}
			got, _, _ := unix.Syscall6(unix.SYS_PROCESS_VM_READV, uintptr(call.pid), uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0)
			if kind == floorLooks && int(got) > 0 {
				name, _, _ := strings.Cut(unsafe.String(&path[0], int(got)), "\x00")
				at = append(strconv.AppendInt(append(at[:0], "/proc/"...), int64(call.pid), 10), "/cwd/"...)
				at = append(append(at, name...), 0)
				_, _, _ = unix.Syscall6(unix.SYS_STATX, uintptr(here), uintptr(unsafe.Pointer(&at[0])), unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_DONT_SYNC,
					unix.STATX_TYPE|unix.STATX_INO, uintptr(unsafe.Pointer(&st)), 0)
			}
		}
		answer := floorAnswer{id: call.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		_, _, _ = unix.RawSyscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&answer)))
	}
}
