//go:build linux && (amd64 || arm64)

package intercept

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// begin supervises the command that was started.
func (s *supervisor) begin(pid int) {
	s.command = pid
	s.processes.setFirst(pid)
	go s.reap()
}

func (s *supervisor) wait() (Status, error) {
	<-s.ended
	return s.status, s.waitErr
}

// reap waits for the command, and for its stops on the way.
func (s *supervisor) reap() {
	defer close(s.ended)
	for {
		// Look first, so that nobody can take another process for the command between its end and our knowing.
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, s.command, &info, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		var w syscall.WaitStatus
		s.reaping.Lock()
		pid, err := syscall.Wait4(s.command, &w, syscall.WUNTRACED|syscall.WNOHANG, nil)
		s.reaped = err != nil || pid != 0 && (w.Exited() || w.Signaled())
		s.reaping.Unlock()
		switch {
		case err == nil && pid == 0: // continued meanwhile
		case err != nil:
			s.waitErr = os.NewSyscallError("wait4", err)
			return
		case w.Stopped():
			s.stopAlong()
		case w.Signaled():
			s.status = Status{Signal: w.Signal(), Core: w.CoreDump()}
			return
		case w.Exited():
			s.status = Status{Code: w.ExitStatus()}
			return
		}
	}
}

// stopAlong stops this process with the command, so that a shell takes its terminal back: a program may stop itself
// alone. What the terminal stops, it stops with us, and then the command may run again already. In a group of its own
// or without anybody to continue us, we go on: the command's stop is between it and whoever stopped it.
func (s *supervisor) stopAlong() {
	st, err := readStat(s.command)
	if err != nil || st.state != 'T' || st.group != unix.Getpgrp() || orphanedGroup() {
		return
	}
	// To this very thread: it stops before the call returns. Else it might continue the command first.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGSTOP)
	_ = unix.Kill(s.command, unix.SIGCONT)
}

// orphanedGroup: our parent is no shell of our session that could continue us.
func orphanedGroup() bool {
	own, err := readStat(os.Getpid())
	if err != nil {
		return true
	}
	parent, err := readStat(own.parent)
	return err != nil || parent.session != own.session || parent.group == own.group
}
