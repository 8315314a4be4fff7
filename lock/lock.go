// Package lock is a lock between processes for a file that they share. It obeys a context.
//
// The lock of results.json is flock(2) on results.json.lock, an empty file that is never removed. It is what Python's
// filelock and portalocker, gofrs/flock and flock(1) use on that name: they and this package exclude each other.
//
// It promises that of all processes and goroutines that Acquire the same file exclusively, one holds it at a time;
// that a process that dies, however, holds nothing any more; that waiting is fair enough that nobody starves; and that
// an error of waiting too long names who holds it, where that can be known.
//
// It is advisory: a program that does not ask is not kept out. It does not promise exclusion between containers that see
// different files under one name, or after somebody removed the lock file of a waiting crowd on a system without inodes.
// On a filesystem whose flock is missing or excludes nobody, which is found out by trying, a lease takes its place: among
// users of this package only, not fair, and a holder that dies keeps the others waiting for 10 s.
//
// With [At] the lock is on one JSON pointer instead of the file, for jobs that work on different records.
package lock

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DefaultTimeout is how long Acquire waits, unless Timeout says otherwise.
const DefaultTimeout = 30 * time.Second

// Sentinels, for errors.Is.
var (
	// ErrTimeout: somebody else held the lock for the whole timeout.
	ErrTimeout = errors.New("lock timeout")
	// ErrForeign: the lock's name is taken by something that is not a lock file of this kind.
	ErrForeign = errors.New("not a lock file")
	// ErrLost: the lock file was removed or replaced while we held it: others may hold the new one.
	ErrLost = errors.New("lock lost")
)

// Error is a lock that could not be had.
type Error struct {
	Op     string // "lock", "check"
	Path   string // of the lock file
	Holder *Holder
	Hint   string
	Err    error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err)
	if e.Holder != nil {
		text += ", held by " + e.Holder.String()
	}
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Option of Acquire.
type Option func(*options)

type options struct {
	shared  bool
	timeout time.Duration
	pointer *string
	inherit bool
	unnamed bool // nobody will read who holds it
}

// Shared lets other shared holders in, but for a lease, which has one holder.
func Shared() Option { return func(o *options) { o.shared = true } }

// Timeout is how long to wait; 0 tries once, which may find the lock held for a moment by a waiter that gave up.
func Timeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// At locks one RFC 6901 pointer instead of the file: exclusively against the same pointer, its ancestors and what is
// below it, not against its neighbours. It is a space of its own: it does not exclude holders of the file.
func At(pointer string) Option { return func(o *options) { o.pointer = &pointer } }

// Inherit goes on under the hold of an ancestor process, which waits for us, or of an open file that we got from it:
// taking turns with it would never end.
func Inherit() Option { return func(o *options) { o.inherit = true } }

// Lock is held until Release.
type Lock struct {
	path      string
	held      holding // nil when inherited
	record    func()  // takes the holder's record back
	inherited bool
}

// holding is a lock of either kind.
type holding interface {
	check() error
	release() error
}

// Acquire waits for the lock of target, as long as ctx and the timeout let it: 30 s without Timeout. The error is an
// *Error: ErrTimeout, or what ended ctx, with the holder where it is known; ErrForeign for something else at the lock
// file's name; or an error of the filesystem. target need not exist, its directory must.
func Acquire(ctx context.Context, target string, opts ...Option) (*Lock, error) {
	o := options{timeout: DefaultTimeout}
	for _, set := range opts {
		set(&o)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, &Error{Op: "lock", Path: LockPath(target), Err: err}
	}
	if o.pointer != nil {
		return acquirePointer(ctx, target, o)
	}
	return acquireFile(ctx, target, o)
}

// Try is Acquire that does not wait; ok is false where somebody else holds the lock. It does not find out who, which may
// take longer than the lock is held: who reads /proc/locks stops all who lock files.
func Try(target string, opts ...Option) (l *Lock, ok bool, err error) {
	l, err = Acquire(context.Background(), target, append(opts, Timeout(0), func(o *options) { o.unnamed = true })...)
	if errors.Is(err, ErrTimeout) {
		return nil, false, nil
	}
	return l, err == nil, err
}

// Release gives the lock back. Again is no error.
func (l *Lock) Release() error {
	if l.record != nil {
		l.record()
		l.record = nil
	}
	if l.held == nil {
		return nil
	}
	held := l.held
	l.held = nil
	return held.release()
}

// Check says whether the lock still excludes others: ErrLost when its file was removed or replaced, or its lease has
// another holder by now. Call it just before the step that the lock is for.
func (l *Lock) Check() error {
	if l.held == nil {
		return nil
	}
	if err := l.held.check(); err != nil {
		return &Error{Op: "check", Path: l.path, Err: err, Hint: "somebody removed the lock file, or this process was stopped for longer than its lease: do it again"}
	}
	return nil
}

// Inherited says that an ancestor process holds the lock, and not we.
func (l *Lock) Inherited() bool { return l.inherited }
