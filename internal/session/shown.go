//go:build linux

package session

import (
	"os"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
)

// A fold replaces a file that, without us, its programs would write in place. cp(1), install(1) and mv(1) look at the file, open
// it, and give up when that is another one by then ("skipping file, as it was replaced while being copied"). So what a
// program opens is the file that it was shown just before, until it looks again.

// shown is what a process was shown of a target when it looked last.
type shown struct {
	id     intercept.ID
	opened intercept.ID // the object that it then got in its place; zero: none
}

// Replaceable: see intercept.Handler.
func (t *Tree) Replaceable() bool { return t.sessions.Load() > 0 }

// Disguised: see intercept.Handler.
func (t *Tree) Disguised() bool { return t.disguises.Load() > 0 }

// show opens what a process is to be shown of the target; nil: what there is.
func (t *target) show(to *intercept.Process) *os.File {
	t.forgetShown(to)
	if t.session == nil {
		return nil
	}
	at, err := t.place()
	if err != nil {
		return nil
	}
	_ = at.Dir.Close()
	t.shown[to] = &shown{id: at.ID}
	return at.Object
}

// gave notes what a process got that opened the target.
func (t *target) gave(to *intercept.Process, f *os.File) {
	s := t.shown[to]
	if s == nil {
		return
	}
	var st unix.Stat_t
	got := unix.Fstat(int(f.Fd()), &st) == nil
	id := intercept.ID{Dev: st.Dev, Ino: st.Ino}
	if !got || id == s.id || s.opened != (intercept.ID{}) {
		t.forgetShown(to) // of a second one nothing was shown
		return
	}
	s.opened = id
	t.tree.disguises.Add(1)
}

// disguise is what a process was shown before it got this object; zero: that is nothing else.
func (t *target) disguise(to *intercept.Process, object intercept.ID) intercept.ID {
	if s := t.shown[to]; s != nil && s.opened == object {
		return s.id
	}
	return intercept.ID{}
}

func (t *target) forgetShown(to *intercept.Process) {
	if s := t.shown[to]; s != nil && s.opened != (intercept.ID{}) {
		t.tree.disguises.Add(-1)
	}
	delete(t.shown, to)
}
