package lock

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Findings is what Probe found out about a directory's filesystem by trying.
type Findings struct {
	Excludes bool  // a second descriptor could not take a flock that the first held
	Err      error // why flock could not be tried or failed; nil where it worked
}

// Probe tries whether flock excludes in dir. It makes a file there and removes it.
func Probe(dir string) (Findings, error) {
	f, err := os.CreateTemp(dir, ".jsonguard-probe-*")
	if err != nil {
		return Findings{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	path, err := filepath.Abs(f.Name())
	if err != nil {
		return Findings{}, err
	}
	first, second := flock.New(path), flock.New(path)
	defer first.Close()
	defer second.Close()
	ok, err := first.TryLock()
	if err != nil || !ok {
		return Findings{Err: errors.Join(err, errors.New("a new file could not be locked"))}, nil
	}
	again, err := second.TryLock()
	return Findings{Excludes: !again && err == nil, Err: err}, nil
}
