//go:build unix

package lock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// nonblock keeps an open from waiting for the other end of a FIFO that somebody put at the lock's name, and nofollow
// from locking what a planted symbolic link points to.
const nonblock = unix.O_NONBLOCK | unix.O_NOFOLLOW

func isReadOnly(err error) bool { return errors.Is(err, unix.EROFS) }

// noFlock: the filesystem knows no flock (FUSE says ENOSYS, NFS without its lock daemon ENOLCK).
func noFlock(err error) bool {
	return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOLCK)
}

// giveTo makes the target's owner the owner of f, which only root may; others keep it, which the mode allows for.
func giveTo(f *os.File, target fs.FileInfo) {
	if st, ok := target.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		_ = f.Chown(int(st.Uid), int(st.Gid))
	}
}

// CheckGuardDir refuses a guard directory that somebody keeps who may not write the target: its owner could take changes out of
// it that were acknowledged, and put records into it that others believe. Where a directory has no sticky bit, whoever may make
// something in it may replace the target as well. A missing one is nil; the error is fs.ErrPermission.
func CheckGuardDir(target string) error {
	path := GuardDir(target)
	guard, err := os.Lstat(path)
	if err != nil {
		return ignoreMissing(err)
	}
	parent, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if parent.Mode()&fs.ModeSticky == 0 {
		return nil
	}
	keeper := ownerOf(guard)
	if keeper == 0 || keeper == os.Geteuid() || keeper == ownerOf(parent) {
		return nil
	}
	switch file, err := os.Stat(target); {
	case err == nil && (keeper == ownerOf(file) || file.Mode().Perm()&0o022 != 0):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return &Error{
		Op: "open", Path: path, Err: fmt.Errorf("%w: it belongs to user %d, who may not write the file", fs.ErrPermission, keeper),
		Hint: "somebody else made it in a directory that is open to everybody: have it removed",
	}
}

func ownerOf(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}
