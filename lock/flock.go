package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// fileLock is flock on the lock file, with the in-process queue in front, and a lease on top where flock does not
// exclude.
type fileLock struct {
	flock *flock.Flock // nil: the filesystem has none
	lease *lease       // nil: flock is enough
	path  string
	leave func() // the queue
}

func acquireFile(ctx context.Context, target string, o options) (*Lock, error) {
	path := LockPath(target)
	ctx, cancel := withTimeout(ctx, o.timeout)
	defer cancel()
	leave, err := queueFor(path).enter(ctx, o.shared, o.timeout == 0)
	if err != nil {
		return nil, lockError(path, target, err, o)
	}
	for {
		held, err := lockFile(ctx, target, path, o)
		if err == nil {
			held.leave = leave
			return &Lock{path: path, held: held, record: recordSoon(target, o)}, nil
		}
		if o.inherit && errors.Is(err, ErrTimeout) && heldByAncestor(path, target) {
			leave()
			return &Lock{path: path, inherited: true}, nil
		}
		if errors.Is(err, errHeldAbove) && ctx.Err() == nil {
			continue // it has let go since
		}
		leave()
		return nil, lockError(path, target, err, o)
	}
}

// errHeldAbove: an ancestor holds it, so that waiting for it might never end.
var errHeldAbove = errors.New("held by an ancestor of this process")

func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, ErrTimeout)
}

// lockFile takes the flock of path. After it has it, path may name another file: the one that was locked was removed,
// and whoever comes next locks its successor. Then it starts again.
func lockFile(ctx context.Context, target, path string, o options) (*fileLock, error) {
	for {
		if err := makeLockFile(target, path); err != nil {
			if !errors.Is(err, errDirectory) {
				return nil, err
			}
			if err := waitForDirectory(ctx, path, o.timeout == 0); err != nil {
				return nil, err
			}
			continue
		}
		l := &fileLock{path: path, flock: flock.New(path, openFlag(path))}
		err := l.take(ctx, target, o)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // removed between making and opening it
		case noFlock(err):
			l.flock = nil
			excludes.Store(absolute(filepath.Dir(path)), false)
		case err != nil:
			return nil, err
		case l.check() != nil:
			_ = l.flock.Close()
			continue
		}
		if l.excludes() {
			return l, nil
		}
		if l.lease, err = takeLease(ctx, target, o); err != nil {
			return nil, errors.Join(err, l.closeFlock())
		}
		return l, nil
	}
}

// openFlag: flock needs no write access (flock(2)); another user's lock file may be readable only.
func openFlag(path string) flock.Option {
	f, err := os.OpenFile(path, os.O_RDWR|nonblock, 0)
	if err != nil {
		return flock.SetFlag(os.O_RDONLY | nonblock)
	}
	_ = f.Close()
	return flock.SetFlag(os.O_RDWR | nonblock)
}

// take waits in flock itself: the kernel serves waiters in turn, while polling starves some (one process got 1 turn
// where another got 1,238).
func (l *fileLock) take(ctx context.Context, target string, o options) error {
	try, block := l.flock.TryLock, l.flock.Lock
	if o.shared {
		try, block = l.flock.TryRLock, l.flock.RLock
	}
	ok, err := try()
	if err != nil {
		return errors.Join(err, l.flock.Close())
	}
	if ok {
		return nil
	}
	if o.timeout == 0 {
		return errors.Join(ErrTimeout, l.flock.Close())
	}
	if o.inherit && heldByAncestor(l.path, target) {
		return errors.Join(fmt.Errorf("%w: %w", ErrTimeout, errHeldAbove), l.flock.Close())
	}
	return WaitInKernel(ctx, try, block, l.flock.Close)
}

func (l *fileLock) check() error {
	if l.flock != nil {
		mine, err := l.flock.Stat()
		if err != nil {
			return err
		}
		there, err := os.Lstat(l.path)
		if err != nil || !there.Mode().IsRegular() || !os.SameFile(mine, there) {
			return errors.Join(ErrLost, err)
		}
	}
	if l.lease != nil {
		return l.lease.check()
	}
	return nil
}

