// Package vfs is the seam between jsonguard and the filesystem: directories held by a
// descriptor, files in them, and nothing else. [OS] is the real one, [NewFaults] wraps one
// so that chosen calls fail, and [NewMem] keeps everything in memory and can lose power.
//
// A name given to a Dir is one path element; a symbolic link at that name is never followed
// (an error that wraps syscall.ELOOP).
package vfs

import (
	"io"
	"io/fs"
	"time"
)

// FS opens the directories everything else starts from.
type FS interface {
	// OpenDir opens a directory by path. Symbolic links on the way are followed.
	OpenDir(path string) (Dir, error)
}

// Dir is an open directory. It stays the same directory when its path comes to name another.
type Dir interface {
	// Path is the path it was opened by, for messages only.
	Path() string
	// OpenFile opens name with the flags of os.OpenFile. Without O_CREATE it never blocks on a FIFO.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// OpenDir opens the directory name.
	OpenDir(name string) (Dir, error)
	// Mkdir makes the directory name; perm is not reduced by the umask.
	Mkdir(name string, perm fs.FileMode) error
	// Stat describes name itself (lstat). Here it may be several elements, with slashes, that lead through directories.
	Stat(name string) (Info, error)
	// Inode is the inode of name, as Stat has it, where nothing else is to be known. To ask for times has the kernel give the next
	// write a time of its own, and the fsync behind that one block more to write (Linux 6.13, multigrain timestamps).
	Inode(name string) (uint64, error)
	// Readlink returns what the symbolic link name points to.
	Readlink(name string) (string, error)
	// Symlink makes the symbolic link name, which points to target.
	Symlink(target, name string) error
	// Rename replaces newName by oldName in one step, both in this directory.
	Rename(oldName, newName string) error
	// Link makes newName in dst (nil: this directory) another name of oldName.
	Link(oldName string, dst Dir, newName string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// Names lists the directory, sorted.
	Names() ([]string, error)
	// Sync makes the entries of this directory durable. Where the platform has no such call it does nothing.
	Sync() error
	// Chown gives name (not followed) to uid and gid; -1 keeps one.
	Chown(name string, uid, gid int) error
	Close() error
}

// File is an open file.
type File interface {
	io.Reader
	io.Writer
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	// Sync makes content and size durable (fsync; F_FULLFSYNC on macOS). After an error the content is
	// unknown: the file must be abandoned, never synced again.
	Sync() error
	// SyncData is Sync for content and size alone (fdatasync(2)): where neither grew, the disk has less to write. Mode,
	// owner and times may be those of before.
	SyncData() error
	Stat() (Info, error)
	// TryLock takes an exclusive advisory lock on the whole open file (flock(2), LockFileEx) without waiting.
	TryLock() (bool, error)
	// Lock waits for it. It cannot be interrupted: call it in a goroutine of its own.
	Lock() error
	Unlock() error
	// CopyMeta gives this file the mode, owner, ACL and extended attributes of from.
	// What could not be kept is returned as short phrases, each naming the thing and the reason.
	CopyMeta(from File) (lost []string)
	// SetMode sets the permission bits exactly (fchmod).
	SetMode(perm fs.FileMode) error
	Close() error
}

// Info is what jsonguard needs to know of a file.
type Info struct {
	Size  int64
	Mode  fs.FileMode // type and permission bits
	MTime time.Time
	Dev   uint64
	Inode uint64
	Links uint64 // number of names
	UID   int
	GID   int
}
