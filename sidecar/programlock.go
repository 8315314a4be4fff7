package sidecar

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"jsonguard/internal/vfs"
)

// What a program has open of the target is a file of its own, so that its lock on it is a lock of its supervisor's on another file. That
// is given up where the supervisor is killed, while the program still has a moment to live and may close what it has written under the
// lock. So a supervisor notes in that file, whose lock it has, which session is its own, and takes that out before it gives the lock up.
// Who gets the lock and finds a session there waits until nothing of it is open.

// ProgramLock is the path of the file to lock for a program that locks the target itself: what it has open there is a file
// of its own, whose lock keeps nobody out.
func (s *Session) ProgramLock() string { return filepath.Join(s.g.GuardDir(), programLockName) }

// programLockName is the file whose flock stands for the one that programs take on the target itself.
const programLockName = "flock"

// NoteProgramLock notes in f, whose exclusive lock a program of the session gets, that it does.
func (s *Session) NoteProgramLock(f *os.File) error {
	_, err := f.WriteAt([]byte(s.id+"\n"), 0)
	return s.g.fail("lock", err, "")
}

// GiveProgramLock takes that out of f again, and gives the lock up.
func GiveProgramLock(f *os.File) {
	_ = f.Truncate(0) // if that fails, the next holder finds a session that has nothing open, or waits for it
	_ = f.Close()
}

// LastHolderEnded says of f, whose lock the caller has, whether nothing is open any more of a session that had it exclusively and was killed.
func (s *Session) LastHolderEnded(ctx context.Context, f *os.File) (ended bool, err error) {
	var noted [256]byte
	n, err := f.ReadAt(noted[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, s.g.fail("lock", err, "")
	}
	id := string(bytes.TrimSpace(noted[:n]))
	if id == s.id || !strings.HasPrefix(id, sessionPrefix) || filepath.Base(id) != id {
		return true, nil
	}
	err = s.excluded(ctx, func() error {
		dir, err := s.store.views.OpenDir(id)
		if isMissing(err) {
			ended = true
			return nil
		}
		if err != nil {
			return err
		}
		defer dir.Close()
		ended, err = nothingOpen(dir)
		return err
	})
	return ended, s.g.fail("lock", err, "")
}

// nothingOpen: a session's supervisor has ended, and all scratch files are closed. Nobody folds meanwhile.
func nothingOpen(dir vfs.Dir) (bool, error) {
	if used, err := inUse(dir); used || err != nil {
		return false, err
	}
	names, err := dir.Names()
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, scratchSuffix) {
			continue
		}
		f, err := dir.OpenFile(name, os.O_RDONLY, 0)
		if isMissing(err) {
			continue
		}
		if err != nil {
			return false, err
		}
		closed, err := f.TryLock()
		if err := errors.Join(err, f.Close()); err != nil || !closed {
			return false, err
		}
	}
	return true, nil
}
