package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// lockOwner asks /proc/locks (proc_locks(5)) who holds the flock of path; 0 if that does not tell. Lines read
//
//	1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
//
// and "1: -> FLOCK" for waiters. The process named is the one that called flock(2), which may have ended: flock(1) on a
// descriptor of its shell does. Then somebody who has the descriptor is named.
func lockOwner(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	owner := 0
	for _, h := range kernelHolders(info) {
		if owner = h.pid; h.sure {
			break
		}
	}
	if owner == 0 || startOf(owner) != "" {
		return owner
	}
	if pid, _ := whoHolds(info, func(int) bool { return true }); pid > 0 {
		return pid
	}
	return owner
}

// whoHolds is a process that is meant and has a descriptor that holds the flock of a file, 0 if there is none. all is false where
// not all of them could be looked into.
func whoHolds(file fs.FileInfo, meant func(pid int) bool) (holder int, all bool) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	all = true
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || !meant(pid) {
			continue
		}
		holds, seen := holdsDescriptor(pid, file)
		if holds {
			return pid, true
		}
		all = all && seen
	}
	return 0, all
}

// HeldBy says whether one of the processes that are meant has the flock of path. The kernel's list of all locks is only asked where
// one of them cannot be looked into: see kernelHolders.
func HeldBy(path string, meant func(pid int) bool) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	holder, all := whoHolds(info, meant)
	if holder > 0 || all {
		return holder > 0
	}
	for _, h := range kernelHolders(info) {
		if meant(h.pid) && h.sure {
			return true
		}
	}
	return false
}

// kernelHolder is a process that called flock(2). btrfs and overlayfs report another device in /proc/locks than stat(2) does:
// where only the inode is the same, it may be a file of another filesystem.
type kernelHolder struct {
	pid  int
	sure bool
}

// kernelHolders asks for all locks there are. That is for who has waited in vain already: the kernel keeps everybody from locking any file until
// an RCU grace period has passed (percpu_down_write in locks_start, fs/locks.c), 10 ms at best; on two busy processors some flocks took 20 s
// beside a process that read the list in a loop.
func kernelHolders(info fs.FileInfo) (holders []kernelHolder) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	table, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil
	}
	exact := fmt.Sprintf("%02x:%02x:%d", major(st.Dev), minor(st.Dev), st.Ino)
	inode := inodeSuffix(st)
	for line := range bytes.Lines(table) {
		fields := strings.Fields(string(line))
		if len(fields) < 8 || fields[1] != "FLOCK" || !strings.HasSuffix(fields[5], inode) {
			continue
		}
		if pid, err := strconv.Atoi(fields[4]); err == nil && pid > 0 {
			holders = append(holders, kernelHolder{pid, fields[5] == exact})
		}
	}
	return holders
}

func inodeSuffix(st *syscall.Stat_t) string { return fmt.Sprintf(":%d", st.Ino) }

func major(dev uint64) uint64 { return dev>>8&0xfff | dev>>32&^uint64(0xfff) }
func minor(dev uint64) uint64 { return dev&0xff | dev>>12&^uint64(0xff) }

// holdsDescriptor says whether the process has an open file that holds the flock of a file (proc_pid_fdinfo(5)):
//
//	flags:	02100002
//	lock:	1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
//
// seen is false where that could not be looked up. Of this process only descriptors count that it got from its parent, which are not close-on-exec: the others are its
// own holds, for which its goroutines queue.
func holdsDescriptor(pid int, file fs.FileInfo) (holds, seen bool) {
	st, ok := file.Sys().(*syscall.Stat_t)
	if !ok {
		return false, false
	}
	inode := inodeSuffix(st)
	dir := fmt.Sprintf("/proc/%d/fdinfo", pid)
	names, err := namesIn(dir)
	if err != nil {
		return false, errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) // it has ended
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && pid == os.Getpid() && closesOnExec(fd) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			continue
		}
		for line := range bytes.Lines(text) {
			fields := strings.Fields(string(line))
			if len(fields) >= 7 && fields[0] == "lock:" && fields[2] == "FLOCK" && strings.HasSuffix(fields[6], inode) && isOpenAs(pid, name, file) {
				return true, true
			}
		}
	}
	return false, true
}

func namesIn(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

func closesOnExec(fd int) bool {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err != nil || flags&unix.FD_CLOEXEC != 0
}

// isOpenAs: an inode number is one file only within its filesystem.
func isOpenAs(pid int, fd string, file fs.FileInfo) bool {
	open, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%s", pid, fd))
	return err == nil && os.SameFile(open, file)
}

// startOf is the start time of a process in clock ticks since boot, "" if there is none (proc_pid_stat(5), field 22).
func startOf(pid int) string {
	if fields := statFields(pid); len(fields) > 19 && fields[0] != "Z" {
		return fields[19]
	}
	return ""
}

// statFields are the fields of /proc/PID/stat behind the name, which may hold anything.
func statFields(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}

func describe(pid int) *Holder {
	h := &Holder{PID: pid, Command: commandOf(pid), Running: runningSince(pid)}
	h.Host, _ = os.Hostname()
	return h
}

// commandOf is the command line, as far as the kernel shows it to us.
func commandOf(pid int) string {
	cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return shorten(strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " ")))
}

// runningSince counts back from now, in units that are 1/100 s for every process of Linux (USER_HZ, time(7)).
func runningSince(pid int) time.Time {
	ticks, err := strconv.ParseFloat(startOf(pid), 64)
	if err != nil {
		return time.Time{}
	}
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return time.Time{}
	}
	first, _, _ := strings.Cut(string(text), " ")
	uptime, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration((uptime - ticks/100) * float64(time.Second))).Truncate(time.Second)
}

// heldByAncestor says whether a process that waits for us, directly or not, holds the flock of path or the lease of
// target, or whether we have an open file ourselves that holds it: a shell's "exec 9>results.json.lock; flock 9" leaves
// both, and no process that called flock.
func heldByAncestor(path, target string) bool {
	if isAncestor(leaseHolder(target)) {
		return true
	}
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	var unseen []int // of another user: only the kernel's list tells of them
	for pid := os.Getpid(); pid > 1; pid = parentOf(pid) {
		holds, seen := holdsDescriptor(pid, info)
		if holds {
			return true
		}
		if !seen && pid != os.Getpid() {
			unseen = append(unseen, pid)
		}
	}
	if len(unseen) == 0 {
		return false
	}
	for _, h := range kernelHolders(info) {
		if h.sure && slices.Contains(unseen, h.pid) {
			return true
		}
	}
	return false
}

// isAncestor: an ancestor cannot be somebody else with its pid: when it dies, its children get another parent.
func isAncestor(h *Holder) bool {
	if host, _ := os.Hostname(); h == nil || h.Host != host {
		return false
	}
	for pid := parentOf(os.Getpid()); pid > 1; pid = parentOf(pid) {
		if pid == h.PID {
			return true
		}
	}
	return false
}

func parentOf(pid int) int {
	fields := statFields(pid)
	if len(fields) < 2 {
		return 0
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return parent
}
