package main

import (
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// gainsPrivileges says whether a program that we start could do more than we can: setuid, setgid, file capabilities. Under
// interception it gains nothing (no_new_privs, which a filter without privileges needs; seccomp(2)).
func gainsPrivileges(path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	var fs unix.Statfs_t
	if !ok || unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOSUID != 0 {
		return false
	}
	if set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && set == 1 {
		return false // without us neither
	}
	switch {
	case info.Mode()&os.ModeSetuid != 0 && int(st.Uid) != os.Geteuid():
		return true
	case info.Mode()&os.ModeSetgid != 0 && !inGroup(int(st.Gid)):
		return true
	}
	n, err := unix.Getxattr(path, "security.capability", nil)
	return err == nil && n > 0 && os.Geteuid() != 0
}

func inGroup(gid int) bool {
	groups, _ := os.Getgroups()
	return gid == os.Getegid() || slices.Contains(groups, gid)
}
