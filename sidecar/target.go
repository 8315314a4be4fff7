package sidecar

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"jsonguard/internal/vfs"
)

// resolve follows symbolic links to the file itself, which need not exist: a program that opens a dangling link
// for writing creates what it points to, and so do we.
func resolve(target string) (string, error) {
	const limit = 40 // as the kernel's (path_resolution(7))
	path, err := filepath.Abs(target)
	if err != nil {
		return "", err
	}
	for range limit {
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = filepath.Join(dir, filepath.Base(path))
		to, err := os.Readlink(path)
		if err != nil {
			return path, nil // no link, or nothing there
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		path = to
	}
	return "", &fs.PathError{Op: "open", Path: target, Err: errors.New("too many symbolic links")}
}

func sameDir(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// checkTarget says whether the target is something that can be replaced by rename.
func (g *Guard) checkTarget() (vfs.Info, error) {
	info, err := g.parent.Stat(g.name)
	if err != nil {
		return info, g.fail("open", err, "")
	}
	if !info.Mode.IsRegular() {
		return info, g.fail("open", fmt.Errorf("%w: it is a %s", ErrTarget, kindOf(info.Mode)), "name a regular file")
	}
	if info.Links > 1 && !g.options.FollowLinks && info.Links > 1+g.tempLinks(info.Inode) {
		kept, err := g.keptLinks(info)
		if err != nil {
			return info, g.fail("open", err, "")
		}
		if info.Links <= 1+g.tempLinks(info.Inode)+kept {
			return info, nil
		}
		return info, g.fail("open", fmt.Errorf("%w: it has %d hard links", ErrTarget, info.Links),
			"a fold replaces the file, its other names would keep the old version; --follow-links accepts that")
	}
	return info, nil
}

// mayChange refuses a change to a file that the process could not write itself, and says whether it is missing: a change
// that is made against that is another one.
func (g *Guard) mayChange(op string) (missing bool, err error) {
	if g.seams.writable == nil {
		_, err := g.parent.Stat(g.name)
		return isMissing(err), ignoreMissing(err)
	}
	err = g.seams.writable()
	if err != nil && !isMissing(err) {
		return false, g.fail(op, errors.Unwrap(err), "the file is read-only for you; nothing was changed")
	}
	return err != nil, nil
}

// tempLinks counts the names of temporary files that the target still has: where the filesystem does not keep the two
// halves of a rename together, a power cut may leave both names.
func (g *Guard) tempLinks(inode uint64) (n uint64) {
	names, err := g.parent.Names()
	if err != nil {
		return 0
	}
	for _, name := range names {
		if info, err := g.parent.Stat(name); g.isTemp(name) && err == nil && info.Inode == inode {
			n++
		}
	}
	return n
}

// keptLinks counts the names that the target has in history/: between two steps of a fold there is one.
func (g *Guard) keptLinks(info vfs.Info) (uint64, error) {
	s, err := g.openStore(false)
	if err != nil {
		return 0, ignoreMissing(err)
	}
	defer s.close()
	return s.ownLinks(info)
}

func kindOf(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "FIFO"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	default:
		return "special file"
	}
}
