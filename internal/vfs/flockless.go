package vfs

import (
	"io/fs"
	"os"
)

// WithoutFlock is dir, and what is opened through it, on a filesystem whose flock tells nothing: whoever made a file is
// taken for holding its lock, and everybody else finds it held. So an owner counts as living for ever, and nothing that
// may be his is removed.
func WithoutFlock(dir Dir) Dir { return flocklessDir{dir} }

type flocklessDir struct{ Dir }

func (d flocklessDir) OpenDir(name string) (Dir, error) {
	sub, err := d.Dir.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return flocklessDir{sub}, nil
}

func (d flocklessDir) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := d.Dir.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &flocklessFile{f, flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL}, nil
}

func (d flocklessDir) Link(oldName string, dst Dir, newName string) error {
	return d.Dir.Link(oldName, dst, newName)
}

// linkable is the directory that another one of its filesystem can link into.
func linkable(dst Dir) Dir {
	if to, ok := dst.(flocklessDir); ok {
		return to.Dir
	}
	return dst
}

type flocklessFile struct {
	File
	made bool // by this open
}

func (f *flocklessFile) TryLock() (bool, error) { return f.made, nil }

func (f *flocklessFile) Lock() error {
	if f.made {
		return nil
	}
	return &fs.PathError{Op: "flock", Path: "an open file", Err: fs.ErrInvalid} // nobody would ever be served
}

func (f *flocklessFile) Unlock() error { return nil }
