package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"jsonguard/internal/vfs"
)

// newFile is a file that gets its name when it is whole and on disk. Until then it has a hidden name beside it, and is
// locked while its maker lives, so that the next one can tell what a dead one left.
type newFile struct {
	vfs.File
	dir     vfs.Dir
	base    string
	temp    string
	keep    *fs.FileMode // of the file that it replaces
	settled bool
}

// create begins a new file at name, whose mode is that of the file it will replace, or what the umask leaves of 0666. may is
// asked whether a file that is there may be replaced.
func createFile(fsys vfs.FS, name string, may func(old io.Reader) error) (*newFile, error) {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	dir, err := fsys.OpenDir(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	f := &newFile{dir: dir, base: filepath.Base(name)}
	if err := f.open(may); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return f, nil
}

func (f *newFile) open(may func(old io.Reader) error) error {
	if err := f.look(may); err != nil {
		return err
	}
	f.sweep()
	for {
		var random [8]byte
		_, _ = rand.Read(random[:]) // it cannot fail
		f.temp = f.prefix() + hex.EncodeToString(random[:]) + tempSuffix
		file, err := f.dir.OpenFile(f.temp, os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			return err
		}
		locked, err := file.TryLock()
		if err == nil && locked && f.isNamed(file) {
			f.File = file
			return nil
		}
		if err != nil { // no locks here: then nobody takes it for a dead one's either
			f.File = file
			return nil
		}
		_ = file.Close() // somebody took it for a dead one's before it was locked
	}
}

const tempSuffix = ".tmp"

// prefix of the temporary names. A name must stay within 255 bytes.
func (f *newFile) prefix() string {
	const room = 255 - len("..") - 2*8 - len(tempSuffix)
	return "." + f.base[:min(len(f.base), room)] + "."
}

func (f *newFile) isNamed(file vfs.File) bool {
	own, err := file.Stat()
	named, nerr := f.dir.Stat(f.temp)
	return err == nil && nerr == nil && own.Inode == named.Inode
}

// look finds out what is there by now.
func (f *newFile) look(may func(old io.Reader) error) error {
	info, err := f.dir.Stat(f.base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode.IsRegular() {
		return fmt.Errorf("there is something that is no file: %w", fs.ErrExist)
	}
	mode := info.Mode.Perm()
	f.keep = &mode
	old, err := f.dir.OpenFile(f.base, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer old.Close()
	return may(old)
}

// sweep removes what makers that were killed left.
func (f *newFile) sweep() {
	names, err := f.dir.Names()
	if err != nil {
		return
	}
	for _, name := range names {
		if !strings.HasPrefix(name, f.prefix()) || !strings.HasSuffix(name, tempSuffix) || len(name) != len(f.prefix())+16+len(tempSuffix) {
			continue
		}
		file, err := f.dir.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if locked, err := file.TryLock(); err == nil && locked {
			_ = f.dir.Remove(name)
		}
		_ = file.Close()
	}
}

// publish gives the file its name, durably.
func (f *newFile) publish() error {
	err := error(nil)
	if f.keep != nil {
		err = f.SetMode(*f.keep)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.dir.Rename(f.temp, f.base)
	}
	if err != nil {
		return err
	}
	f.settled = true
	return f.dir.Sync()
}

// close drops the file, unless it was published.
func (f *newFile) close() {
	if !f.settled {
		_ = f.dir.Remove(f.temp)
	}
	_ = f.File.Close()
	_ = f.dir.Close()
}
