package vfs

import (
	"errors"
	"io/fs"
)

// RemoveAll removes what name is in parent, and if that is a directory all that is in it. A missing one is no error.
func RemoveAll(parent Dir, name string) error {
	err := parent.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	dir, oerr := parent.OpenDir(name)
	if oerr != nil {
		return errors.Join(err, oerr)
	}
	defer dir.Close()
	names, err := dir.Names()
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := RemoveAll(dir, n); err != nil {
			return err
		}
	}
	return parent.Remove(name)
}
