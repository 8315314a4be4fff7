//go:build linux

package session

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// Pending: see intercept.Handler.
func (t *Tree) Pending() bool { return t.due.Load() > 0 }

// Stat: a program that closed what it wrote finds the file as it left it, or as a merge made it of that. A new file that it
// has not closed yet is there for it alone.
func (t *Tree) Stat(c *intercept.Call, p *intercept.Place) (*os.File, error) {
	if x := t.byOtherName(p); x != nil {
		return t.statAs(x)
	}
	if f := t.making(c.Process, p); f != nil {
		return f, nil
	}
	if err := t.upToDate(p); err != intercept.Continue {
		return nil, err
	}
	if x := t.find(p); x != nil {
		x.mu.Lock()
		defer x.unlock()
		if f := x.show(c.Process); f != nil {
			return f, nil
		}
	}
	return nil, intercept.Continue
}

// statAs shows the target to who looks at it by another name.
func (t *Tree) statAs(x *target) (*os.File, error) {
	at, err := x.place()
	if err != nil {
		return nil, intercept.Continue
	}
	if err := t.upToDate(&at.Place); err != intercept.Continue {
		at.Close()
		return nil, err
	}
	at.Close()
	if at, err = x.place(); err != nil { // by now it may be another file
		return nil, intercept.Continue
	}
	_ = at.Dir.Close()
	return at.Object, nil
}

// making opens what a process writes where nothing is yet.
func (t *Tree) making(by *intercept.Process, p *intercept.Place) *os.File {
	x := t.find(p)
	if x == nil {
		return nil
	}
	x.mu.Lock()
	defer x.unlock()
	x.settle()
	if p.Object != nil && !x.gone {
		return nil
	}
	i := slices.IndexFunc(x.writers, func(w *writer) bool { return w.process == by && !w.closed })
	if i < 0 {
		return nil
	}
	f, err := x.writers[i].scratch.Open()
	if err != nil {
		return nil
	}
	return f
}

// Touch is about the file itself: what was written to it has to be there first, and the file, if its process is only about
// to write it.
func (t *Tree) Touch(c *intercept.Call, p *intercept.Place) error {
	if x := t.target(p); x != nil {
		x.touches(p)
	}
	scratch := t.making(c.Process, p)
	if scratch == nil || p.Object != nil {
		return t.upToDate(p)
	}
	defer scratch.Close()
	info, err := scratch.Stat()
	if err != nil {
		return err
	}
	f, err := openAt(t.callerOf(c), p, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, uint32(info.Mode().Perm()))
	if errors.Is(err, unix.EEXIST) {
		return t.upToDate(p) // another one has made it since
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return intercept.Continue
}

// upToDate puts what was closed into a file that somebody asks for by name, if no lock has to be waited for.
func (t *Tree) upToDate(p *intercept.Place) error {
	x := t.find(p)
	if x == nil {
		return intercept.Continue
	}
	x.mu.Lock()
	defer x.unlock()
	x.settleEndings()
	if x.gone {
		return unix.ENOENT
	}
	x.foldNow()
	return intercept.Continue
}

// listing is told of a directory that may be listed: what was closed is in it then, and what is kept beside a file that nobody
// named goes, if it is of no use any more. Who removes a whole tree has listed it.
func (t *Tree) listing(p *intercept.Place) {
	for _, x := range t.all() {
		if x.key.dir != p.ID {
			continue
		}
		x.mu.Lock()
		x.settleEndings()
		x.foldNow()
		if !x.named && x.session != nil && x.lone() && x.wrote == x.folded && !x.gone && len(x.partial)+len(x.flocks) == 0 {
			if err := x.session.Rest(context.Background()); err == nil {
				x.leave()
			}
		}
		x.unlock()
	}
}

// Behind: what a program closed is in the file before a program that starts goes on, and before one that wrote it, or whose
// descendant did, opens something else for writing.
func (t *Tree) Behind(c *intercept.Call, begins bool) {
	t.callerOf(c)
	t.behind(c.Process, begins)
}

func (t *Tree) behind(p *intercept.Process, begins bool) {
	for _, x := range t.all() {
		x.mu.Lock()
		if x.session != nil && len(x.writers) > 0 || x.wrote > x.folded {
			x.settle()
			if begins || descends(x.lastBy, p) {
				x.settleEndings()
				x.foldNow()
			}
		}
		x.unlock()
	}
}

// descends says whether a process is another one, or comes of it.
func descends(p, from *intercept.Process) bool {
	for ; p != nil; p = p.Parent {
		if p == from {
			return true
		}
	}
	return false
}

// foldNow folds what was closed, if no program's lock has to be waited for.
func (t *target) foldNow() {
	if t.wrote == t.folded || t.session == nil {
		return
	}
	patient := t.tried != t.wrote // once for each change, where a program has the lock
	t.tried = t.wrote
	done, result, err := t.session.Try(context.Background(), t.own(), patient)
	t.note(result, t.failure)
	switch {
	case err != nil:
		t.tree.note("%s: %v", t.path, err)
	case done:
		t.folded = t.wrote
		t.taken(slices.Clone(t.pending), result.Published)
	}
}

// Identity: to a program that writes the target, its scratch file is the target. vim compares the file that it has opened
// with the one that the path names, and does not write when they differ.
func (t *Tree) Identity(c *intercept.Call, d intercept.Descriptor) intercept.ID {
	x, ours := (*target)(nil), true
	if w := t.scratch(d.ID); w != nil {
		x = w.t
	} else if x = t.targetOf(d); x == nil {
		return intercept.ID{}
	} else {
		ours = strings.HasPrefix(d.Path, sidecar.GuardDir(x.path)+"/") // a reader's, with what is pending
	}
	x.mu.Lock()
	shown := x.disguise(c.Process, d.ID)
	x.unlock()
	if shown != (intercept.ID{}) || !ours {
		return shown
	}
	var st unix.Stat_t
	if unix.Lstat(x.path, &st) != nil {
		return intercept.ID{}
	}
	return intercept.ID{Dev: st.Dev, Ino: st.Ino}
}
