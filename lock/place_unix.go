//go:build unix

package lock

import (
	"errors"
	"io/fs"
	"os"
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
