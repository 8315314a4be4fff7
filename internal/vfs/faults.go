package vfs

import (
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
)

// Call is one call to a filesystem, as [NewFaults] shows it before it is made.
type Call struct {
	N    int    // 1 for the first call of this filesystem
	Op   string // "open", "create", "mkdir", "stat", "inode", "readlink", "symlink", "rename", "link", "remove", "list", "sync", "chown", "read", "write", "truncate", "trylock", "lock", "unlock", "copymeta", "chmod", "close"
	Path string // of the file or directory; of a rename, the new name
}

// Changes says whether the call can change what is in the page cache or on disk.
func (c Call) Changes() bool {
	switch c.Op {
	case "create", "mkdir", "symlink", "rename", "link", "remove", "sync", "chown", "write", "truncate", "copymeta", "chmod":
		return true
	}
	return false
}

// Fault is what happens to a call instead. The zero value: nothing, it is made.
type Fault struct {
	Err   error // the call fails with it; a Sync of a Mem then loses what it should have written
	Short bool  // a write writes half; with Err nil it says so and no more
}

// NewFaults wraps a filesystem so that before is asked about each call. before may also panic or never return: the
// process is killed then, and the call is not made. Closing always closes, as close(2) does, whatever it returns.
//
// Lock of a wrapped file tries again and again, and each try is a call: before decides whether it is made.
func NewFaults(fsys FS, before func(Call) Fault) FS {
	return &faults{fsys: fsys, before: before}
}

const createOrTruncate = os.O_CREATE | os.O_TRUNC

type faults struct {
	fsys   FS
	before func(Call) Fault
	calls  atomic.Int64
}

func (x *faults) ask(op, path string) Fault {
	return x.before(Call{N: int(x.calls.Add(1)), Op: op, Path: path})
}

func (x *faults) fail(op, path string) error {
	if f := x.ask(op, path); f.Err != nil {
		return &fs.PathError{Op: op, Path: path, Err: f.Err}
	}
	return nil
}

func (x *faults) OpenDir(path string) (Dir, error) {
	if err := x.fail("open", path); err != nil {
		return nil, err
	}
	d, err := x.fsys.OpenDir(path)
	if err != nil {
		return nil, err
	}
	return &faultyDir{x, d}, nil
}

type faultyDir struct {
	x *faults
	d Dir
}

func (d *faultyDir) Path() string          { return d.d.Path() }
func (d *faultyDir) at(name string) string { return strings.TrimSuffix(d.d.Path(), "/") + "/" + name }

func (d *faultyDir) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	op := "open"
	if flag&createOrTruncate != 0 {
		op = "create"
	}
	if err := d.x.fail(op, d.at(name)); err != nil {
		return nil, err
	}
	f, err := d.d.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{d.x, f, d.at(name)}, nil
}

func (d *faultyDir) OpenDir(name string) (Dir, error) {
	if err := d.x.fail("open", d.at(name)); err != nil {
		return nil, err
	}
	sub, err := d.d.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &faultyDir{d.x, sub}, nil
}

func (d *faultyDir) Mkdir(name string, perm fs.FileMode) error {
	if err := d.x.fail("mkdir", d.at(name)); err != nil {
		return err
	}
	return d.d.Mkdir(name, perm)
}

func (d *faultyDir) Stat(name string) (Info, error) {
	if err := d.x.fail("stat", d.at(name)); err != nil {
		return Info{}, err
	}
	return d.d.Stat(name)
}

func (d *faultyDir) Inode(name string) (uint64, error) {
	if err := d.x.fail("inode", d.at(name)); err != nil {
		return 0, err
	}
	return d.d.Inode(name)
}

func (d *faultyDir) Readlink(name string) (string, error) {
	if err := d.x.fail("readlink", d.at(name)); err != nil {
		return "", err
	}
	return d.d.Readlink(name)
}

func (d *faultyDir) Symlink(target, name string) error {
	if err := d.x.fail("symlink", d.at(name)); err != nil {
		return err
	}
	return d.d.Symlink(target, name)
}

func (d *faultyDir) Rename(oldName, newName string) error {
	if err := d.x.fail("rename", d.at(newName)); err != nil {
		return err
	}
	return d.d.Rename(oldName, newName)
}

