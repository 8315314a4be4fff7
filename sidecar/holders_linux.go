package sidecar

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"jsonguard/internal/vfs"
)

// holders names the processes that have a file open for writing (proc(5)), as far as this user may look.
func holders(info vfs.Info) (list []string) {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	const shown = 5
	seen := map[string]bool{}
	for _, fd := range fds {
		var st unix.Stat_t
		if unix.Stat(fd, &st) != nil || st.Ino != info.Inode || uint64(st.Dev) != info.Dev {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		if seen[pid] || pid == fmt.Sprint(os.Getpid()) || !writes(pid, filepath.Base(fd)) {
			continue
		}
		seen[pid] = true
		if len(list) == shown {
			return append(list, "…")
		}
		command, _ := os.ReadFile("/proc/" + pid + "/cmdline")
		list = append(list, fmt.Sprintf("process %s (%s)", pid, strings.TrimSpace(strings.ReplaceAll(string(command), "\x00", " "))))
	}
	return list
}

// writes says whether a descriptor is open for writing.
func writes(pid, fd string) bool {
	text, err := os.ReadFile("/proc/" + pid + "/fdinfo/" + fd)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		var flags uint32
		if n, _ := fmt.Sscanf(line, "flags: %o", &flags); n == 1 {
			return flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return false
}
