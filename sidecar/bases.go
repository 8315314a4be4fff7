package sidecar

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// Bases are the versions that a program may have made its own from, the newest first; nil is a missing document. Likely is
// the one that its thread was given last: see merge.MadeFrom.
type Bases struct {
	Versions [][]byte
	Likely   int
	Files    []io.ReaderAt // for Create: where not nil, it holds the version with this index, and does not change
	// Unread, for Create: not 0, if the program finds the first version in the file, and that is one of them only if it reads it there. Else
	// this one is the likely one.
	Unread int
}

// madeFrom is the index of the one that content was made from.
func (b Bases) madeFrom(content []byte, g *Guard) int {
	return merge.MadeFrom(content, b.Versions, b.Likely, g.format, g.Policy())
}

// copyBase is write for a base that is not in memory.
func (s *Session) copyBase(prefix string, from io.ReaderAt) (name string, err error) {
	hidden := prefix + unbornSuffix
	f, err := s.dir.OpenFile(hidden, os.O_RDWR|os.O_CREATE|os.O_EXCL, s.store.perm)
	if err != nil {
		return "", err
	}
	var sum hasher
	w := writer{f: f}
	err = eachPart(from, func(p []byte) error {
		sum.add(p)
		return w.write(p)
	})
	name = prefix + "." + sum.String()
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.dir.Rename(hidden, name)
	}
	return name, err
}

// madeFrom returns the base of a scratch file, chosen by what is in it; nil is a missing document.
func (g *Guard) madeFrom(dir vfs.Dir, a *about, content []byte) ([]byte, error) {
	var versions [][]byte
	for _, name := range a.Bases {
		var base []byte
		if name != "" {
			if filepath.Base(name) != name {
				return nil, fmt.Errorf("%w: base named %q", ErrDamaged, name)
			}
			raw, err := readFile(dir, name)
			if isMissing(err) {
				return nil, fmt.Errorf("%w: base: %w", ErrDamaged, err)
			}
			if err != nil {
				return nil, fmt.Errorf("%w: base: %w", errUnreadable, err)
			}
			if base = raw; base == nil {
				base = []byte{} // empty is not missing
			}
		}
		versions = append(versions, base)
	}
	if len(versions) == 0 {
		return nil, nil
	}
	return versions[Bases{Versions: versions, Likely: a.Likely}.madeFrom(content, g)], nil
}
