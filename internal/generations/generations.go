// Package generations keeps a directory of finished files whose readers, who know nothing of this package, see one set of
// them or the next, whoever is killed when.
//
//	DIR/current -> 7      the generation that readers take: DIR/current/*
//	DIR/7/…               its files, which are never changed again
//	DIR/6/…               the one before, and those of the last minute, for readers who are still at them
//	DIR/generations.lock  held by who makes the next one
//
// A generation is a directory. It is made beside the others, with hard links to the files that stay, and becomes the current
// one by the rename of a symbolic link, when all of it is on disk. A listing of DIR/current is therefore always whole: never
// two forms of the same data, never a file that is still being written. Files of different generations share no names unless
// they are the same file, so that a reader who lists one and opens in the next misses a file, and never reads one twice. A reader
// to whom a file that is missing is no error (DuckDB leaves out of a listing what it cannot stat) resolves the link once, and reads
// DIR/7/*: a generation is listed whole or not at all, and stays for a minute after another became current.
//
// That holds through a power loss as well: what Publish has returned for is found again, whole.
//
// It does not merge what two makers do: the second waits for the first.
package generations

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
)

// Link is the name that readers take.
const Link = "current"

// locked is what is locked; there is no such file.
const locked = "generations"

// ErrForeign: the directory holds something else.
var ErrForeign = errors.New("the directory is not empty and has no generations")

// Dir is a directory of generations, locked.
type Dir struct {
	path string
	dir  vfs.Dir
	perm fs.FileMode // of generations: that of the directory
	held hold
	now  int // the current generation, 0: none
}

// hold is what is needed of a *lock.Lock.
type hold interface {
	Check() error
	Release() error
}

