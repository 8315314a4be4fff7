package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/natefinch/atomic"
	"golang.org/x/sys/windows"
)

// OS is the real filesystem. Weaker than elsewhere: directories are used by path and not by handle, symbolic links at
// a final name are looked for before opening and not refused by the open itself, and there is no fsync of a directory:
// MoveFileEx with MOVEFILE_WRITE_THROUGH stands in for it.
var OS FS = osFS{}

type osFS struct{}

func (osFS) OpenDir(path string) (Dir, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: windows.ERROR_DIRECTORY}
	}
	return osDir(path), nil
}

type osDir string

func (d osDir) Path() string { return string(d) }

func (d osDir) at(name string) (string, error) {
	path := filepath.Join(string(d), name)
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, `/\:`) {
		return "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	}
	return path, nil
}

// direct is at, for names that must not be a symbolic link.
func (d osDir) direct(name string) (string, error) {
	path, err := d.at(name)
	if err != nil {
		return "", err
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return "", &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
	}
	return path, nil
}

func (d osDir) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	path, err := d.direct(name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

func (d osDir) OpenDir(name string) (Dir, error) {
	path, err := d.direct(name)
	if err != nil {
		return nil, err
	}
	return OS.OpenDir(path)
}

func (d osDir) Mkdir(name string, perm fs.FileMode) error {
	path, err := d.at(name)
	if err != nil {
		return err
	}
	return os.Mkdir(path, perm)
}

func (d osDir) Stat(name string) (Info, error) {
	path := string(d)
	for step := range strings.SplitSeq(name, "/") {
		var err error
		if path, err = osDir(path).at(step); err != nil {
			return Info{}, err
		}
	}
	info, err := os.Lstat(path)
	if err != nil {
		return Info{}, err
	}
	if !info.Mode().IsRegular() {
		return Info{Size: info.Size(), Mode: info.Mode(), MTime: info.ModTime(), Links: 1, UID: -1, GID: -1}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	return (&osFile{f}).Stat()
}

func (d osDir) Inode(name string) (uint64, error) {
	info, err := d.Stat(name)
	return info.Inode, err
}

func (d osDir) Readlink(name string) (string, error) {
	path, err := d.at(name)
	if err != nil {
		return "", err
	}
	return os.Readlink(path)
}

func (d osDir) Symlink(target, name string) error {
	path, err := d.at(name)
	if err != nil {
		return err
	}
	return os.Symlink(target, path)
}

func (d osDir) Rename(oldName, newName string) error {
	from, err := d.at(oldName)
	if err != nil {
		return err
	}
	to, err := d.at(newName)
	if err != nil {
		return err
	}
	// Who has the file open without FILE_SHARE_DELETE keeps it from being replaced; such reads are mostly short.
	const patience = time.Second
	for until, nap := time.Now().Add(patience), time.Millisecond; ; nap *= 2 {
		err := atomic.ReplaceFile(from, to)
		inUse := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED)
		if !inUse || time.Now().Add(nap).After(until) {
			return err
		}
		time.Sleep(nap)
	}
}

func (d osDir) Link(oldName string, dst Dir, newName string) error {
	from, err := d.at(oldName)
	if err != nil {
		return err
	}
	if dst == nil {
		dst = d
	}
	to, err := dst.(osDir).at(newName)
	if err != nil {
		return err
	}
	return os.Link(from, to)
}

func (d osDir) Remove(name string) error {
	path, err := d.at(name)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

func (d osDir) Names() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, err
}

// Sync does nothing: Windows has no call for it.
func (d osDir) Sync() error { return nil }

// Chown does nothing: files belong to the account that makes them.
func (d osDir) Chown(string, int, int) error { return nil }

func (d osDir) Close() error { return nil }

type osFile struct{ *os.File }

func (f *osFile) SyncData() error { return f.Sync() }

func (f *osFile) Stat() (Info, error) {
	info, err := f.File.Stat()
	if err != nil {
		return Info{}, err
	}
	out := Info{Size: info.Size(), Mode: info.Mode(), MTime: info.ModTime(), Links: 1, UID: -1, GID: -1}
	var by windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &by); err != nil {
		return Info{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	out.Dev, out.Links = uint64(by.VolumeSerialNumber), uint64(by.NumberOfLinks)
	out.Inode = uint64(by.FileIndexHigh)<<32 | uint64(by.FileIndexLow)
	out.MTime = time.Unix(0, by.LastWriteTime.Nanoseconds())
	return out, nil
}

// The lock is on one byte far behind the end of the file: LockFileEx is mandatory, and readers must go on reading.
var lockRange = windows.Overlapped{OffsetHigh: 0x7fffffff}

func (f *osFile) lock(flags uint32) error {
	at := lockRange
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &at)
}

func (f *osFile) TryLock() (bool, error) {
	err := f.lock(windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}

func (f *osFile) Lock() error { return f.lock(windows.LOCKFILE_EXCLUSIVE_LOCK) }

func (f *osFile) Unlock() error {
	at := lockRange
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &at)
}

// CopyMeta keeps the read-only attribute; access control lists and alternate streams are not copied.
func (f *osFile) CopyMeta(from File) (lost []string) {
	info, err := from.Stat()
	if err == nil {
		err = f.Chmod(info.Mode.Perm())
	}
	if err != nil {
		return []string{"read-only attribute (" + err.Error() + ")"}
	}
	return nil
}

func (f *osFile) SetMode(perm fs.FileMode) error { return f.Chmod(perm) }
