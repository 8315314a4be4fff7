// Package intercept runs an unmodified program, and every process and thread that comes of it, so that its accesses to
// certain files can be carried out by somebody else: a Handler is asked, and answers with a descriptor of its choice,
// an error, or that the kernel may go on. It knows processes, paths and descriptors, and nothing of what is in a file.
//
// It promises: a call that concerns a file of interest does not take effect before the handler has answered; a
// descriptor that the handler gave is the caller's alone; the program's argv, streams, process group and terminal are
// its own, and its status is reported; when the supervisor is killed, no process of the tree makes a further call that
// concerns files.
//
// It does not promise to keep anybody out. This is no sandbox: the kernel reads a path again after the supervisor let
// a call through, so a program that changes a path while it calls passes; and so do descriptors that were open
// before the start or that come from outside over a socket, and open_by_handle_at(2). Not seen either is a read by
// another name (a symlink, a hard link) that the file had before the start, until somebody in the tree writes by such a
// name or makes one: that reader gets the file itself. A call that waits to be received, for some microseconds, is
// interrupted by signals: open(2) may then fail with EINTR in a program that handles signals without SA_RESTART. lstat(2)
// is not seen: just after a close, and until the handler has been told of it, it describes what was before (but see Behind).
//
// A supervisor's process starts no other one while its programs run: a child that has not executed yet holds every descriptor that is just
// being handed over, and the program's own close of it is not the last then.
//
// The mechanism is seccomp's user notification (Linux 5.19 or newer, amd64 and arm64). Elsewhere Start and Probe
// return ErrUnsupported.
package intercept

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// Errors of Start and Probe, for errors.Is.
var (
	// ErrUnsupported: this kernel, or what surrounds us, cannot intercept; the text says what is missing.
	ErrUnsupported = errors.New("interception is not supported here")
	// ErrNested: this process is itself in the tree of a supervisor; a kernel allows one for each process. Ask it
	// (see Ask), and start the program without us.
	ErrNested = errors.New("another supervisor intercepts this process already")
)

// Answers of a Handler, beside nil (done: the caller gets 0) and a syscall.Errno (the caller gets it). Any other error
// becomes EIO.
var (
	// Continue lets the kernel carry the call out as if nobody had asked.
	Continue error = answer("the kernel carries it out")
	// Interrupted ends a call whose Context was cancelled, the way the kernel ends one that a signal interrupts: it
	// is made again, or fails with EINTR, as the program has asked for (SA_RESTART).
	Interrupted error = answer("interrupted by a signal")
)

type answer string

func (a answer) Error() string { return string(a) }

// Command is the program to run.
type Command struct {
	Path  string     // of the executable, as for execve(2)
	Args  []string   // argv, the program's name included
	Env   []string   // nil: the environment of this process
	Dir   string     // working directory; "" the current one
	Files []*os.File // descriptors 0, 1, …; nil: those of this process
}

