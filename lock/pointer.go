package lock

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A lock on a pointer is a set of byte ranges of one file, .NAME.guard/pointers. Each pointer has a region of it, whose
// place comes from a hash:
//
//	exclusive on the pointer      the whole region, for writing
//	shared on it                  the whole region, for reading
//	shared on something below     the region's first byte, for reading
//	exclusive on something below  one byte behind the first, chosen by a hash of what is locked, for writing
//
// So a reader of a place keeps out those who write below it, and these do not keep out each other. Two hashes that are
// the same (a chance of 2^-31) make two neighbours wait for each other, and no more. One file for all pointers leaves
// nothing behind for each of them.
type pointerLock struct {
	file *os.File
	path string
}

const pointersName = "pointers"

func acquirePointer(ctx context.Context, target string, o options) (*Lock, error) {
	pointer := *o.pointer
	steps, err := prefixes(pointer)
	if err != nil {
		return nil, &Error{Op: "lock", Path: pointer, Err: err}
	}
	path := filepath.Join(GuardDir(target), pointersName)
	ctx, cancel := withTimeout(ctx, o.timeout)
	defer cancel()
	held, err := lockPointer(ctx, target, path, steps, o)
	if o.inherit && errors.Is(err, ErrTimeout) && heldAbove(target, pointer, o.shared) {
		return &Lock{path: path, inherited: true}, nil
	}
	if err != nil {
		e := &Error{Op: "lock", Path: fmt.Sprintf("%s at %q", path, pointer), Err: err}
		if errors.Is(err, ErrTimeout) || errors.Is(err, context.DeadlineExceeded) {
			e.Holder = pointerHolder(target, pointer)
		}
		return nil, e
	}
	if held == nil {
		return &Lock{path: path, inherited: true}, nil
	}
	return &Lock{path: path, held: held, record: recordHolder(target, o, time.Now())}, nil
}

// lockPointer starts again when the file that it locked was removed meanwhile, as jsonguard clean does.
func lockPointer(ctx context.Context, target, path string, steps []string, o options) (holding, error) {
	for {
		if _, err := MakeGuardDir(target); err != nil {
			return nil, err
		}
		if !Excludes(target) {
			return lockAllPointers(ctx, path, o)
		}
		l, err := takeRanges(ctx, target, path, steps, o)
		switch {
		case errors.Is(err, errors.ErrUnsupported), noFlock(err):
			return lockAllPointers(ctx, path, o)
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case l.check() == nil:
			return l, nil
		}
		_ = l.release()
	}
}

// heldAbove says whether an ancestor process holds pointer or something above it, well enough for a lock of that kind.
func heldAbove(target, pointer string, shared bool) bool {
	return findNote(target, func(h *Holder) bool {
		return above(*h.Pointer, pointer) && (shared || !h.Shared) && isAncestor(h)
	}) != nil
}

// lockAllPointers stands in where ranges cannot be locked: one lock for all of them, which makes neighbours wait for
// each other, but keeps every promise else.
func lockAllPointers(ctx context.Context, path string, o options) (holding, error) {
	o.shared, o.pointer = false, nil
	l, err := acquireFile(ctx, path, o)
	if err != nil || l.inherited {
		return nil, err
	}
	return l.held, nil
}

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

// span is a byte range and how it is locked.
type span struct {
	at, length int64
	shared     bool
}

const regionSize = 1 << 31

// spans are what a lock on the last of steps takes.
func spans(steps []string, shared bool) []span {
	pointer := steps[len(steps)-1]
	var all []span
	for _, step := range steps {
		at := int64(hash(step)>>33) * regionSize // 2^31 regions
		switch {
		case step == pointer:
			all = append(all, span{at, regionSize, shared})
		case shared:
			all = append(all, span{at, 1, true})
		default:
			all = append(all, span{at + 1 + int64(hash(pointer)%(regionSize-1)), 1, false})
		}
	}
	return all
}

func hash(pointer string) uint64 {
	sum := sha256.Sum256([]byte(pointer))
	return binary.BigEndian.Uint64(sum[:])
}

// takeRanges goes from the document down, so that two that wait for each other always meet at the first byte that
// they share.
func takeRanges(ctx context.Context, target, path string, steps []string, o options) (*pointerLock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|nonblock, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createLike(target, path); err == nil || errors.Is(err, fs.ErrExist) {
			file, err = os.OpenFile(path, os.O_RDWR|nonblock, 0)
		}
	}
	if err != nil {
		return nil, err
	}
	l := &pointerLock{file, path}
	for _, place := range spans(steps, o.shared) {
		once := func() bool {
			return o.timeout == 0 || o.inherit && heldAbove(target, steps[len(steps)-1], o.shared)
		}
		if err := l.take(ctx, place, once); err != nil {
			return nil, err // take closed the file, or will
		}
	}
	return l, nil
}

func (l *pointerLock) take(ctx context.Context, place span, once func() bool) error {
	try := func() (bool, error) { return lockRange(l.file, place, false) }
	ok, err := try()
	if ok {
		return nil
	}
	if err != nil {
		return errors.Join(err, l.file.Close())
	}
	if once() {
		return errors.Join(ErrTimeout, l.file.Close())
	}
	return WaitInKernel(ctx, try, func() error {
		_, err := lockRange(l.file, place, true)
		return err
	}, l.file.Close)
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

// pointerHolder finds the record of a process that holds pointer, something above it or something below.
func pointerHolder(target, pointer string) *Holder {
	return findNote(target, func(h *Holder) bool { return above(*h.Pointer, pointer) || above(pointer, *h.Pointer) })
}

// findNote is the newest note of a holder of a pointer that is as wanted.
func findNote(target string, wanted func(*Holder) bool) (newest *Holder) {
	names, _ := filepath.Glob(filepath.Join(GuardDir(target), holdersName, "*"))
	for _, name := range names {
		h := readRecord(target, filepath.Join(holdersName, filepath.Base(name)))
		if h == nil || h.Pointer == nil || !wanted(h) {
			continue
		}
		if newest == nil || h.Since.After(newest.Since) {
			newest = h
		}
	}
	return newest
}

// above says whether a is b or an ancestor of it.
func above(a, b string) bool { return a == b || strings.HasPrefix(b, a+"/") }
