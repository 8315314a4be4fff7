package sidecar

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockFile takes the lock of a new file, which nobody else can hold yet. A child does not inherit it: the view
// counts as live as long as this process does.
func lockFile(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{})
}