// Handler decides. Its methods are called from many goroutines, also for one process at a time when it has threads.
//
// Named, Known, Pending, Replaceable, Disguised and Exempt are asked for nearly every call of every process, on the thread
// that receives: they must not allocate, do I/O or wait for a lock that is held during either. All others may take their
// time, and hold up only their caller. Before each of them the changes that are due (Changed) and the births of processes
// (Forked) have been told.
type Handler interface {
	// Named says whether a file with this last path component may be of interest, wherever it is.
	Named(name string) bool
	// Known says whether this object is of interest under any name: a guarded file that has a hard link of another
	// name, a scratch file that is opened again through /proc/self/fd, a directory whose removal or move matters.
	Known(id ID) bool

	// Pending says whether a program may have written something that stat(2) would not show, or be about to. It is asked
	// first of all, because programs look at files much more often than they open them.
	Pending() bool
	// Replaceable says that a file of interest may be replaced between a program's stat(2) and its open(2) of it: then stat is
	// told of by the file's name even while nothing is Pending.
	Replaceable() bool
	// Disguised says that Identity knows of a descriptor that is to be shown as another object even while nothing is Pending.
	Disguised() bool

	// Exempt says that a process is one of the handler's own kind: its calls pass, whatever they are about, and nothing is told
	// before them. The handler may be waiting for it.
	Exempt(pid int) bool

	// Behind is told of calls that concern nothing of interest, while something is Pending: the first one of a thread, or of a
	// program that it executes (begins), and the first one or two after each close by which a thread opens a file for writing. What
	// is due to be seen then should be, because lstat(2), which is not trapped, may come next: of tar(1), started right behind a
	// write, or of a program that packs what it has just written. The call waits.
	Behind(c *Call, begins bool)

	// Open is open(2), openat(2), openat2(2) and creat(2), of a directory as well while something is Pending: it may be listed.
	// The descriptor becomes the caller's; the file is closed
	// here before the caller goes on, and must be the only one of its open file description in this process if its
	// closing is to be seen. The file's flags and offset are the caller's to use.
	Open(c *Call, p *Place, how OpenHow) (*os.File, error)
	// Rename is rename(2) and renameat2(2); flags are RENAME_*.
	Rename(c *Call, from, to *Place, flags uint) error
	// Remove is unlink(2) and rmdir(2) (directory).
	Remove(c *Call, p *Place, directory bool) error
	// Link is link(2) and linkat(2); from has been followed if the caller asked for that (AT_SYMLINK_FOLLOW).
	Link(c *Call, from, to *Place) error
	// Symlink is symlink(2): text is what the link at p is to hold.
	Symlink(c *Call, text string, p *Place) error
	// Truncate is truncate(2); ftruncate(2) acts on a descriptor that is the caller's own and is not seen.
	Truncate(c *Call, p *Place, size int64) error
	// Touch is chmod(2), chown(2), utimensat(2), setxattr(2) and the like by path. What is pending for the file should
	// be in it before they are carried out: install(1) sets the mode of what it has just written.
	Touch(c *Call, p *Place) error
	// Lock is flock(2) and fcntl(2)'s record locks, on a descriptor whose object is Known or that was opened as a name
	// that is Named, whether or not that name stands. Wait under c.Context(), and return Interrupted when that ends.
	Lock(c *Call, d Descriptor, l LockRequest) error
	// Stat is stat(2) and access(2), of a file that Pending may be about, or that is Replaceable. What is pending for it should
	// be in it before they are carried out. A file that is returned is what stat tells about instead, and closed then. lstat(2) is
	// not seen: it is what walks over whole trees.
	Stat(c *Call, p *Place) (*os.File, error)
	// Identity is asked for fstat(2), on a descriptor as for Lock: which object it is to be shown as, so that it is the one
	// that its name leads to. The zero ID leaves it as it is.
	Identity(c *Call, d Descriptor) ID
	// Sync is fsync(2) and fdatasync(2), on a descriptor as for Lock.
	Sync(c *Call, d Descriptor) error

	// Forked tells of a process before any of its calls, and before the next call of its parent: it began with what
	// its parent knew then. parent is nil for the first process, and where it cannot be told any more.
	Forked(parent, child *Process)
	// Exited tells that a process which Forked told of has ended, after the changes by its last closes. signal is
	// what killed it, 0 if it ended by itself, or UnknownEnd.
	Exited(p *Process, signal syscall.Signal)
	// Changed tells what Watch saw, with its key. It must not wait for a lock that a process of the tree may hold. A nil key:
	// the kernel dropped events, everything watched may have changed and closed.
	Changed(key any, what Change)
	// Asked is a request of a nested supervisor (see Ask), which runs as process p.
	Asked(p *Process, request []byte) ([]byte, error)
	// Unguarded tells of a process whose calls cannot be inspected (it made itself undumpable, or its executable
	// cannot be read). true lets the call pass, unguarded; false kills the process.
	Unguarded(p *Process, why error) bool
}

// ID is an object of a filesystem, as st_dev and st_ino have it. The zero ID is no object.
type ID struct{ Dev, Ino uint64 }

// Tick is the unit of [Process.Start]: USER_HZ is 100 on every architecture that Linux has us on (time(7)).
const Tick = 10 * time.Millisecond

// UnknownEnd is what ended a process that its parent has waited for before we could look: kernels before 6.15 do not tell then.
const UnknownEnd = syscall.Signal(-1)

