package sidecar

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
)

// Where flock excludes nobody, package lock holds a lease on top of it. Two things here use flock by themselves:
// guard/lock, which becomes a lease too, and the sign that a sidecar's owner lives, which is given up (vfs.WithoutFlock).

// leasedFile is guard/lock there.
type leasedFile struct {
	vfs.File
	path string
	held *lock.Lock
}

// never is longer than anybody waits: waitLock has its own clock, and leaves behind who waits longer.
const never = 100 * 365 * 24 * time.Hour

func (f *leasedFile) TryLock() (bool, error) {
	l, ok, err := lock.Try(f.path)
	f.held = l
	return ok, err
}

func (f *leasedFile) Lock() (err error) {
	f.held, err = lock.Acquire(context.Background(), f.path, lock.Timeout(never))
	return err
}

func (f *leasedFile) Unlock() error {
	if f.held == nil {
		return nil
	}
	held := f.held
	f.held = nil
	return held.Release()
}

func (f *leasedFile) Close() error { return errors.Join(f.Unlock(), f.File.Close()) }

// Check is lock.Lock's.
func (f *leasedFile) Check() error {
	if f.held == nil {
		return nil
	}
	return f.held.Check()
}

// leaseNames are what the lease of guard/lock, and the one that stands in for locks on pointers, leave in the guard
// directory.
func isLeaseName(name string) bool {
	for _, of := range []string{guardLockName, "pointers"} {
		if name == lock.LockPath(of) || name == filepath.Base(lock.LeaseDir(of)) {
			return true
		}
	}
	return false
}
