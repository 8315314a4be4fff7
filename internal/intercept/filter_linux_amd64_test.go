package intercept

import "golang.org/x/sys/unix"

// Calls that amd64 alone has, and those of the x32 ABI.
var nativeFiltered = []filtered{
	{"open to read", told, unix.SYS_OPEN, [6]uint64{1: unix.O_RDONLY}},
	{"open with O_PATH", allowed, unix.SYS_OPEN, [6]uint64{1: unix.O_PATH}},
	{"open, flags of openat", told, unix.SYS_OPEN, [6]uint64{2: unix.O_PATH}},
	{"creat", told, unix.SYS_CREAT, [6]uint64{}},
	{"rename", told, unix.SYS_RENAME, [6]uint64{}},
	{"unlink", told, unix.SYS_UNLINK, [6]uint64{}},
	{"rmdir", told, unix.SYS_RMDIR, [6]uint64{}},
	{"link", told, unix.SYS_LINK, [6]uint64{}},
	{"symlink", told, unix.SYS_SYMLINK, [6]uint64{}},
	{"chmod", told, unix.SYS_CHMOD, [6]uint64{}},
	{"chown", told, unix.SYS_CHOWN, [6]uint64{}},
	{"lchown", told, unix.SYS_LCHOWN, [6]uint64{}},
	{"utime", told, unix.SYS_UTIME, [6]uint64{}},
	{"utimes", told, unix.SYS_UTIMES, [6]uint64{}},
	{"futimesat", told, unix.SYS_FUTIMESAT, [6]uint64{}},
	{"stat", told, unix.SYS_STAT, [6]uint64{}},
	{"lstat", allowed, unix.SYS_LSTAT, [6]uint64{}},
	{"newfstatat", told, unix.SYS_NEWFSTATAT, [6]uint64{}},
	{"newfstatat of a symlink itself", allowed, unix.SYS_NEWFSTATAT, [6]uint64{3: unix.AT_SYMLINK_NOFOLLOW}},
	{"access", told, unix.SYS_ACCESS, [6]uint64{}},
	{"fork", allowed, unix.SYS_FORK, [6]uint64{}},
	{"x32 openat", refused, x32Bit | unix.SYS_OPENAT, [6]uint64{}},
	{"x32 openat with O_PATH", refused, x32Bit | unix.SYS_OPENAT, [6]uint64{2: unix.O_PATH}},
	{"x32 unlink", refused, x32Bit | unix.SYS_UNLINK, [6]uint64{}},
	{"x32 io_uring_setup", refused, x32Bit | unix.SYS_IO_URING_SETUP, [6]uint64{}},
	{"x32 read", allowed, x32Bit | unix.SYS_READ, [6]uint64{}},
}

// Calls of a 32-bit program.
var foreignFiltered = []filtered{
	{"i386 open", refused, 5, [6]uint64{}},
	{"i386 creat", refused, 8, [6]uint64{}},
	{"i386 unlink", refused, 10, [6]uint64{}},
	{"i386 openat", refused, 295, [6]uint64{}},
	{"i386 openat2", refused, 437, [6]uint64{}},
	{"i386 renameat2", refused, 353, [6]uint64{}},
	{"i386 flock", refused, 143, [6]uint64{}},
	{"i386 fcntl that locks", refused, foreignFcntl, [6]uint64{1: unix.F_SETLKW}},
	{"i386 fcntl64 that locks", refused, foreignFcntl64, [6]uint64{1: setLkW64}},
	{"i386 fcntl64 that does not", allowed, foreignFcntl64, [6]uint64{1: unix.F_GETFD}},
	{"i386 io_uring_setup", refused, 425, [6]uint64{}},
	{"i386 read", allowed, 3, [6]uint64{}},
	{"i386 execve", allowed, 11, [6]uint64{}},
}
