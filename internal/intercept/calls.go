//go:build linux && (amd64 || arm64)

package intercept

import "golang.org/x/sys/unix"

// op is what a call asks for, whichever system call it came by.
type op uint8

const (
	opOther op = iota
	opOpen
	opOpen2 // openat2: flags are in memory
	opCreat
	opRename
	opRemove
	opRmdir
	opLink
	opSymlink
	opTruncate
	opTouch
	opFlock
	opFcntl
	opSync
	opStat
	opFstat
	opView // may change what paths mean for the caller
)

// none: there is no such argument.
const none = -1

// meaning says which argument is what; the numbers are argument indices.
type meaning struct {
	op          op
	dir, path   int8 // dir none: the working directory
	dir2, path2 int8
	text        int8
	itself      bool // a symlink at the end is not followed, whatever the flags
	arg         int8 // open: flags, followed by mode; unlinkat, renameat2, linkat, fstatat: flags; truncate: length
	buffer      int8 // stat: where the answer goes
}

func (m meaning) two() bool { return m.op == opRename || m.op == opLink }

func (m meaning) descriptor() bool {
	return m.op == opFlock || m.op == opFcntl || m.op == opSync || m.op == opFstat
}

// follows says whether a symlink at the end of the path is followed.
func (m meaning) follows(d *seccompData) bool {
	switch m.op {
	case opOpen:
		const create = unix.O_CREAT | unix.O_EXCL
		flags := d.args[m.arg]
		return flags&unix.O_NOFOLLOW == 0 && flags&create != create
	case opOpen2, opCreat, opTruncate, opStat: // stat that does not follow is not trapped
		return true
	case opTouch:
		return !m.itself && (m.arg == none || d.args[m.arg]&unix.AT_SYMLINK_NOFOLLOW == 0)
	case opLink:
		return m.arg != none && d.args[m.arg]&unix.AT_SYMLINK_FOLLOW != 0
	}
	return false
}

// meaningOf says what a call asks for.
func meaningOf(d *seccompData) meaning {
	m := numberMeans(d.number)
	if m.op == opStat && m.arg != none && d.args[m.arg]&unix.AT_EMPTY_PATH != 0 {
		m.op = opFstat
	}
	return m
}

func numberMeans(nr int32) meaning {
	switch nr {
	case unix.SYS_OPENAT:
		return meaning{op: opOpen, dir: 0, path: 1, arg: 2}
	case unix.SYS_OPENAT2:
		return meaning{op: opOpen2, dir: 0, path: 1, arg: 2}
	case unix.SYS_RENAMEAT:
		return meaning{op: opRename, dir: 0, path: 1, dir2: 2, path2: 3, arg: none}
	case unix.SYS_RENAMEAT2:
		return meaning{op: opRename, dir: 0, path: 1, dir2: 2, path2: 3, arg: 4}
	case unix.SYS_UNLINKAT:
		return meaning{op: opRemove, dir: 0, path: 1, arg: 2}
	case unix.SYS_LINKAT:
		return meaning{op: opLink, dir: 0, path: 1, dir2: 2, path2: 3, arg: 4}
	case unix.SYS_SYMLINKAT:
		return meaning{op: opSymlink, text: 0, dir: 1, path: 2, arg: none}
	case unix.SYS_TRUNCATE:
		return meaning{op: opTruncate, dir: none, path: 0, arg: 1}
	case unix.SYS_FACCESSAT: // without flags as well
		return meaning{op: opStat, dir: 0, path: 1, arg: none, buffer: none}
	case unix.SYS_FACCESSAT2:
		return meaning{op: opStat, dir: 0, path: 1, arg: 3, buffer: none}
	case unix.SYS_STATX:
		return meaning{op: opStat, dir: 0, path: 1, arg: 2, buffer: 4}
	case unix.SYS_FSTAT:
		return meaning{op: opFstat, path: none, arg: none, buffer: 1}
	case unix.SYS_FCHMODAT: // without flags, whatever the manual says
		return meaning{op: opTouch, dir: 0, path: 1, arg: none}
	case unix.SYS_SETXATTR, unix.SYS_REMOVEXATTR:
		return meaning{op: opTouch, dir: none, path: 0, arg: none}
	case unix.SYS_LSETXATTR, unix.SYS_LREMOVEXATTR:
		return meaning{op: opTouch, dir: none, path: 0, arg: none, itself: true}
	case unix.SYS_FCHMODAT2, unix.SYS_UTIMENSAT:
		return meaning{op: opTouch, dir: 0, path: 1, arg: 3}
	case unix.SYS_FCHOWNAT:
		return meaning{op: opTouch, dir: 0, path: 1, arg: 4}
	case unix.SYS_FLOCK:
		return meaning{op: opFlock}
	case unix.SYS_FCNTL:
		return meaning{op: opFcntl}
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		return meaning{op: opSync}
	case unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_CLONE:
		return meaning{op: opView}
	}
	return legacyMeaning(nr)
}

