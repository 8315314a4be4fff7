//go:build unix

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// OS is the real filesystem.
var OS FS = osFS{}

type osFS struct{}

func (osFS) OpenDir(path string) (Dir, error) {
	return openDirAt(unix.AT_FDCWD, path, path, 0)
}

func openDirAt(at int, name, path string, flag int) (Dir, error) {
	fd, err := again(func() (int, error) {
		return unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|flag, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &osDir{os.NewFile(uintptr(fd), path)}, nil
}

// again repeats a call that a signal interrupted; network filesystems return EINTR from open (signal(7)).
func again(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// osDir works on a descriptor: what is done in it happens in this directory, whatever its path names by then.
type osDir struct{ file *os.File }

func (d *osDir) fd() int               { return int(d.file.Fd()) }
func (d *osDir) Path() string          { return d.file.Name() }
func (d *osDir) at(name string) string { return filepath.Join(d.Path(), name) }

func (d *osDir) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: d.at(name), Err: err}
}

func element(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') {
		return unix.EINVAL
	}
	return nil
}

func (d *osDir) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if err := element(name); err != nil {
		return nil, d.fail("open", name, err)
	}
	flag |= unix.O_NOFOLLOW | unix.O_CLOEXEC
	if flag&os.O_CREATE == 0 {
		flag |= unix.O_NONBLOCK // a FIFO would wait for its other end (fifo(7)); regular files do not care
	}
	fd, err := again(func() (int, error) { return unix.Openat(d.fd(), name, flag, uint32(perm.Perm())) })
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	if flag&unix.O_NONBLOCK != 0 { // it was for open; package os would try to have the file polled, and make a poller for that
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flag&unix.O_APPEND); err != nil {
			return nil, errors.Join(d.fail("open", name, err), unix.Close(fd))
		}
	}
	f := &osFile{os.NewFile(uintptr(fd), d.at(name))}
	if flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL {
		if err := f.SetMode(perm); err != nil {
			return nil, errors.Join(err, f.Close(), d.Remove(name))
		}
	}
	return f, nil
}

func (d *osDir) OpenDir(name string) (Dir, error) {
	if err := element(name); err != nil {
		return nil, d.fail("open", name, err)
	}
	return openDirAt(d.fd(), name, d.at(name), unix.O_NOFOLLOW)
}

func (d *osDir) Mkdir(name string, perm fs.FileMode) error {
	if err := element(name); err != nil {
		return d.fail("mkdir", name, err)
	}
	if err := unix.Mkdirat(d.fd(), name, uint32(perm.Perm())); err != nil {
		return d.fail("mkdir", name, err)
	}
	made, err := d.OpenDir(name)
	if err != nil {
		return err
	}
	defer made.Close()
	return d.fail("chmod", name, made.(*osDir).file.Chmod(perm)) // the umask reduced it
}

func (d *osDir) Stat(name string) (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Info{}, d.fail("stat", name, err)
	}
	return infoOf(&st), nil
}

func (d *osDir) Inode(name string) (uint64, error) {
	inode, err := inodeAt(d.fd(), name)
	return inode, d.fail("stat", name, err)
}

func statInode(dir int, name string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st.Ino, err
}

func infoOf(st *unix.Stat_t) Info {
	return Info{
		Size: st.Size, Mode: modeOf(uint32(st.Mode)), MTime: time.Unix(st.Mtim.Unix()),
		Dev: uint64(st.Dev), Inode: st.Ino, Links: uint64(st.Nlink), UID: int(st.Uid), GID: int(st.Gid),
	}
}

// modeOf is st_mode as package fs has it (inode(7)).
func modeOf(m uint32) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	case unix.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case unix.S_IFSOCK:
		mode |= fs.ModeSocket
	case unix.S_IFBLK:
		mode |= fs.ModeDevice
	case unix.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	}
	if m&unix.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if m&unix.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if m&unix.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

func (d *osDir) Readlink(name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(d.fd(), name, buf)
	if err != nil {
		return "", d.fail("readlink", name, err)
	}
	return string(buf[:n]), nil
}

func (d *osDir) Symlink(target, name string) error {
	if err := element(name); err != nil {
		return d.fail("symlink", name, err)
	}
	return d.fail("symlink", name, unix.Symlinkat(target, d.fd(), name))
}

func (d *osDir) Rename(oldName, newName string) error {
	if err := errors.Join(element(oldName), element(newName)); err != nil {
		return d.fail("rename", newName, err)
	}
	return d.fail("rename", newName, unix.Renameat(d.fd(), oldName, d.fd(), newName))
}

func (d *osDir) Link(oldName string, dst Dir, newName string) error {
	to := d
	if dst != nil {
		to = linkable(dst).(*osDir)
	}
	return d.fail("link", oldName, unix.Linkat(d.fd(), oldName, to.fd(), newName, 0))
}

func (d *osDir) Remove(name string) error {
	if err := element(name); err != nil {
		return d.fail("remove", name, err)
	}
	err := unix.Unlinkat(d.fd(), name, 0)
	// unlink(2) of a directory: EISDIR on Linux, EPERM as POSIX says.
	if errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EPERM) {
		switch info, serr := d.Stat(name); {
		case errors.Is(serr, fs.ErrNotExist): // another removed it meanwhile
			err = unix.ENOENT
		case serr == nil && info.Mode.IsDir():
			err = unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR)
		}
	}
	return d.fail("remove", name, err)
}

func (d *osDir) Names() ([]string, error) {
	// A descriptor of its own: the offset of a directory stream is shared by all that use the description.
	fd, err := again(func() (int, error) {
		return unix.Openat(d.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, d.fail("list", "", err)
	}
	stream := os.NewFile(uintptr(fd), d.Path())
	defer stream.Close()
	names, err := stream.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (d *osDir) Sync() error { return syncFile(d.file) }

func (d *osDir) Chown(name string, uid, gid int) error {
	return d.fail("chown", name, unix.Fchownat(d.fd(), name, uid, gid, unix.AT_SYMLINK_NOFOLLOW))
}

func (d *osDir) Close() error { return d.file.Close() }

type osFile struct{ *os.File }

func (f *osFile) Sync() error     { return syncFile(f.File) }
func (f *osFile) SyncData() error { return syncData(f.File) }

func (f *osFile) Stat() (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	return infoOf(&st), nil
}

func (f *osFile) TryLock() (bool, error) {
	err := f.flock(unix.LOCK_EX | unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

func (f *osFile) Lock() error   { return f.flock(unix.LOCK_EX) }
func (f *osFile) Unlock() error { return f.flock(unix.LOCK_UN) }

func (f *osFile) flock(how int) error {
	_, err := again(func() (int, error) { return 0, unix.Flock(int(f.Fd()), how) })
	if err != nil {
		return &fs.PathError{Op: "flock", Path: f.Name(), Err: err}
	}
	return nil
}

func (f *osFile) SetMode(perm fs.FileMode) error { return f.Chmod(perm) }
