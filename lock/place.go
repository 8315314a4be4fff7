package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// LockPath is the lock file of target.
func LockPath(target string) string { return target + ".lock" }

// LeaseDir is where the lease of target is kept on a filesystem whose flock does not exclude.
func LeaseDir(target string) string {
	return filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".lease")
}

// GuardDir is the directory in which what belongs to target is kept.
func GuardDir(target string) string {
	return filepath.Join(filepath.Dir(target), "."+filepath.Base(target)+".guard")
}

// MakeGuardDir makes it: for its owner alone, or for those who may read the target; as the target's owner where
// permitted; ignored by Git. A symbolic link or a file of that name is refused, and what CheckGuardDir refuses.
func MakeGuardDir(target string) (created bool, err error) {
	path := GuardDir(target)
	perm := fs.FileMode(0o700)
	info, statErr := os.Stat(target)
	if statErr == nil {
		perm = dirPerm(info)
	}
	err = os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		there, err := os.Lstat(path)
		if err == nil && !there.IsDir() {
			err = &fs.PathError{Op: "mkdir", Path: path, Err: fmt.Errorf("%w: it is a %v", ErrForeign, there.Mode().Type())}
		}
		if err == nil {
			err = CheckGuardDir(target)
		}
		return false, err
	}
	if err != nil {
		return false, err
	}
	if statErr == nil {
		if dir, err := os.Open(path); err == nil {
			giveTo(dir, info)
			_ = dir.Close()
		}
	}
	if err := os.Chmod(path, perm); err != nil {
		return true, err
	}
	return true, os.WriteFile(filepath.Join(path, ".gitignore"), []byte("*\n"), perm&0o666)
}

// dirPerm lets those search a directory who may read the target.
func dirPerm(target fs.FileInfo) fs.FileMode {
	perm := target.Mode().Perm()
	return 0o700 | perm | perm&0o444>>2
}

// openDir opens a directory. os.Root keeps what is in it from leading out, but follows a symbolic link that somebody put in its
// own place: that is ErrForeign.
func openDir(dir string) (*os.Root, error) {
	there, err := os.Lstat(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(there, opened) {
		err = &fs.PathError{Op: "open", Path: dir, Err: ErrForeign}
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}
