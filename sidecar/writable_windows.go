package sidecar

import (
	"io/fs"
	"os"
)

// writable asks for the read-only attribute.
func writable(path string) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o200 == 0 {
		err = &os.PathError{Op: "write", Path: path, Err: fs.ErrPermission}
	}
	return err
}
