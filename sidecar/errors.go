package sidecar

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// Sentinels that callers test with errors.Is. The timeout of a lock is lock.ErrTimeout, text that is
// no JSON is a *merge.SyntaxError, and what the system refused unwraps to an fs error.
var (
	// ErrRejected: a change was refused (its place has the wrong type, the target was removed, a policy
	// said fail); it is in quarantine, the changes of others went on.
	ErrRejected = errors.New("change rejected")
	// ErrDamaged: the guard directory is not what a guard wrote; nothing was changed.
	ErrDamaged = errors.New("guard directory damaged")
	// ErrNotDurable: the change is visible but an fsync failed, so that a power cut may undo it.
	ErrNotDurable = errors.New("visible, not known durable")
	// ErrPending: the change is safe in a sidecar, but not yet in the target.
	ErrPending = errors.New("kept pending")
	// ErrTarget: the target is something that cannot be guarded (a directory, a device, a FIFO, a hard link).
	ErrTarget = errors.New("cannot be guarded")
	// ErrReentry: the function of an Update called for another change of the same file, which would have waited for itself.
	ErrReentry = errors.New("a change inside an Update of the same file")
	// ErrTorn: a writer left an incomplete document; it is in quarantine, the last good version stays.
	ErrTorn = errors.New("incomplete write")
)

// Error is a failed operation on a target.
type Error struct {
	Op   string // "open", "fold", "journal", …
	Path string
	Hint string // what to do; may be empty
	Err  error
}

func (e *Error) Error() string {
	if e.Hint == "" {
		return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err)
	}
	return fmt.Sprintf("%s %s: %v (%s)", e.Op, e.Path, e.Err, e.Hint)
}

func (e *Error) Unwrap() error { return e.Err }

func ignoreMissing(err error) error {
	if isMissing(err) {
		return nil
	}
	return err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func ignoreExists(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

func ignoreTarget(err error) error {
	if errors.Is(err, ErrTarget) {
		return nil
	}
	return err
}

func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
