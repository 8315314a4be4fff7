package lock

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"
)

// ProbePrefix begins the name of the file that a probe makes; one that was killed leaves it.
const ProbePrefix = ".jsonguard-probe-"

// excludes remembers for each directory whether flock excludes there (bool). Filesystems are not expected to change
// under a running process.
var excludes sync.Map

// Findings is what Probe found out about a directory's filesystem by trying.
type Findings struct {
	Excludes bool  // a second descriptor could not take a flock that the first held
	Err      error // why flock could not be tried or failed; nil where it worked
}

// Probe tries whether flock excludes in dir, which is no symbolic link. It makes a file there and removes it; whatever becomes of
// that name meanwhile, nothing is made or removed anywhere else.
func Probe(dir string) (Findings, error) {
	root, err := openDir(dir)
	if err != nil {
		return Findings{}, err
	}
	defer root.Close()
	name := ProbePrefix + rand.Text()
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Findings{}, err
	}
	defer root.Remove(name)
	defer f.Close()
	path := filepath.Join(absolute(dir), name)
	first := flock.New(path, flock.SetFlag(os.O_RDWR)) // without O_CREATE
	defer first.Close()
	ok, err := first.TryLock()
	if errors.Is(err, fs.ErrNotExist) {
		return Findings{}, err // dir is another one by now
	}
	if err != nil || !ok {
		return Findings{Err: errors.Join(err, errors.New("a new file could not be locked"))}, nil
	}
	refused, err := refusesSecond(path)
	return Findings{Excludes: refused, Err: err}, nil
}

// Excludes says whether flock excludes in the directory of target, which is tried once for each directory and process.
// False means that Acquire holds a lease there, and that a flock of your own keeps nobody out. Where nothing can be
// tried, flock is believed. What it has to make for that, and removes, it makes in the guard directory if there is one.
func Excludes(target string) bool {
	dir := absolute(filepath.Dir(target))
	if known, ok := excludes.Load(dir); ok {
		return known.(bool)
	}
	found, err := Probe(GuardDir(target))
	if real, rerr := filepath.EvalSymlinks(dir); errors.Is(err, fs.ErrNotExist) && rerr == nil {
		found, err = Probe(real)
	}
	if err != nil {
		return true
	}
	excludes.Store(dir, found.Excludes)
	return found.Excludes
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// excludes tries it on the lock that was just taken, so that finding out leaves no file behind.
func (l *fileLock) excludes() bool {
	dir := absolute(filepath.Dir(l.path))
	if known, ok := excludes.Load(dir); ok {
		return known.(bool)
	}
	refused, err := refusesSecond(l.path)
	if err != nil || !refused && l.check() != nil {
		return true // replaced in this moment: ask again at the next lock
	}
	excludes.Store(dir, refused)
	return refused
}

// refusesSecond: the flock of path is held, so that another descriptor must not get it.
func refusesSecond(path string) (bool, error) {
	second := flock.New(path, openFlag(path))
	defer second.Close()
	got, err := second.TryLock()
	return !got && err == nil, err
}
