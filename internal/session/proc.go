//go:build linux

package session

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/lock"
)

// exiting says whether a process is on its way out, or gone: its last close may have been the kernel's.
func exiting(pid int, start uint64) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	// Behind the name, which may hold anything: state is field 3, flags 9, starttime 22 (proc_pid_stat(5)).
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	const flags, starttime = 9 - 3, 22 - 3
	if len(fields) <= starttime || fields[starttime] != strconv.FormatUint(start, 10) {
		return true
	}
	const pfExiting = 0x4 // include/linux/sched.h
	v, err := strconv.ParseUint(fields[flags], 10, 64)
	return err != nil || v&pfExiting != 0
}

// changedSince says whether a file was changed, or replaced, after a process started; start is in clock ticks after boot. That was
// not before the time given, which is known more exactly.
func changedSince(path string, start uint64, notBefore time.Time) bool {
	var st unix.Stat_t
	var now, up unix.Timespec
	if unix.Lstat(path, &st) != nil || unix.ClockGettime(unix.CLOCK_REALTIME, &now) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return true
	}
	began := now.Nano() - up.Nano() + int64(start)*int64(intercept.Tick)
	return st.Ctim.Nano() > max(began, notBefore.UnixNano())
}

// holds says whether a process of the tree holds the flock of a file: it may wait for what we do, so that
// waiting for it would never end.
func (t *Tree) holds(path string) bool {
	return lock.HeldBy(path, t.had)
}

// procPath names an open file again.
func procPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// tempName is a hidden name that nobody else uses.
func tempName(name string) string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return fmt.Sprintf(".%s.%x.jsonguard-tmp", name, b)
}
