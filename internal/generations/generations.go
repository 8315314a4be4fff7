// Package generations keeps a directory of finished files whose readers, who know nothing of this package, see one set of
// them or the next, whoever is killed when.
//
//	DIR/current -> 7      the generation that readers take: DIR/current/*
//	DIR/7/…               its files, which are never changed again
//	DIR/6/…               the one before, for readers who are still at it
//	DIR/generations.lock  held by who makes the next one
//
// A generation is a directory. It is made beside the others, with hard links to the files that stay, and becomes the current
// one by the rename of a symbolic link, when all of it is on disk. A listing of DIR/current is therefore always whole: never
// two forms of the same data, never a file that is still being written. Files of different generations share no names unless
// they are the same file, so that a reader who lists one and opens in the next misses a file, loudly, and never reads one twice.
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
	lock *lock.Lock
	now  int // the current generation, 0: none
}

// Open makes the directory if it is missing, and waits for its lock.
func Open(ctx context.Context, path string, options ...lock.Option) (*Dir, error) {
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, err
	}
	if err := checkOurs(path); err != nil {
		return nil, err
	}
	held, err := lock.Acquire(ctx, filepath.Join(path, locked), options...)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, lock: held}
	if d.now, err = d.current(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	d.sweep()
	return d, nil
}

func checkOurs(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	lockFile, lease := filepath.Base(lock.LockPath(locked)), filepath.Base(lock.LeaseDir(locked))
	for _, e := range entries {
		if _, ok := number(e.Name()); !ok && !slices.Contains([]string{Link, temporary, lockFile, lease}, e.Name()) {
			return fmt.Errorf("%w: %s", ErrForeign, e.Name())
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
	to, err := os.Readlink(filepath.Join(d.path, Link))
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
func (d *Dir) Close() error { return d.lock.Release() }

// Number of the current generation, from 1; 0: there is none.
func (d *Dir) Number() int { return d.now }

// Files of the current generation, by their names, sorted.
func (d *Dir) Files() ([]string, error) {
	if d.now == 0 {
		return nil, nil
	}
	entries, err := os.ReadDir(d.of(d.now))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// Path of a file of the current generation.
func (d *Dir) Path(name string) string { return filepath.Join(d.of(d.now), name) }

func (d *Dir) of(generation int) string { return filepath.Join(d.path, strconv.Itoa(generation)) }

// Next is the generation that is being made.
type Next struct {
	dir    *Dir
	number int
}

// Begin makes the directory of the next generation.
func (d *Dir) Begin() (*Next, error) {
	n := &Next{dir: d, number: d.now + 1}
	return n, os.Mkdir(n.Dir(), 0o777)
}

// Dir is where its files are made, each whole and on disk before Publish.
func (n *Next) Dir() string { return n.dir.of(n.number) }

// Number of the generation.
func (n *Next) Number() int { return n.number }

// Keep takes a file of the current generation over, without copying it where the filesystem has links.
func (n *Next) Keep(name string) error {
	from, to := n.dir.Path(name), filepath.Join(n.Dir(), name)
	if err := os.Link(from, to); err == nil {
		return nil
	}
	return copyFile(from, to)
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
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
	if err := syncDir(n.Dir()); err != nil {
		return err
	}
	// Its name must be on disk before the link that leads there.
	if err := syncDir(n.dir.path); err != nil {
		return err
	}
	if n.dir.now == 0 {
		if err := syncDir(filepath.Dir(n.dir.path)); err != nil {
			return err
		}
	}
	temp := filepath.Join(n.dir.path, temporary)
	if err := os.Symlink(strconv.Itoa(n.number), temp); err != nil {
		return err
	}
	if err := n.dir.lock.Check(); err != nil {
		return err
	}
	if err := os.Rename(temp, filepath.Join(n.dir.path, Link)); err != nil {
		return err
	}
	n.dir.now = n.number
	if err := syncDir(n.dir.path); err != nil {
		return err
	}
	n.dir.sweep()
	return nil
}

// Abort drops it, if it was not published.
func (n *Next) Abort() {
	if n.dir.now != n.number {
		_ = os.RemoveAll(n.Dir())
	}
}

// sweep removes all generations but the current one and the one before, also what somebody who was killed had begun. What
// cannot be removed is for the next time.
func (d *Dir) sweep() {
	_ = os.Remove(filepath.Join(d.path, temporary))
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return
	}
	keep := []int{d.now, d.now - 1}
	for _, e := range entries {
		if n, ok := number(e.Name()); ok && !slices.Contains(keep, n) {
			_ = os.RemoveAll(d.of(n))
		}
	}
}
