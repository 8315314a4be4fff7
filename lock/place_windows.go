package lock

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

const nonblock = 0

func isReadOnly(error) bool { return false }

// noFlock: the filesystem knows no LockFileEx, as some redirectors do not.
func noFlock(err error) bool {
	return errors.Is(err, windows.ERROR_INVALID_FUNCTION) || errors.Is(err, windows.ERROR_NOT_SUPPORTED)
}

// giveTo does nothing: files belong to the account that makes them.
func giveTo(*os.File, fs.FileInfo) {}

// CheckGuardDir refuses nothing: there is no sticky bit.
func CheckGuardDir(string) error { return nil }