// Process is one process of the tree. There is one value for each, so that pointers can be compared and be keys.
type Process struct {
	PID     int
	Start   uint64 // clock ticks after boot: with PID it is unique
	Parent  *Process
	Command string // name of the executable at birth, at most 15 bytes (comm)
	// Orphan: its parent had ended before anybody noticed whose child it is. Parent is who is likely to have taken it over, or nil.
	Orphan bool

	ended atomic.Uint64 // clock ticks after boot; 0: that is not known yet
}

// Ended says whether the end of a process has been told, or is about to be: what it asked for before that is nobody's any more.
func (p *Process) Ended() bool { return p.ended.Load() != 0 }

// MayHaveForked says of a process that has ended, or is about to, whether it can have been the parent of an orphan: it was there when
// that was born.
func (p *Process) MayHaveForked(orphan *Process) bool {
	ended := p.ended.Load()
	return p != orphan && p.Start <= orphan.Start && (ended == 0 || orphan.Start <= ended)
}

// Place is where a path leads: an entry Name in a directory Dir. The files are open during the call only.
type Place struct {
	Dir   *os.File // O_PATH; the caller's own view (chroot, mount namespace). nil for an object that has no name any more
	DirID ID
	Name  string   // one component
	Path  string   // absolute, for messages and patterns: a name may have changed hands since it was looked up
	Given string   // as the caller wrote it
	Via   []string // symlinks at its end that were followed, absolute like Path

	Object *os.File // O_PATH: what is there; nil if nothing is. A symlink only where the call does not follow it
	ID     ID       // of Object
	Mode   uint32   // st_mode of Object: type and permissions
	Links  uint64   // st_nlink of Object
	// Magic: the path led through /proc/<pid>/fd or the like to Object itself, whatever name it had.
	Magic bool
}

// OpenHow is what open was asked for.
type OpenHow struct {
	Flags int    // O_*, as Linux numbers them; O_CREAT is added for creat(2)
	Mode  uint32 // for O_CREAT, before the umask
}

// Write says that the descriptor is to be written through, or that opening it alone changes the file (O_TRUNC).
func (h OpenHow) Write() bool {
	const accessMode, path, truncate = 3, 0x200000, 0x200
	return h.Flags&path == 0 && (h.Flags&accessMode != os.O_RDONLY || h.Flags&truncate != 0)
}

// Descriptor is one of the caller's.
type Descriptor struct {
	FD   int
	File *os.File // O_PATH, open during the call only
	ID   ID
	Path string // what it was opened as, if that name still stands; " (deleted)" is appended by the kernel if not
}

// LockKind tells the two families of file locks apart, which do not exclude each other on a local filesystem.
type LockKind uint8

const (
	Flock  LockKind = iota // flock(2): belongs to the open file description
	Record                 // fcntl(F_SETLK): belongs to the process, for a range
	OFD                    // fcntl(F_OFD_SETLK): belongs to the open file description, for a range
)

// LockRequest is what flock(2) or fcntl(2) was asked for.
type LockRequest struct {
	Kind       LockKind
	Exclusive  bool
	Unlock     bool
	Wait       bool
	Start, Len int64 // Record and OFD: from the beginning of the file; Len 0 is to its end
}

// Change is what happened to a watched file; bits.
type Change uint8

const (
	// Closed: the last descriptor that could write to a watched file was closed, and no mapping is left that could.
	Closed Change = 1 << iota
	// Modified: it was written or truncated.
	Modified
)

// Credentials decide what a process may do with files.
type Credentials struct {
	UID, GID int // fsuid and fsgid
	Groups   []int
	Umask    uint32

	capabilities uint64 // effective, of those that concern files; 0 in a user namespace of its own
}

// Status is how the command ended.
type Status struct {
	Code   int            // exit status, if Signal is 0
	Signal syscall.Signal // that killed it
	Core   bool
}

// Findings are what Probe saw this kernel do.
type Findings struct {
	Kernel     string // release
	Killable   bool   // a call that was received is not interrupted by signals (WAIT_KILLABLE_RECV)
	Inject     bool   // a descriptor can be put into the caller (ADDFD)
	ReadMemory string // how the caller's memory is read: "process_vm_readv" or "/proc/pid/mem"
	SyncWakeup bool   // caller and supervisor may take turns on one processor; without it calls take longer
	Children   bool   // a process's children can be listed; without it the parents of some processes stay unknown
}
