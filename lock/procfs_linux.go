package lock

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lockOwner asks /proc/locks (proc_locks(5)) who holds the flock of path; 0 if that does not tell. Lines read
//
//	1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
//
// and "1: -> FLOCK" for waiters. The device is compared only loosely: btrfs and overlayfs report another one there
// than stat(2) does.
func lockOwner(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	table, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	exact := fmt.Sprintf("%02x:%02x:%d", major(st.Dev), minor(st.Dev), st.Ino)
	inode := fmt.Sprintf(":%d", st.Ino)
	loose := 0
	for line := range bytes.Lines(table) {
		fields := strings.Fields(string(line))
		if len(fields) < 8 || fields[1] != "FLOCK" {
			continue
		}
		pid, err := strconv.Atoi(fields[4])
		if err != nil || pid <= 0 {
			continue
		}
		if fields[5] == exact {
			return pid
		}
		if strings.HasSuffix(fields[5], inode) {
			loose = pid
		}
	}
	return loose
}

func major(dev uint64) uint64 { return dev>>8&0xfff | dev>>32&^uint64(0xfff) }
func minor(dev uint64) uint64 { return dev&0xff | dev>>12&^uint64(0xff) }

// startOf is the start time of a process in clock ticks since boot, "" if there is none (proc_pid_stat(5), field 22).
func startOf(pid int) string {
	if fields := statFields(pid); len(fields) > 19 {
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
	h := &Holder{PID: pid}
	if cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil {
		h.Command = shorten(strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " ")))
	}
	h.Host, _ = os.Hostname()
	if info, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
		h.Since = info.ModTime().Truncate(time.Second)
	}
	return h
}

// heldByAncestor says whether a process that waits for us, directly or not, holds the flock of path. An ancestor
// cannot be somebody else with its pid: when it dies, its children get another parent.
func heldByAncestor(path string) bool {
	owner := lockOwner(path)
	if owner <= 1 {
		return false
	}
	for pid := os.Getppid(); pid > 1; {
		if pid == owner {
			return true
		}
		fields := statFields(pid)
		if len(fields) < 2 {
			return false
		}
		next, err := strconv.Atoi(fields[1])
		if err != nil || next == pid {
			return false
		}
		pid = next
	}
	return false
}