// Open makes the directory if it is missing, durably, and waits for its lock.
func Open(ctx context.Context, path string, options ...lock.Option) (*Dir, error) {
	if err := makeDir(path); err != nil {
		return nil, err
	}
	dir, err := vfs.OS.OpenDir(path)
	if err != nil {
		return nil, err
	}
	if err := checkOurs(dir); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	held, err := lock.Acquire(ctx, filepath.Join(path, locked), options...)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	d, err := open(path, dir, held)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err == nil && d.now == 0 { // who made it may have been killed before its name was on disk
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.perm = info.Mode().Perm()
	return d, nil
}

// open takes over what is locked, and closes it where it fails.
func open(path string, dir vfs.Dir, held hold) (d *Dir, err error) {
	d = &Dir{path: path, dir: dir, held: held}
	if d.now, err = d.current(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.sweep()
	return d, nil
}

// makeDir makes a directory, and those above it that are missing, durably.
func makeDir(path string) error {
	err := os.Mkdir(path, 0o777)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(path) != path {
		if err = makeDir(filepath.Dir(path)); err == nil {
			err = os.Mkdir(path, 0o777)
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // opening it says whether it is a directory
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := vfs.OS.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func checkOurs(dir vfs.Dir) error {
	names, err := dir.Names()
	if err != nil {
		return err
	}
	lockFile, lease := filepath.Base(lock.LockPath(locked)), filepath.Base(lock.LeaseDir(locked))
	for _, name := range names {
		if _, ok := number(strings.TrimPrefix(name, over)); !ok && !slices.Contains([]string{Link, temporary, lockFile, lease}, name) {
			return fmt.Errorf("%w: %s", ErrForeign, name)
		}
	}
	return nil
}

// number of a generation by the name of its directory.
func number(name string) (int, bool) {
	n, err := strconv.Atoi(name)
	return n, err == nil && n > 0 && strconv.Itoa(n) == name
}

func (d *Dir) current() (int, error) {
	to, err := d.dir.Readlink(Link)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, ok := number(to)
	if !ok {
		return 0, fmt.Errorf("%s leads to %q, which is no generation", filepath.Join(d.path, Link), to)
	}
	return n, nil
}

// Close gives the lock back.
func (d *Dir) Close() error { return errors.Join(d.held.Release(), d.dir.Close()) }

// Number of the current generation, from 1; 0: there is none.
func (d *Dir) Number() int { return d.now }

// Files of the current generation, by their names, sorted.
func (d *Dir) Files() ([]string, error) {
	if d.now == 0 {
		return nil, nil
	}
	dir, err := d.dir.OpenDir(strconv.Itoa(d.now))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Names()
}

// Path of a file of the current generation.
func (d *Dir) Path(name string) string {
	return filepath.Join(d.path, strconv.Itoa(d.now), name)
}

// Next is the generation that is being made.
type Next struct {
	of     *Dir
	dir    vfs.Dir
	number int
}

// Begin makes the directory of the next generation, as accessible as the one it is in.
func (d *Dir) Begin() (*Next, error) {
	n := &Next{of: d, number: d.now + 1}
	if err := d.dir.Mkdir(n.name(), d.perm); err != nil {
		return nil, err
	}
	var err error
	n.dir, err = d.dir.OpenDir(n.name())
	return n, err
}

func (n *Next) name() string { return strconv.Itoa(n.number) }

// Dir is where its files are made, each whole and on disk before Publish.
func (n *Next) Dir() string { return filepath.Join(n.of.path, n.name()) }

// Keep takes a file of the current generation over, without copying it where the filesystem has links.
func (n *Next) Keep(name string) error {
	from, err := n.of.dir.OpenDir(strconv.Itoa(n.of.now))
	if err != nil {
		return err
	}
	defer from.Close()
	if from.Link(name, n.dir, name) == nil {
		return nil
	}
	return copyFile(from, n.dir, name)
}

func copyFile(from, to vfs.Dir, name string) error {
	in, err := from.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := to.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// temporary is the next link, before it is the current one.
const temporary = ".current"

// Publish makes this generation the current one: for readers by one rename, after all of it is on disk. An error may leave
// it current without being durably so.
func (n *Next) Publish() error {
	if err := n.dir.Sync(); err != nil {
		return err
	}
	dir := n.of.dir
	if err := dir.Symlink(n.name(), temporary); err != nil {
		return err
	}
	// The names of the generation and of the link to it must be on disk before the link is the current one: a filesystem
	// may know the new entry before what it leads to.
	if err := dir.Sync(); err != nil {
		return err
	}
	if err := n.of.held.Check(); err != nil {
		return err
	}
	if err := dir.Rename(temporary, Link); err != nil {
		return err
	}
	n.of.now = n.number
	if err := dir.Sync(); err != nil {
		return err
	}
	n.of.sweep()
	return n.dir.Close()
}

// Abort drops it, if it was not published.
func (n *Next) Abort() {
	if n.of.now != n.number {
		_ = n.dir.Close()
		_ = vfs.RemoveAll(n.of.dir, n.name())
	}
}

// grace is how long a generation stays after another has taken its place, for who has found out its number and is about to list it
// and to open its files.
var grace = time.Minute

// over is in front of the name of a generation that is being removed: what is left of it is not to be taken for a whole one.
const over = "."

// sweep removes the generations that were not current for some time, and what somebody who was killed had begun. What cannot be
// removed is for the next time.
func (d *Dir) sweep() {
	_ = d.dir.Remove(temporary)
	names, err := d.dir.Names()
	if err != nil {
		return
	}
	var old []string
	for _, name := range names {
		if n, ok := number(name); ok && d.isOver(n) {
			old = append(old, name)
		} else if _, ok := number(strings.TrimPrefix(name, over)); ok && strings.HasPrefix(name, over) {
			_ = vfs.RemoveAll(d.dir, name)
		}
	}
	for _, name := range old {
		if d.dir.Rename(name, over+name) == nil {
			_ = vfs.RemoveAll(d.dir, over+name)
		}
	}
}

// isOver says whether a generation was not the current one for some time, or never was.
func (d *Dir) isOver(n int) bool {
	if n >= d.now-1 {
		return n > d.now
	}
	next, err := d.dir.Stat(strconv.Itoa(n + 1)) // the one that took its place, just after its last change
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) // it was over before
	}
	age := time.Since(next.MTime)
	return age > grace || age < -grace // or the clock was put back
}