func (l *fileLock) release() error {
	var err error
	if l.lease != nil {
		err = l.lease.release()
	}
	err = errors.Join(err, l.closeFlock())
	l.leave()
	return err
}

func (l *fileLock) closeFlock() error {
	if l.flock == nil {
		return nil
	}
	return l.flock.Close()
}

// errDirectory: Node's proper-lockfile makes a directory of the lock's name.
var errDirectory = errors.New("is a directory")

// makeLockFile makes the lock file if it is missing, with the target's bits whatever the umask, so that everybody who
// may write the target may lock it. Looking comes before creating: in a sticky directory the kernel refuses O_CREAT on
// another user's file (proc_sys_fs(5), protected_regular).
func makeLockFile(target, path string) error {
	for {
		info, err := os.Lstat(path)
		switch {
		case err == nil && info.Mode().IsRegular():
			return nil
		case err == nil && info.IsDir():
			return errDirectory
		case err == nil:
			return fmt.Errorf("%w: it is a %s", ErrForeign, typeName(info.Mode()))
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err = createLike(target, path); !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Another process was first: what it made may be a directory.
	}
}

// createLike makes an empty file with the target's bits, at no moment with more, and gives it to the target's owner.
func createLike(target, path string) error {
	info, statErr := os.Stat(target)
	perm := fs.FileMode(0o666) // as the umask leaves it: the target will be made so, too
	if statErr == nil {
		perm = filePerm(info)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	if statErr == nil {
		_ = f.Chmod(perm) // what the umask took
		giveTo(f, info)
	}
	return f.Close()
}

// filePerm are the bits of a file that belongs to the target: never more than the target's, but its owner may write.
func filePerm(target fs.FileInfo) fs.FileMode { return target.Mode().Perm()&0o666 | 0o600 }

func typeName(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "FIFO"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}

// proper-lockfile touches its directory every 5 s by default, and takes one for stale that is older than 10 s.
const (
	directoryStale = 10 * time.Second
	directoryPoll  = 50 * time.Millisecond
)

// waitForDirectory honours a proper-lockfile: there is nothing to wait in, so it looks again and again. A stale one is
// somebody else's to remove.
func waitForDirectory(ctx context.Context, path string, once bool) error {
	for {
		info, err := os.Lstat(path)
		if err != nil || !info.IsDir() {
			return nil
		}
		why := fmt.Errorf("it is a directory, as Node's proper-lockfile makes: %w", ErrTimeout)
		if age := time.Since(info.ModTime()); age > directoryStale {
			return fmt.Errorf("%w: it is a directory, as Node's proper-lockfile makes, and was not touched for %v: remove it if no such program runs",
				ErrForeign, age.Round(time.Second))
		}
		if once {
			return why
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), ErrTimeout) {
				return why
			}
			return context.Cause(ctx)
		case <-time.After(directoryPoll):
		}
	}
}

// lockError names the holder of path where waiting was in vain, and says what to do about other failures.
func lockError(path, target string, err error, o options) error {
	e := &Error{Op: "lock", Path: path, Err: err}
	switch {
	case o.unnamed && errors.Is(err, ErrTimeout):
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		e.Holder = findHolder(path, target)
		if e.Holder != nil && e.Holder.PID == os.Getpid() {
			e.Hint = "this very process: an Update inside an Update waits for itself"
		}
	case errors.Is(err, ErrForeign):
		e.Hint = "somebody put it at the lock file's name: remove it, if nothing needs it"
	case errors.Is(err, fs.ErrPermission), isReadOnly(err):
		e.Hint = "the lock file must be made beside the file: the directory has to be writable, or the lock file has to exist"
	case errors.Is(err, fs.ErrNotExist):
		e.Hint = "its directory must exist"
	}
	return e
}
