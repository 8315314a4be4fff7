package lock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockRange locks a byte range with LockFileEx, which excludes other handles of this process too.
func lockRange(f *os.File, place span, wait bool) (bool, error) {
	var flags uint32
	if !place.shared {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	if !wait {
		flags |= windows.LOCKFILE_FAIL_IMMEDIATELY
	}
	from := windows.Overlapped{Offset: uint32(place.at), OffsetHigh: uint32(place.at >> 32)}
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, uint32(place.length), uint32(place.length>>32), &from)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}
