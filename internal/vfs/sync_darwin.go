package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFile asks the drive itself: fsync on macOS leaves data in the drive's cache (fsync(2) there names F_FULLFSYNC
// for what other systems do). Filesystems that do not know the command get the plain one.
func syncFile(f *os.File) error {
	if _, err := unix.FcntlInt(f.Fd(), unix.F_FULLFSYNC, 0); err == nil {
		return nil
	}
	return f.Sync()
}

func syncData(f *os.File) error { return syncFile(f) }
