//go:build linux && (amd64 || arm64)

package intercept

import (
	"bytes"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Yama's ptrace_scope 1 (Documentation/admin-guide/LSM/Yama.rst; it is what Ubuntu sets) lets a process without
// CAP_SYS_PTRACE read the memory of its descendants only. A daemon is none any more when its parents have ended, because
// process 1 adopts it. So there the supervisor adopts what its tree leaves behind: then all of it descends from us for ever. It
// is not done elsewhere, because a daemon can see whose child it is.

// mustAdopt says whether that is needed. A test puts something in its place.
var mustAdopt = func() bool {
	scope, err := readProc("/proc/sys/kernel/yama/ptrace_scope")
	return err == nil && string(bytes.TrimSpace(scope)) == "1" && !maySeeAll()
}

// maySeeAll: we have CAP_SYS_PTRACE.
func maySeeAll() bool {
	var has [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capget(&header, &has[0]) == nil && has[0].Effective&(1<<unix.CAP_SYS_PTRACE) != 0
}

// adopt makes the orphans of the tree our children, and waits for those that end, until the tree is over. reapLast does the rest.
func (s *supervisor) adopt() error {
	if !mustAdopt() {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	s.processes.mu.Lock()
	s.adopts = true
	s.processes.mu.Unlock()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	go func() {
		defer signal.Stop(ended)
		for {
			select {
			case <-s.over:
				return // see reapLast
			case <-ended:
				s.reapAdopted()
			}
		}
	}()
	return nil
}

// reapAdopted waits for those of our children that have ended and that nobody else waits for. Of a process that made a call of
// interest it is asked first how it ended: see bury.
func (s *supervisor) reapAdopted() {
	born, err := children(os.Getpid())
	if err != nil {
		return
	}
	for _, pid := range born {
		s.processes.mu.Lock()
		// Before the command is known any of them may be it: reapLast has them then, if nobody else ends.
		waited := s.processes.first == 0 || s.processes.byPID[pid] != nil || pid == s.processes.first || pid == s.guardian.pid
		s.processes.mu.Unlock()
		if !waited {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}

// reapLast waits for what the tree's end left. A process lets go of the filter, by which we know that end, before it can be waited
// for (do_exit in kernel/exit.c), and only then are its own children ours. So whoever is on its way out is waited for, until a look finds
// nobody: each process of the tree descends from one that is our child.
func (s *supervisor) reapLast() {
	s.processes.mu.Lock()
	adopts, first := s.adopts, s.processes.first
	s.processes.mu.Unlock()
	if !adopts {
		return
	}
	if first != 0 {
		<-s.ended
	}
	for more := true; more; {
		more = false
		born, err := children(os.Getpid())
		if err != nil {
			break
		}
		for _, pid := range born {
			if pid != s.guardian.pid && leaving(pid) {
				_, err := unix.Wait4(pid, nil, 0, nil)
				more = more || err == nil || err == unix.EINTR
			}
		}
	}
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
}

// leaving says whether a process is on its way out, or has ended.
func leaving(pid int) bool {
	const exiting = 0x4 // PF_EXITING in include/linux/sched.h
	st, err := readStat(pid)
	return err == nil && (st.flags&exiting != 0 || st.state == 'Z')
}
