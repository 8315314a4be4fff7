package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

func syncFile(f *os.File) error { return f.Sync() }

// syncData keeps the descriptor from being closed, and its number from being used again, while it syncs.
func syncData(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if conn.Control(func(fd uintptr) {
		_, err = again(func() (int, error) { return 0, unix.Fdatasync(int(fd)) })
	}) != nil {
		err = os.ErrClosed
	}
	if err != nil {
		return &os.PathError{Op: "sync", Path: f.Name(), Err: err}
	}
	return nil
}
