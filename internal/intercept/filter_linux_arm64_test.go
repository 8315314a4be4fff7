package intercept

import "golang.org/x/sys/unix"

// arm64 has no calls that amd64 does not have, but another name for one.
var nativeFiltered = []filtered{
	{"fstatat", told, unix.SYS_FSTATAT, [6]uint64{}},
	{"fstatat of a symlink itself", allowed, unix.SYS_FSTATAT, [6]uint64{3: unix.AT_SYMLINK_NOFOLLOW}},
	{"what is open on amd64", allowed, 2, [6]uint64{}},
}

// Calls of a 32-bit program.
var foreignFiltered = []filtered{
	{"arm open", refused, 5, [6]uint64{}},
	{"arm creat", refused, 8, [6]uint64{}},
	{"arm unlink", refused, 10, [6]uint64{}},
	{"arm openat", refused, 322, [6]uint64{}},
	{"arm openat2", refused, 437, [6]uint64{}},
	{"arm renameat2", refused, 382, [6]uint64{}},
	{"arm flock", refused, 143, [6]uint64{}},
	{"arm fcntl that locks", refused, foreignFcntl, [6]uint64{1: unix.F_SETLKW}},
	{"arm fcntl64 that locks", refused, foreignFcntl64, [6]uint64{1: setLkW64}},
	{"arm fcntl64 that does not", allowed, foreignFcntl64, [6]uint64{1: unix.F_GETFD}},
	{"arm io_uring_setup", refused, 425, [6]uint64{}},
	{"arm read", allowed, 3, [6]uint64{}},
}
