//go:build linux

package session

import (
	"context"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// alone folds what can be folded and says whether nobody else has a hand on the target: then what a program does to its
// name is real at once.
func (t *target) alone() (bool, error) {
	if !t.shared() || t.robbed {
		return true, nil
	}
	if err := t.need(); err != nil {
		return false, err
	}
	if _, overlay, err := t.current(); err != nil || overlay || len(t.writers) > 0 || !t.session.Alone() {
		return false, nil
	}
	// A fold that is under way would make again what the program is about to remove.
	return true, t.session.Rest(context.Background())
}

// lastToKnow says that no other process of the tree has the target in its hands, nor changed it since this one saw it, if it
// did: else what is written after the name was taken away is not all there is to be.
func (t *target) lastToKnow(by *intercept.Process) bool {
	if !t.named || !t.shared() { // a guessed file is as without us, where nobody outside the tree has a hand on it
		return !t.overtaken(by)
	}
	t.reap()
	for _, p := range t.heads.Knowing() {
		if p != by && len(t.heads.Seen(p)) > 0 {
			return false
		}
	}
	// In jq . f > tmp; install tmp f it was jq that saw it, and install that removes it before it makes it anew.
	return !t.overtaken(by)
}

// overtaken says that the target holds a document that a process has not seen, which knows an older one: what it writes behind a
// removal was made of that.
func (t *target) overtaken(by *intercept.Process) bool {
	seen := t.heads.Holds(by)
	if len(seen) == 0 {
		return false
	}
	on := t.onDisk()
	if on == missing || slices.ContainsFunc(seen, func(v *version) bool { return v == on || v.is(on.stamp) }) {
		return false
	}
	now, err := on.read()
	return err == nil && now != nil && sidecar.Complete(now, t.format) == nil && !slices.ContainsFunc(seen, func(v *version) bool {
		content, err := v.read()
		return err != nil || string(content) == string(now)
	})
}

// remove is a removal that only this tree sees, until it is known what comes after it.
func (t *target) remove() {
	t.gone, t.goneAt, t.emptied = true, t.onDisk(), nil
}

// Remove of a guarded file is real at once where nobody else uses it.
func (t *Tree) Remove(c *intercept.Call, p *intercept.Place, directory bool) error {
	t.callerOf(c)
	if x := t.guard(p.ID); directory && x != nil {
		return x.robbedOf()
	}
	if directory {
		return t.moveDir(p)
	}
	return t.unlink(t.callerOf(c), p)
}

func (t *Tree) unlink(c *caller, p *intercept.Place) error {
	if p.Object == nil && (t.inGuard(p.Path) || strings.HasSuffix(p.Name, ".jsonguard-tmp")) {
		return nil // a program that removes all there is has listed what a fold has removed since
	}
	x := t.target(p)
	if x == nil {
		t.forgetTemp(c, p, false)
	}
	if x == nil || p.Object != nil && !isRegular(p) {
		return intercept.Continue
	}
	if err := x.lockThere(); err != nil {
		return err
	}
	defer x.unlock()
	if now := x.there(p); now != nil { // it was closed a moment ago
		defer now.Close()
		p = &now.Place
	}
	if p.Object == nil {
		return intercept.Continue
	}
	if err := x.begin(c); err != nil {
		return err
	}
	alone, err := x.alone()
	if err != nil {
		return x.refuse(err)
	}
	if alone && x.lastToKnow(c.process) {
		// What is kept beside it goes when the directory does, or at the end: whoever removes a whole tree has listed it.
		x.emptied = nil
		return intercept.Continue
	}
	if err := permittedToRename(c, p); err != nil {
		return err
	}
	if err := x.need(); err != nil {
		return x.refuse(err)
	}
	x.remove()
	return nil
}

// inGuard says whether a path leads into the guard directory of one of our targets.
func (t *Tree) inGuard(path string) bool {
	if !strings.Contains(path, ".guard/") {
		return false
	}
	return slices.ContainsFunc(t.all(), func(x *target) bool { return strings.HasPrefix(path, sidecar.GuardDir(x.path)+"/") })
}

// moveDir is the removal, or the move, of a directory: what is kept beside the files in it must not be in the way, and is
// not taken along.
func (t *Tree) moveDir(p *intercept.Place) error {
	if p.Object == nil {
		return intercept.Continue
	}
	for _, x := range t.all() {
		if x.key.dir != p.ID {
			continue
		}
		x.mu.Lock()
		x.settle()
		if alone, err := x.alone(); err == nil && alone && x.session != nil {
			if x.gone { // it was removed by one who had not seen the last version
				t.note("%s: removed with its directory", x.path)
				_ = unix.Unlink(x.path)
				x.gone = false
			}
			x.leave()
		}
		x.unlock()
	}
	return intercept.Continue
}

// robbedOf: a program that removes all there is has come to the guard directory, and a fold may have put something back
// into it.
func (t *target) robbedOf() error {
	t.mu.Lock()
	defer t.unlock()
	t.settle()
	if alone, err := t.alone(); err != nil || !alone {
		return intercept.Continue
	}
	if t.session != nil {
		t.leave()
	}
	t.robbed = true
	if err := os.RemoveAll(sidecar.GuardDir(t.path)); err != nil {
		return intercept.Continue
	}
	return nil
}

func ignoreMissing(err error) error {
	if err == unix.ENOENT {
		return nil
	}
	return err
}