func (d *faultyDir) Link(oldName string, dst Dir, newName string) error {
	if err := d.x.fail("link", d.at(oldName)); err != nil {
		return err
	}
	if to, ok := linkable(dst).(*faultyDir); ok {
		dst = to.d
	}
	return d.d.Link(oldName, dst, newName)
}

func (d *faultyDir) Remove(name string) error {
	if err := d.x.fail("remove", d.at(name)); err != nil {
		return err
	}
	return d.d.Remove(name)
}

func (d *faultyDir) Names() ([]string, error) {
	if err := d.x.fail("list", d.d.Path()); err != nil {
		return nil, err
	}
	return d.d.Names()
}

func (d *faultyDir) Sync() error { return d.x.sync(d.d, d.d.Path()) }

func (x *faults) sync(f interface{ Sync() error }, path string) error {
	return x.syncing(f, path, f.Sync)
}

// syncing f: what fails loses, on a Mem, what it should have written.
func (x *faults) syncing(f any, path string, do func() error) error {
	err := x.fail("sync", path)
	if err == nil {
		return do()
	}
	if m, ok := f.(interface{ failSync() }); ok {
		m.failSync()
	}
	return err
}

func (d *faultyDir) Chown(name string, uid, gid int) error {
	if err := d.x.fail("chown", d.at(name)); err != nil {
		return err
	}
	return d.d.Chown(name, uid, gid)
}

func (d *faultyDir) Close() error { return d.d.Close() }

type faultyFile struct {
	x    *faults
	f    File
	path string
}

func (f *faultyFile) Read(p []byte) (int, error) {
	if err := f.x.fail("read", f.path); err != nil {
		return 0, err
	}
	return f.f.Read(p)
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.x.fail("read", f.path); err != nil {
		return 0, err
	}
	return f.f.ReadAt(p, off)
}

func (f *faultyFile) Write(p []byte) (int, error) { return f.write(p, f.f.Write) }

func (f *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.f.WriteAt(p, off) })
}

func (f *faultyFile) write(p []byte, write func([]byte) (int, error)) (n int, err error) {
	fault := f.x.ask("write", f.path)
	switch {
	case fault.Short:
		n, err = write(p[:len(p)/2])
	case fault.Err == nil:
		return write(p)
	}
	if err == nil && fault.Err != nil {
		err = &fs.PathError{Op: "write", Path: f.path, Err: fault.Err}
	}
	return n, err
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.x.fail("truncate", f.path); err != nil {
		return err
	}
	return f.f.Truncate(size)
}

func (f *faultyFile) Sync() error { return f.x.sync(f.f, f.path) }

func (f *faultyFile) SyncData() error {
	return f.x.syncing(f.f, f.path, f.f.SyncData)
}

func (f *faultyFile) Stat() (Info, error) {
	if err := f.x.fail("stat", f.path); err != nil {
		return Info{}, err
	}
	return f.f.Stat()
}

func (f *faultyFile) TryLock() (bool, error) {
	if err := f.x.fail("trylock", f.path); err != nil {
		return false, err
	}
	return f.f.TryLock()
}

func (f *faultyFile) Lock() error {
	for tries := 0; ; tries++ {
		if err := f.x.fail("lock", f.path); err != nil {
			return err
		}
		if ok, err := f.f.TryLock(); ok || err != nil {
			return err
		}
		if tries < 1000 {
			runtime.Gosched()
		} else {
			time.Sleep(time.Millisecond)
		}
	}
}

func (f *faultyFile) Unlock() error {
	if err := f.x.fail("unlock", f.path); err != nil {
		return err
	}
	return f.f.Unlock()
}

func (f *faultyFile) CopyMeta(from File) (lost []string) {
	if fault := f.x.ask("copymeta", f.path); fault.Err != nil {
		return []string{"all (" + fault.Err.Error() + ")"}
	}
	if wrapped, ok := from.(*faultyFile); ok {
		from = wrapped.f
	}
	return f.f.CopyMeta(from)
}

func (f *faultyFile) SetMode(perm fs.FileMode) error {
	if err := f.x.fail("chmod", f.path); err != nil {
		return err
	}
	return f.f.SetMode(perm)
}

func (f *faultyFile) Close() error {
	fault := f.x.fail("close", f.path)
	if err := f.f.Close(); err != nil {
		return err
	}
	return fault
}
