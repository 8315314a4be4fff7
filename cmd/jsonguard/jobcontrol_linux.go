package main

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// followsStops: this process stops when its program stops, and not before.
const followsStops = true

// followStops stops this process each time its program has stopped, so that a shell takes its terminal back, and
// continues the program when we are continued. It returns when the program is gone: then ^Z stops us at once again.
func followStops(program int) {
	defer signal.Reset(syscall.SIGTSTP)
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, program, &info, unix.WSTOPPED, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return
		case isStopped(program) && inOurJob(program):
			stopSelf()
			_ = unix.Kill(program, unix.SIGCONT)
		}
	}
}

// isStopped: it may run again already.
func isStopped(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := bytes.Cut(raw[bytes.LastIndexByte(raw, ')')+1:], []byte(" "))
	return err == nil && bytes.HasPrefix(state, []byte("T"))
}

// inOurJob: the program is in our process group, and our parent is a shell that can continue us (it is of our session,
// and not of our group). Otherwise the program's stop is between it and whoever stopped it.
func inOurJob(program int) bool {
	group, err := unix.Getpgid(program)
	if err != nil || group != unix.Getpgrp() {
		return false
	}
	shell := unix.Getppid()
	session, err := unix.Getsid(shell)
	if err != nil {
		return false
	}
	own, _ := unix.Getsid(0)
	parents, err := unix.Getpgid(shell)
	return err == nil && session == own && parents != group
}

// stopSelf returns when this process is continued.
func stopSelf() {
	// To this very thread: it stops before the call returns. Else it might go on for a moment.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
}
