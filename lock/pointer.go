package lock

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A lock on a pointer is a set of byte ranges of one file, .NAME.guard/pointers: one byte for each ancestor, shared,
// and one for the pointer itself. Where a byte lies comes from a hash; two pointers on one byte (a chance of 2^-62)
// would wait for each other, and no more. One file for all pointers leaves nothing behind for each of them.
type pointerLock struct {
	file *os.File
	path string
}

func acquirePointer(ctx context.Context, target string, o options) (*Lock, error) {
	steps, err := prefixes(*o.pointer)
	if err != nil {
		return nil, &Error{Op: "lock", Path: *o.pointer, Err: err}
	}
	if _, err := MakeGuardDir(target); err != nil {
		return nil, &Error{Op: "lock", Path: GuardDir(target), Err: err}
	}
	path := filepath.Join(GuardDir(target), "pointers")
	ctx, cancel := withTimeout(ctx, o.timeout)
	defer cancel()
	for {
		l, err := takeRanges(ctx, path, steps, o)
		if err != nil {
			e := &Error{Op: "lock", Path: path + " at " + quoted(*o.pointer), Err: err}
			if errors.Is(err, ErrTimeout) {
				e.Holder = anyHolder(path, target, steps)
			}
			return nil, e
		}
		if l.check() == nil {
			return &Lock{path: path, held: l, record: recordHolder(target, "pointer:"+*o.pointer)}, nil
		}
		_ = l.release()
	}
}

func quoted(pointer string) string { return fmt.Sprintf("%q", pointer) }

// prefixes lists a pointer's ancestors from the document down, and itself last.
func prefixes(pointer string) ([]string, error) {
	if pointer != "" && pointer[0] != '/' {
		return nil, fmt.Errorf("pointer %q must start with a slash: did you mean %q", pointer, "/"+pointer)
	}
	if left := strings.NewReplacer("~0", "", "~1", "").Replace(pointer); strings.Contains(left, "~") {
		return nil, fmt.Errorf("pointer %q: a tilde is written ~0, a slash in a name ~1 (RFC 6901)", pointer)
	}
	all := []string{""}
	for i := 1; i < len(pointer); i++ {
		if pointer[i] == '/' {
			all = append(all, pointer[:i])
		}
	}
	if pointer != "" {
		all = append(all, pointer)
	}
	return all, nil
}

func offset(pointer string) int64 {
	sum := sha256.Sum256([]byte(pointer))
	return int64(binary.BigEndian.Uint64(sum[:]) >> 2)
}

// takeRanges goes from the document down, so that two that wait for each other always meet at the first byte that
// they share.
func takeRanges(ctx context.Context, path string, steps []string, o options) (*pointerLock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|nonblock, 0o666)
	if err != nil {
		return nil, err
	}
	l := &pointerLock{file, path}
	for i, step := range steps {
		shared := o.shared || i < len(steps)-1
		if err := l.takeOne(ctx, offset(step), shared, o.timeout == 0); err != nil {
			return nil, err // takeOne closed the file, or will
		}
	}
	return l, nil
}

func (l *pointerLock) takeOne(ctx context.Context, at int64, shared, once bool) error {
	ok, err := lockRange(l.file, at, shared, false)
	if ok || err != nil {
		if err != nil {
			err = errors.Join(err, l.file.Close())
		}
		return err
	}
	if once {
		return errors.Join(ErrTimeout, l.file.Close())
	}
	got := make(chan error, 1)
	go func() {
		_, err := lockRange(l.file, at, shared, true)
		got <- err
	}()
	select {
	case err := <-got:
		if err != nil {
			err = errors.Join(err, l.file.Close())
		}
		return err
	case <-ctx.Done():
		go func() { // the call cannot be given up: let go when it got it
			<-got
			_ = l.file.Close()
		}()
		return context.Cause(ctx)
	}
}

func (l *pointerLock) check() error {
	mine, err := l.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(l.path)
	if err != nil || !os.SameFile(mine, there) {
		return errors.Join(ErrLost, err)
	}
	return nil
}

func (l *pointerLock) release() error { return l.file.Close() }

// anyHolder finds a record of a process that holds one of the pointers, or one below the last.
func anyHolder(path, target string, steps []string) *Holder {
	for i := len(steps) - 1; i >= 0; i-- {
		if h := findHolder(path, target, "pointer:"+steps[i]); h != nil {
			return h
		}
	}
	names, _ := filepath.Glob(filepath.Join(GuardDir(target), "holders", "*"))
	var newest *Holder
	for _, name := range names {
		h := readRecord(name)
		if h != nil && (newest == nil || h.Since.After(newest.Since)) {
			newest = h
		}
	}
	return newest
}
