package lock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"
)

// fileLock is flock on the lock file, with the in-process queue in front.
type fileLock struct {
	flock *flock.Flock
	path  string
	leave func() // the queue
}

func acquireFile(ctx context.Context, target string, o options) (*Lock, error) {
	path := LockPath(target)
	ctx, cancel := withTimeout(ctx, o.timeout)
	defer cancel()
	leave, err := queueFor(path).enter(ctx, o.shared, o.timeout == 0)
	if err != nil {
		return nil, timeoutError(path, target, err)
	}
	held, err := lockFile(ctx, target, path, o)
	if err == nil {
		held.leave = leave
		return &Lock{path: path, held: held, record: recordHolder(target, "")}, nil
	}
	leave()
	if o.inherit && errors.Is(err, ErrTimeout) && heldByAncestor(path) {
		return &Lock{path: path, inherited: true}, nil
	}
	return nil, timeoutError(path, target, err)
}

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
		l := &fileLock{path: path, flock: flock.New(path, openFlag(path), flock.SetPermissions(lockPerm(target)))}
		if err := l.take(ctx, o); errors.Is(err, fs.ErrNotExist) {
			continue // removed between making and opening it
		} else if err != nil {
			return nil, err
		}
		if l.check() == nil {
			return l, nil
		}
		_ = l.flock.Close()
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

// take waits in flock itself, in a goroutine: the kernel serves waiters in turn, while polling starves some (one
// process got 1 turn where another got 1,238). A waiter that gives up is left behind and lets go when it gets it.
func (l *fileLock) take(ctx context.Context, o options) error {
	try, wait := l.flock.TryLock, l.flock.Lock
	if o.shared {
		try, wait = l.flock.TryRLock, l.flock.RLock
	}
	ok, err := try()
	if err != nil {
		return errors.Join(err, l.flock.Close())
	}
	if ok {
		return nil
	}
	if o.timeout == 0 || o.inherit && heldByAncestor(l.path) {
		return errors.Join(ErrTimeout, l.flock.Close())
	}
	got := make(chan error, 1)
	go func() { got <- wait() }()
	select {
	case err := <-got:
		if err != nil {
			err = errors.Join(err, l.flock.Close())
		}
		return err
	case <-ctx.Done():
		go func() {
			<-got
			_ = l.flock.Close()
		}()
		return context.Cause(ctx)
	}
}

func (l *fileLock) check() error {
	mine, err := l.flock.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(l.path)
	if err != nil || !os.SameFile(mine, there) {
		return errors.Join(ErrLost, err)
	}
	return nil
}

func (l *fileLock) release() error {
	err := l.flock.Close()
	l.leave()
	return err
}

// errDirectory: Node's proper-lockfile makes a directory of the lock's name.
var errDirectory = errors.New("is a directory")

// makeLockFile makes the lock file if it is missing, with the target's bits whatever the umask, so that everybody who
// may write the target may lock it. Looking comes before creating: in a sticky directory the kernel refuses O_CREAT on
// another user's file (proc_sys_fs(5), protected_regular).
func makeLockFile(target, path string) error {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode().IsRegular():
		return nil
	case err == nil && info.IsDir():
		return errDirectory
	case err == nil:
		return fmt.Errorf("%w: it is a %v", ErrForeign, info.Mode().Type())
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was first; opening it finds out what it is
	}
	if err != nil {
		return err
	}
	if info, err := os.Stat(target); err == nil {
		_ = f.Chmod(info.Mode().Perm()&0o666 | 0o600)
		giveTo(f, info)
	}
	return f.Close()
}

func lockPerm(target string) fs.FileMode {
	if info, err := os.Stat(target); err == nil {
		return info.Mode().Perm()&0o666 | 0o600
	}
	return 0o666
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

// timeoutError names the holder of path where waiting was in vain, and what to do about other failures.
func timeoutError(path, target string, err error) error {
	e := &Error{Op: "lock", Path: path, Err: err}
	switch {
	case errors.Is(err, ErrTimeout):
		e.Holder = findHolder(path, target, "")
		if e.Holder != nil && e.Holder.PID == os.Getpid() {
			e.Hint = "this very process: an Update inside an Update waits for itself"
		}
	case errors.Is(err, fs.ErrPermission), isReadOnly(err):
		e.Hint = "the lock file must be made beside the file: the directory has to be writable, or the lock file has to exist"
	case errors.Is(err, fs.ErrNotExist):
		e.Hint = "its directory must exist"
	}
	return e
}
