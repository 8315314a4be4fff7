//go:build !linux

package sidecar

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// bootID is unknown here: changes order by generation and clock.
func bootID() string { return "" }

// monotonic falls back to the wall clock; only the order of changes appended within one generation depends on it.
func monotonic() int64 { return time.Now().UnixNano() }

// umask cannot be read without changing it for every thread; this is what systems ship with.
func umask() fs.FileMode { return 0o022 }

// isMountPoint is not known here; there are no sessions either.
func isMountPoint(string) bool { return false }

func setTimes(*os.File, time.Time) error { return errors.ErrUnsupported }

func timesOf(*os.File) (accessed, written time.Time, err error) {
	return accessed, written, errors.ErrUnsupported
}

func leaveTimes(*os.File) {}