// malformed says that the kernel refuses a call for what is in it, before it looks at a path, and is the one to say so.
func (n *notification) malformed(m meaning) bool {
	d, flags := &n.call.data, uint64(0)
	if m.arg != none {
		flags = uint64(uint32(d.args[m.arg]))
	}
	switch m.op {
	case opRename:
		const all, exclusive = unix.RENAME_NOREPLACE | unix.RENAME_EXCHANGE | unix.RENAME_WHITEOUT, unix.RENAME_NOREPLACE | unix.RENAME_WHITEOUT
		return m.arg != none && (flags&^all != 0 || flags&unix.RENAME_EXCHANGE != 0 && flags&exclusive != 0)
	case opRemove:
		return m.arg != none && flags&^unix.AT_REMOVEDIR != 0
	case opLink:
		return m.arg != none && flags&^(unix.AT_SYMLINK_FOLLOW|unix.AT_EMPTY_PATH) != 0
	case opTruncate:
		return int64(d.args[m.arg]) < 0
	case opOpen2:
		how, resolve, err := n.openHow2()
		return err == nil && !wellFormed(how, resolve)
	}
	return false
}

// wellFormed is what openat2(2) checks, unlike open(2).
func wellFormed(how OpenHow, resolve uint64) bool {
	const (
		flags = unix.O_ACCMODE | unix.O_CREAT | unix.O_EXCL | unix.O_NOCTTY | unix.O_TRUNC | unix.O_APPEND | unix.O_NONBLOCK | unix.O_SYNC | unix.O_ASYNC |
			unix.O_DIRECT | 0o100000 | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_NOATIME | unix.O_CLOEXEC | unix.O_PATH | unix.O_TMPFILE // and O_LARGEFILE
		cached  = 0x20 // RESOLVE_CACHED
		ways    = unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT | cached
		both    = unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT
		creates = unix.O_CREAT | unix.O_TMPFILE&^unix.O_DIRECTORY
	)
	switch {
	case how.Flags&^flags != 0, resolve&^ways != 0, resolve&both == both, how.Flags&creates == 0 && how.Mode != 0, how.Mode&^0o7777 != 0:
		return false
	}
	return resolve&cached == 0 || how.Flags&(creates|unix.O_TRUNC) == 0
}

// onlyReads says that a call neither changes a file nor makes one.
func (m meaning) onlyReads(d *seccompData) bool {
	const changes = unix.O_ACCMODE | unix.O_CREAT | unix.O_TRUNC
	return m.op == opOpen && d.args[m.arg]&changes == unix.O_RDONLY
}

// writes says that a call opens a file to write it. openat2's flags are not at hand.
func (m meaning) writes(d *seccompData) bool {
	return m.op == opCreat || m.op == opOpen && d.args[m.arg]&unix.O_ACCMODE != unix.O_RDONLY
}

// opensDirectory says that a call can open nothing else.
func (m meaning) opensDirectory(d *seccompData) bool {
	return m.op == opOpen && d.args[m.arg]&unix.O_DIRECTORY != 0
}

// dirOf is the directory that a path starts from, as the caller names it.
func dirOf(d *seccompData, index int8) int {
	if index == none {
		return unix.AT_FDCWD
	}
	return int(int32(d.args[index]))
}
