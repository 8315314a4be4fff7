//go:build unix

package sidecar

import (
	"os"

	"golang.org/x/sys/unix"
)

// writable asks whether this process might write a file. A rename over it asks for the directory only: it would put
// our file in the place of one that was made read-only on purpose, or is another user's.
func writable(path string) error {
	err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK, unix.AT_EACCESS)
	if err != nil {
		return &os.PathError{Op: "write", Path: path, Err: err}
	}
	return nil
}
