//go:build linux

package session

import (
	"os"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// linked is a target that had other names (hard links) when we came to it, which --follow-links accepts. The first fold leaves
// them on the version there was then. To the programs of our tree they lead to the target nevertheless, as long as they
// are of that inode.
type linked struct {
	*target
	file *os.File // O_PATH: nobody else gets its number
}

// otherNames says whether a place has names beside the target's and ours.
func (t *target) otherNames(p *intercept.Place) bool {
	return p.Object != nil && p.Links > 1 && p.Links > 1+sidecar.OwnLinks(t.path, p.ID.Ino)
}

// knowLinks notes what the target's other names lead to. t.mu is held, or nobody else knows t.
func (t *target) knowLinks(p *intercept.Place) {
	if !t.tree.options.Sidecar.FollowLinks || !t.otherNames(p) {
		return
	}
	o := t.tree.objects
	o.Lock()
	defer o.Unlock()
	if o.linked[p.ID] != nil {
		return
	}
	fd, err := unix.FcntlInt(p.Object.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		o.linked[p.ID] = &linked{t, os.NewFile(uintptr(fd), t.path)}
		t.tree.due.Add(1) // looks by those names are never right by themselves
	}
}

// OtherNames says whether a target is known to have names that tell nothing.
func (t *Tree) OtherNames() bool {
	t.objects.RLock()
	defer t.objects.RUnlock()
	return len(t.objects.linked) > 0
}

// byOtherName finds the target whose other name leads to p.
func (t *Tree) byOtherName(p *intercept.Place) *target {
	t.objects.RLock()
	defer t.objects.RUnlock()
	if l := t.objects.linked[p.ID]; l != nil && (place{p.DirID, p.Name}) != l.key {
		return l.target
	}
	return nil
}

func (t *Tree) forgetLinks() {
	t.objects.Lock()
	defer t.objects.Unlock()
	for _, l := range t.objects.linked {
		_ = l.file.Close()
	}
	clear(t.objects.linked)
}
