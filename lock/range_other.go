//go:build !linux && !windows

package lock

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// lockRange: locks of the process (F_SETLK) would not exclude goroutines and end with the first close of any
// descriptor of the file, which is no lock to promise.
func lockRange(*os.File, span, bool) (bool, error) {
	return false, fmt.Errorf("locks on a pointer need open file description locks, which %s does not offer here: %w", runtime.GOOS, errors.ErrUnsupported)
}
