//go:build linux

package session

import (
	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
)

// Link: another name for a guarded file is a copy of it, because the file itself is replaced again and again, and what was closed is in
// it; of a guessed one that nobody else has a hand on it is the link that it is bare. A link of another file onto its name is a new
// version.
func (t *Tree) Link(c *intercept.Call, from, to *intercept.Place) error {
	return t.link(t.callerOf(c), from, to)
}

func (t *Tree) link(c *caller, from, to *intercept.Place) error {
	source, x := t.target(from), t.target(to)
	if !isRegular(from) || source == x {
		return intercept.Continue
	}
	if source != nil {
		if err := source.lockThere(); err != nil {
			return err
		}
		source.settleEndings()
		source.foldNow()
		known := source
		if !source.named && source.lone() && source.wrote == source.folded {
			source.sharesText(from)
			source = nil
		}
		known.unlock()
	}
	switch {
	case source == nil && x == nil:
		return intercept.Continue
	case x != nil:
		x.mu.Lock()
		defer x.unlock()
		x.settle()
		if now := x.there(to); now != nil {
			defer now.Close()
			to = &now.Place
		}
		if to.Object != nil && !x.gone {
			return unix.EEXIST
		}
		if !x.gone && !x.named && x.lone() && x.wrote == x.folded && (source == nil || !source.named) {
			x.starting(c.process)
			x.madeAnew(c, from)
			x.sharesText(from)
			return intercept.Continue
		}
		if err := permittedToRename(c, to); err != nil {
			return err
		}
		content, err := x.contentOf(c, from, nil)
		if err != nil {
			return err
		}
		if err := x.begin(c); err != nil {
			return err
		}
		if err := x.publish(c, content, !x.gone, from.Mode, modified(from.Object)); err != nil {
			return err
		}
		x.foldNow() // a name is for others to see
		return nil
	}
	if err := source.lockThere(); err != nil {
		return err
	}
	defer source.unlock()
	if !source.shared() && !source.named {
		return intercept.Continue
	}
	if to.Object != nil {
		return unix.EEXIST
	}
	if err := permittedToRename(c, to); err != nil {
		return err
	}
	return source.copyTo(c, from, to)
}

// Symlink in the place of a guarded file is what it is without us.
func (t *Tree) Symlink(*intercept.Call, string, *intercept.Place) error { return intercept.Continue }
