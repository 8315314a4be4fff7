package intercept

import "golang.org/x/sys/unix"

const (
	nativeArch  = unix.AUDIT_ARCH_X86_64
	foreignArch = unix.AUDIT_ARCH_I386
	x32Bit      = 0x40000000 // calls of the x32 ABI: the same numbers with this bit (arch/x86/include/uapi/asm/unistd.h)
)

var trappedAlways = []uint32{
	unix.SYS_OPENAT2, unix.SYS_CREAT,
	unix.SYS_RENAME, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
	unix.SYS_UNLINK, unix.SYS_UNLINKAT, unix.SYS_RMDIR,
	unix.SYS_LINK, unix.SYS_LINKAT, unix.SYS_SYMLINK, unix.SYS_SYMLINKAT,
	unix.SYS_TRUNCATE, unix.SYS_FLOCK, unix.SYS_FSYNC, unix.SYS_FDATASYNC,
	unix.SYS_CHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_CHOWN, unix.SYS_LCHOWN, unix.SYS_FCHOWNAT,
	unix.SYS_UTIME, unix.SYS_UTIMES, unix.SYS_FUTIMESAT, unix.SYS_UTIMENSAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR,
	unix.SYS_STAT, unix.SYS_FSTAT, unix.SYS_ACCESS, unix.SYS_FACCESSAT,
	unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT, unix.SYS_UNSHARE, unix.SYS_SETNS,
}

var trappedOpens = []trappedFlags{{"openat", unix.SYS_OPENAT, 2}, {"open", unix.SYS_OPEN, 1}}

var trappedStats = []trappedFlags{{"newfstatat", unix.SYS_NEWFSTATAT, 3}, {"statx", unix.SYS_STATX, 2}, {"faccessat2", unix.SYS_FACCESSAT2, 3}}

// Of a 32-bit program: arch/x86/entry/syscalls/syscall_32.tbl.
var foreignNumbers = []uint32{
	5, 295, 437, 8, // open openat openat2 creat
	38, 302, 353, // rename renameat renameat2
	10, 301, 40, // unlink unlinkat rmdir
	9, 303, 83, 304, // link linkat symlink symlinkat
	92, 193, 143, 118, 148, // truncate truncate64 flock fsync fdatasync
	15, 306, 452, 182, 212, 16, 198, 298, // chmod fchmodat fchmodat2 chown chown32 lchown lchown32 fchownat
	30, 271, 299, 320, 412, // utime utimes futimesat utimensat utimensat_time64
	226, 227, 235, 236, // setxattr lsetxattr removexattr lremovexattr
	425, // io_uring_setup
}

const (
	foreignFcntl   = 55
	foreignFcntl64 = 221
)

// meanings of the calls that arm64 does not have.
func legacyMeaning(nr int32) meaning {
	switch nr {
	case unix.SYS_OPEN:
		return meaning{op: opOpen, dir: none, path: 0, arg: 1}
	case unix.SYS_CREAT:
		return meaning{op: opCreat, dir: none, path: 0, arg: 1}
	case unix.SYS_RENAME:
		return meaning{op: opRename, dir: none, path: 0, dir2: none, path2: 1, arg: none}
	case unix.SYS_UNLINK:
		return meaning{op: opRemove, dir: none, path: 0, arg: none}
	case unix.SYS_RMDIR:
		return meaning{op: opRmdir, dir: none, path: 0, arg: none}
	case unix.SYS_LINK:
		return meaning{op: opLink, dir: none, path: 0, dir2: none, path2: 1, arg: none}
	case unix.SYS_LCHOWN:
		return meaning{op: opTouch, dir: none, path: 0, arg: none, itself: true}
	case unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_UTIME, unix.SYS_UTIMES:
		return meaning{op: opTouch, dir: none, path: 0, arg: none}
	case unix.SYS_FUTIMESAT:
		return meaning{op: opTouch, dir: 0, path: 1, arg: none}
	case unix.SYS_NEWFSTATAT:
		return meaning{op: opStat, dir: 0, path: 1, arg: 3, buffer: 2}
	case unix.SYS_STAT:
		return meaning{op: opStat, dir: none, path: 0, arg: none, buffer: 1}
	case unix.SYS_ACCESS:
		return meaning{op: opStat, dir: none, path: 0, arg: none, buffer: none}
	case unix.SYS_SYMLINK:
		return meaning{op: opSymlink, dir: none, path: 1, text: 0, arg: none}
	}
	return meaning{}
}
