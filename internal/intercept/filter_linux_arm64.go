package intercept

import "golang.org/x/sys/unix"

const (
	nativeArch  = unix.AUDIT_ARCH_AARCH64
	foreignArch = unix.AUDIT_ARCH_ARM
	x32Bit      = 0
)

var trappedAlways = []uint32{
	unix.SYS_OPENAT2,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2,
	unix.SYS_UNLINKAT,
	unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
	unix.SYS_TRUNCATE, unix.SYS_FLOCK, unix.SYS_FSYNC, unix.SYS_FDATASYNC,
	unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2, unix.SYS_FCHOWNAT, unix.SYS_UTIMENSAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR,
	unix.SYS_FSTAT, unix.SYS_FACCESSAT,
	unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT, unix.SYS_UNSHARE, unix.SYS_SETNS,
}

var trappedOpens = []trappedFlags{{"openat", unix.SYS_OPENAT, 2}}

var trappedStats = []trappedFlags{{"fstatat", unix.SYS_FSTATAT, 3}, {"statx", unix.SYS_STATX, 2}, {"faccessat2", unix.SYS_FACCESSAT2, 3}}

// Of a 32-bit program: arch/arm/tools/syscall.tbl.
var foreignNumbers = []uint32{
	5, 322, 437, 8, // open openat openat2 creat
	38, 329, 382, // rename renameat renameat2
	10, 328, 40, // unlink unlinkat rmdir
	9, 330, 83, 331, // link linkat symlink symlinkat
	92, 193, 143, 118, 148, // truncate truncate64 flock fsync fdatasync
	15, 333, 452, 182, 212, 16, 198, 325, // chmod fchmodat fchmodat2 chown chown32 lchown lchown32 fchownat
	269, 326, 348, 412, // utimes futimesat utimensat utimensat_time64
	226, 227, 235, 236, // setxattr lsetxattr removexattr lremovexattr
	425, // io_uring_setup
}

const (
	foreignFcntl   = 55
	foreignFcntl64 = 221
)

func legacyMeaning(nr int32) meaning {
	if nr == unix.SYS_FSTATAT { // amd64 has another name for it
		return meaning{op: opStat, dir: 0, path: 1, arg: 3, buffer: 2}
	}
	return meaning{}
}
