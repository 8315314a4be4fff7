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

// links are the other names of a target, where it is not guarded by them.
type links struct {
	said bool  // that it is not guarded
	text stamp // of the target when it was seen to have some: see sharesText
}

// refuseLinks says, once, that the target has other names and is therefore not guarded. What is written to it now is written in place, and
// nobody's base.
func (t *target) refuseLinks(p *intercept.Place) {
	if !t.links.said {
		t.links.said = true
		t.tree.warn("%s has %d hard links and is not guarded", t.path, p.Links)
	}
	if t.lone() {
		t.beginAnew()
	}
}

// sharesText notes that the file at p, which is the target or becomes it, has other names, or gets one. Who writes it by such a name
// changes the versions that we have of it, and is not seen. t.mu is held.
func (t *target) sharesText(p *intercept.Place) {
	if now := stampAt(p); now.id != t.links.text.id {
		t.links.text = now
	}
}

// lookForOtherWrites forgets what was known of a target that was written by another name since: it is no base any more, and what is there
// is its program's own. Where somebody outside of the tree has a hand on it, it is theirs.
func (t *target) lookForOtherWrites(p *intercept.Place) {
	if !t.named && !t.tree.options.Sidecar.FollowLinks && t.otherNames(p) {
		t.sharesText(p)
	}
	if t.links.text == (stamp{}) {
		return
	}
	var st unix.Stat_t
	if unix.Lstat(t.path, &st) != nil {
		return
	}
	now := stampOf(&st)
	switch {
	case now.id != t.links.text.id:
		t.links.text = stamp{}
	case now != t.links.text && t.lone():
		t.links.text = now
		t.beginAnew()
	}
}

// beginAnew forgets what programs knew of the target: it is of no use any more.
func (t *target) beginAnew() {
	t.heads, t.remade = NewHeads[*intercept.Process, *version](), true
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
