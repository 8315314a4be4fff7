//go:build linux

package session

import (
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// isRegular: there is a regular file at a place.
func isRegular(p *intercept.Place) bool { return p.Object != nil && p.Mode&unix.S_IFMT == unix.S_IFREG }

// reopened is the target, for a program that opens through /proc what it has of it already.
type reopened struct{ intercept.Place }

// meant is the target that a place without its name stands for: one by another name of it, or a descriptor of it that is opened
// again; nil if it stands for itself.
func (t *Tree) meant(p *intercept.Place) *reopened {
	if !isRegular(p) {
		return nil
	}
	if x := t.byOtherName(p); x != nil {
		if at, err := x.place(); err == nil && at.Object != nil {
			at.Given = p.Given
			return at
		}
		return nil
	}
	return t.heldOpen(p)
}

// heldOpen: a descriptor of the target, opened again through /proc/self/fd, is of a version that was replaced since, or of a
// file that only we know. To write there would be lost, and to read there no base. It stands for the name that it was opened
// by, unless a program took that away.
func (t *Tree) heldOpen(p *intercept.Place) *reopened {
	if !p.Magic || t.scratch(p.ID) != nil {
		return nil
	}
	for _, x := range t.all() {
		if p.Path != x.path+" (deleted)" && !strings.HasPrefix(p.Path, sidecar.GuardDir(x.path)+"/") {
			continue
		}
		if again, err := x.place(); err == nil {
			again.Given = p.Given
			return again
		}
	}
	return nil
}

// there puts what was closed where the name is that a call found nothing behind: whoever makes a file exclusively, or links
// one, has to find it.
func (t *target) there(p *intercept.Place) *reopened {
	if p.Object != nil || t.gone || t.wrote == t.folded {
		return nil
	}
	t.foldNow()
	now, err := t.place()
	if err != nil {
		return nil
	}
	now.Given, now.Via = p.Given, p.Via
	return now
}

// place looks the target up by its own name.
func (t *target) place() (*reopened, error) {
	const flags = unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW
	r := &reopened{intercept.Place{DirID: t.key.dir, Name: t.key.name, Path: t.path}}
	dir, err := unix.Open(filepath.Dir(t.path), flags|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	r.Dir = os.NewFile(uintptr(dir), filepath.Dir(t.path))
	object, err := unix.Openat(dir, t.key.name, flags, 0)
	if err != nil {
		r.Close()
		return nil, err
	}
	r.Object = os.NewFile(uintptr(object), t.path)
	var st, in unix.Stat_t
	if err = unix.Fstat(object, &st); err == nil {
		err = unix.Fstat(dir, &in)
	}
	if err == nil && (intercept.ID{Dev: in.Dev, Ino: in.Ino}) != t.key.dir {
		err = unix.ENOENT // its directory was moved away
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	r.ID, r.Mode, r.Links = intercept.ID{Dev: st.Dev, Ino: st.Ino}, st.Mode, uint64(st.Nlink)
	return r, nil
}

// Close closes what the place holds open.
func (r *reopened) Close() {
	_ = r.Dir.Close()
	if r.Object != nil {
		_ = r.Object.Close()
	}
}
