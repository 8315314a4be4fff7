package lock

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// lockRange locks a byte range of an open file description (F_OFD_SETLK, fcntl_locking(2)): unlike a lock of the process,
// it excludes other goroutines and outlives the close of another descriptor of the file.
func lockRange(f *os.File, place span, wait bool) (bool, error) {
	kind := int16(unix.F_WRLCK)
	if place.shared {
		kind = unix.F_RDLCK
	}
	command := unix.F_OFD_SETLK
	if wait {
		command = unix.F_OFD_SETLKW
	}
	for {
		err := unix.FcntlFlock(f.Fd(), command, &unix.Flock_t{Type: kind, Whence: io.SeekStart, Start: place.at, Len: place.length})
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES):
			return false, nil
		default:
			return false, &os.PathError{Op: "fcntl", Path: f.Name(), Err: err}
		}
	}
}
