//go:build linux

package session

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// Rename onto a guarded file is a complete new version of it; away from it is a copy and a removal.
func (t *Tree) Rename(c *intercept.Call, from, to *intercept.Place, flags uint) error {
	return t.rename(t.callerOf(c), from, to, flags)
}

func (t *Tree) rename(c *caller, from, to *intercept.Place, flags uint) error {
	if from.Object != nil && from.Mode&unix.S_IFMT == unix.S_IFDIR {
		return t.moveDir(from)
	}
	source, x := t.target(from), t.target(to)
	if x == nil && (flags == 0 || to.Object == nil) {
		t.forgetTemp(c, from, false)
		t.forgetTemp(c, to, true)
	}
	switch {
	case source == nil && x == nil:
		return intercept.Continue
	case flags&unix.RENAME_EXCHANGE != 0:
		return unix.EINVAL // as a filesystem that has no such thing; programs do without
	case source == x:
		return intercept.Continue
	case x == nil:
		return source.moveAway(c, from, to, flags)
	case source != nil: // what is moved is what was written last
		source.mu.Lock()
		source.settleEndings()
		source.foldNow()
		source.unlock()
	}
	x.mu.Lock()
	defer x.unlock()
	x.settle()
	x.lookForOtherWrites(to)
	if err := x.begin(c); err != nil {
		return err
	}
	if now := x.there(to); now != nil {
		defer now.Close()
		to = &now.Place
	}
	return x.replace(c, from, to, flags)
}

// replace takes what is at from for a complete new version.
func (t *target) replace(c *caller, from, to *intercept.Place, flags uint) error {
	temp := t.tree.temps.take(c, from)
	err := t.replaceBy(c, from, to, temp, flags)
	switch {
	case temp == nil:
	case err == nil, errors.Is(err, intercept.Continue):
		_ = temp.file.Close()
	default:
		t.tree.temps.giveBack(temp)
	}
	return err
}

// replaceBy is replace; temp is the caller's own file behind a name that it shares, or nil.
func (t *target) replaceBy(c *caller, from, to *intercept.Place, temp *privateTemp, flags uint) error {
	if to.Object != nil && to.Mode&unix.S_IFMT != unix.S_IFREG || t.otherNames(to) && !t.tree.options.Sidecar.FollowLinks {
		if isRegular(from) && !t.named && t.lone() && to.Mode&unix.S_IFMT != unix.S_IFDIR && permittedToRename(c, from) == nil && permittedToRename(c, to) == nil {
			t.madeAnew(c, from)
		}
		return intercept.Continue
	}
	t.knowLinks(to)
	if temp == nil && !isRegular(from) {
		return intercept.Continue
	}
	if flags&unix.RENAME_NOREPLACE != 0 && to.Object != nil && !t.gone {
		return unix.EEXIST
	}
	if pass, err := t.passes(c, to); err != nil || pass {
		return err
	}
	for _, p := range []*intercept.Place{from, to} {
		if err := permittedToRename(c, p); err != nil {
			return err
		}
	}
	content, err := t.contentOf(c, from, temp)
	if err != nil {
		return err
	}
	isNew := to.Object == nil && !t.gone
	if !t.named && isNew && temp == nil && t.lone() {
		t.madeAnew(c, from)
		return intercept.Continue // a new file, and nobody to merge with
	}
	whole := sidecar.Complete(content, t.format) == nil
	alone := !t.named && to.Object != nil && t.lone() && idOf(from, temp) == from.ID
	if (!whole || t.format == merge.Lines) && writesTo(c.process.PID, idOf(from, temp)) { // of lines a part is whole, too
		if done, err := t.renameOpen(c, from, to, temp, isNew, alone); done || err != nil {
			return err
		}
		return t.refuse(fmt.Errorf("process %d (%s) renames %s onto it before it has closed it: %w", c.process.PID, c.process.Command, from.Name, unix.EBUSY))
	}
	if !t.named && !whole {
		return intercept.Continue // no JSON: as it is
	}
	time := stampAt(from).mtime
	if temp != nil {
		time = modified(temp.file)
	}
	if err := t.publish(c, content, isNew, from.Mode, time); err != nil {
		return err
	}
	if alone { // with nobody to merge with it is the file that it is without us; else it keeps its own mode
		t.giveAttributes(attributes{mode: to.Mode & 0o7777}, attributes{mode: from.Mode & 0o7777}, func(err error) {
			t.tree.warn("%s: mode of what was renamed onto it: %v", t.path, err)
		})
	}
	t.foldNow() // a rename is for others to see
	if from.Object == nil || temp != nil && temp.id != from.ID {
		return nil // another process has its own file behind that name by now
	}
	return c.as(func() error { return ignoreMissing(unix.Unlinkat(int(from.Dir.Fd()), from.Name, 0)) })
}

