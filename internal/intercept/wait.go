//go:build linux && (amd64 || arm64)

package intercept

import (
	"os"
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

// reap waits for the command.
func (s *supervisor) reap() {
	defer close(s.ended)
	for {
		// Look first, so that nobody can take another process for the command between its end and our knowing.
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, s.command, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		var w syscall.WaitStatus
		s.reaping.Lock()
		_, err = syscall.Wait4(s.command, &w, 0, nil)
		s.reaped = true
		s.reaping.Unlock()
		switch {
		case err != nil:
			s.waitErr = os.NewSyscallError("wait4", err)
		case w.Signaled():
			s.status = Status{Signal: w.Signal(), Core: w.CoreDump()}
		default:
			s.status = Status{Code: w.ExitStatus()}
		}
		return
	}
}
