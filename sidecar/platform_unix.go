//go:build unix

package sidecar

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the flock of a new file, which nobody else can hold yet. It is inherited with the descriptor.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