// madeAnew is told that a program gives the name of the target to another file, unguarded: that is what it wrote last, and what it knew
// before is behind it.
func (t *target) madeAnew(c *caller, from *intercept.Place) {
	var f *os.File
	var err error
	if from.Dir != nil { // a fold may have replaced it since it was looked up
		f, err = openAt(c, from, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	} else {
		f, err = os.Open(procPath(from.Object))
	}
	if err != nil {
		return // nor can the program read it
	}
	defer f.Close()
	t.ours = t.opened(f, false)
	t.heads.Wrote(c.process, c.tid, missing, t.ours)
}

// publish takes content as a version that the caller's thread wrote. isNew: there was none, and it gets these mode bits. modified: zero,
// or the time of a file that had it.
func (t *target) publish(c *caller, content []byte, isNew bool, mode uint32, modified unix.Timespec) error {
	if err := t.need(); err != nil {
		return t.refuse(err)
	}
	w := &writer{t: t, process: c.process, tid: c.tid, time: modified}
	w.bases = []*version{missing}
	if !isNew {
		w.bases, w.likely = t.basesFor(w)
	}
	if err := sidecar.Complete(content, t.format); err != nil {
		base, err := w.bases[w.likely].read()
		if err != nil {
			return err
		}
		name, err := t.session.Quarantine(content, base)
		if err != nil {
			return t.refuse(err)
		}
		t.stats.Torn = append(t.stats.Torn, name)
		t.tree.warn("%s: process %d (%s) renamed an incomplete version onto it; it is in quarantine: %s", t.path, c.process.PID, c.process.Command, name)
		return nil
	}
	bases, err := w.openBases()
	if err != nil {
		return err
	}
	w.scratch, w.file, err = t.session.Stage(w.who(), content, bases)
	if err != nil {
		return t.refuse(err)
	}
	if isNew {
		_ = w.file.Chmod(os.FileMode(mode & 0o777)) // which the fold takes over
	}
	if err := w.scratch.Publish(); err != nil {
		t.drop(w)
		return t.refuse(err)
	}
	i, diffed, err := t.madeFrom(w)
	if err != nil {
		t.failed(w, err)
		return nil
	}
	t.knows(w, w.bases[i], diffed)
	t.written(w)
	return nil
}

// permittedToRename asks whether the caller may take a name out of a directory, or put one in.
func permittedToRename(c *caller, p *intercept.Place) error {
	if err := permitted(c, p, false); err != nil {
		return err
	}
	if p.Object == nil {
		return nil
	}
	var dir, object unix.Stat_t
	if unix.Fstat(int(p.Dir.Fd()), &dir) != nil || unix.Fstat(int(p.Object.Fd()), &object) != nil || dir.Mode&unix.S_ISVTX == 0 {
		return nil
	}
	cr, err := c.creds()
	if err != nil || cr.UID == 0 || uint32(cr.UID) == dir.Uid || uint32(cr.UID) == object.Uid {
		return nil
	}
	return unix.EPERM // a sticky directory (inode(7))
}

// contentOf reads what is renamed: the caller's own file behind a shared name, or what is there.
func (t *target) contentOf(c *caller, from *intercept.Place, temp *privateTemp) ([]byte, error) {
	if temp != nil {
		return readAll(temp.file)
	}
	var f *os.File
	err := error(unix.EACCES)
	if from.Dir != nil { // else it never had a name (O_TMPFILE)
		f, err = openAt(c, from, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	if err == unix.EACCES { // renaming and linking need no permission to read
		f, err = os.Open(procPath(from.Object))
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f)
}

// moveAway: another name gets what the target is now, and the target is removed.
func (t *target) moveAway(c *caller, from, to *intercept.Place, flags uint) error {
	if err := t.lockThere(); err != nil {
		return err
	}
	defer t.unlock()
	if now := t.there(from); now != nil {
		defer now.Close()
		from = &now.Place
	}
	if from.Object == nil {
		return intercept.Continue // which of several errors it is
	}
	if !t.shared() && !t.overtaken(c.process) {
		return intercept.Continue
	}
	if flags&unix.RENAME_NOREPLACE != 0 && to.Object != nil {
		return unix.EEXIST
	}
	for _, p := range []*intercept.Place{from, to} {
		if err := permittedToRename(c, p); err != nil {
			return err
		}
	}
	if err := t.begin(c); err != nil {
		return err
	}
	alone, err := t.alone()
	if err != nil {
		return t.refuse(err)
	}
	if alone && t.lastToKnow(c.process) {
		return intercept.Continue
	}
	if err := t.need(); err != nil {
		return t.refuse(err)
	}
	if err := t.copyTo(c, from, to); err != nil {
		return err
	}
	t.remove()
	return nil
}

// copyTo makes another name hold what the target is now.
func (t *target) copyTo(c *caller, from, to *intercept.Place) error {
	v, _, err := t.whole(c, from)
	if err != nil {
		return err
	}
	content, err := v.read()
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(from.Object.Fd()), &st); err != nil {
		return err
	}
	return writeAt(c, to, content, st.Mode&0o7777)
}

// writeAt replaces what is at a place, as the caller.
func writeAt(c *caller, p *intercept.Place, content []byte, mode uint32) error {
	temp := tempName(p.Name)
	return c.as(func() error {
		fd, err := unix.Openat(int(p.Dir.Fd()), temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), temp)
		_, err = f.Write(content)
		if err == nil {
			err = unix.Fchmod(fd, mode)
		}
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err == nil {
			err = unix.Renameat(int(p.Dir.Fd()), temp, int(p.Dir.Fd()), p.Name)
		}
		if err != nil {
			_ = unix.Unlinkat(int(p.Dir.Fd()), temp, 0)
		}
		return err
	})
}
