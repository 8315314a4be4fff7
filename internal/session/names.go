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

// Rename onto a guarded file is a complete new version of it; away from it is a copy and a removal.
func (t *Tree) Rename(c *intercept.Call, from, to *intercept.Place, flags uint) error {
	return t.rename(t.callerOf(c), from, to, flags)
}

func (t *Tree) rename(c *caller, from, to *intercept.Place, flags uint) error {
	if from.Object != nil && from.Mode&unix.S_IFMT == unix.S_IFDIR {
		return t.moveDir(from)
	}
	source, x := t.target(from), t.target(to)
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
	x.starting(c.process)
	if now := x.there(to); now != nil {
		defer now.Close()
		to = &now.Place
	}
	return x.replace(c, from, to, flags)
}

// replace takes what is at from for a complete new version.
func (t *target) replace(c *caller, from, to *intercept.Place, flags uint) error {
	if to.Object != nil && (to.Mode&unix.S_IFMT != unix.S_IFREG || t.otherNames(to) && !t.tree.options.Sidecar.FollowLinks) {
		return intercept.Continue
	}
	t.knowLinks(to)
	temp := t.privateTempOf(c, from)
	if temp == nil && (from.Object == nil || from.Mode&unix.S_IFMT != unix.S_IFREG) {
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
	if !t.named && sidecar.Complete(content, t.format) != nil {
		return intercept.Continue // no JSON: as it is
	}
	if !t.named && to.Object == nil && !t.gone && temp == nil && t.lone() {
		return intercept.Continue // a new file, and nobody to merge with
	}
	if err := t.publish(c, content, to.Object == nil && !t.gone, from.Mode); err != nil {
		return err
	}
	t.foldNow() // a rename is for others to see
	others := from.Object == nil || temp != nil && temp.id != from.ID
	t.dropTemp(temp)
	if others {
		return nil // another process has its own file behind that name by now
	}
	return c.as(func() error { return ignoreMissing(unix.Unlinkat(int(from.Dir.Fd()), from.Name, 0)) })
}

// publish takes content as a version that the caller's thread wrote. isNew: there was none, and it gets these mode bits.
func (t *target) publish(c *caller, content []byte, isNew bool, mode uint32) error {
	if err := t.need(); err != nil {
		return t.refuse(err)
	}
	w := &writer{t: t, process: c.process, tid: c.tid}
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
	w.scratch, err = t.session.Publish(w.who(), content, bases, false)
	if err != nil {
		return t.refuse(err)
	}
	if w.file, err = w.scratch.Open(); err != nil {
		return nil // folded already, by another
	}
	if isNew {
		_ = w.file.Chmod(os.FileMode(mode & 0o777)) // which the fold takes over
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

func ignoreMissing(err error) error {
	if err == unix.ENOENT {
		return nil
	}
	return err
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
	t.mu.Lock()
	defer t.unlock()
	t.settle()
	if from.Object == nil || t.gone {
		return unix.ENOENT
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
	t.starting(c.process)
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
	if x == nil || p.Object == nil || p.Mode&unix.S_IFMT != unix.S_IFREG {
		return intercept.Continue
	}
	x.mu.Lock()
	defer x.unlock()
	x.settle()
	if x.gone {
		return unix.ENOENT
	}
	x.starting(c.process)
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

// Link: another name for a guarded file is a copy of it, because the file itself is replaced again and again; a link of
// another file onto its name is a new version.
func (t *Tree) Link(c *intercept.Call, from, to *intercept.Place) error {
	return t.link(t.callerOf(c), from, to)
}

func (t *Tree) link(c *caller, from, to *intercept.Place) error {
	source, x := t.target(from), t.target(to)
	regular := from.Object != nil && from.Mode&unix.S_IFMT == unix.S_IFREG
	switch {
	case !regular || source == x:
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
		if !x.shared() && !x.named {
			return intercept.Continue
		}
		if err := permittedToRename(c, to); err != nil {
			return err
		}
		content, err := x.contentOf(c, from, nil)
		if err != nil {
			return err
		}
		x.starting(c.process)
		if err := x.publish(c, content, !x.gone, from.Mode); err != nil {
			return err
		}
		x.foldNow() // a name is for others to see
		return nil
	}
	source.mu.Lock()
	defer source.unlock()
	source.settle()
	if source.gone {
		return unix.ENOENT
	}
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

// Truncate by name is a version that was cut.
func (t *Tree) Truncate(c *intercept.Call, p *intercept.Place, size int64) error {
	return t.truncate(t.callerOf(c), p, size)
}

func (t *Tree) truncate(c *caller, p *intercept.Place, size int64) error {
	if again := t.meant(p); again != nil {
		defer again.Close()
		p = &again.Place
	}
	x := t.target(p)
	if x == nil || p.Object == nil || p.Mode&unix.S_IFMT != unix.S_IFREG {
		return intercept.Continue
	}
	x.mu.Lock()
	defer x.unlock()
	x.settle()
	if x.gone {
		return unix.ENOENT
	}
	if !x.shared() && !x.named {
		return intercept.Continue
	}
	if err := permitted(c, p, true); err != nil {
		return err
	}
	x.starting(c.process)
	if err := x.need(); err != nil {
		return x.refuse(err)
	}
	v, _, err := x.whole(c, p)
	if err != nil {
		return err
	}
	content, err := v.read()
	if err != nil {
		return err
	}
	if size == 0 {
		x.heads.Read(c.process, c.tid, v)
		x.empty(c.process, c.tid, v)
		return nil
	}
	cut := make([]byte, size)
	copy(cut, content)
	x.heads.Read(c.process, c.tid, v)
	return x.publish(c, cut, false, 0)
}

// privateTemp is a file that a program will rename over the target: lowdb calls it .db.json.tmp in every process.
type privateTemp struct {
	at      place
	process *intercept.Process
	file    *os.File // for reading
	id      intercept.ID
}

// openTemp gives each writer of a file whose name is like a target's, in the same directory, a new file behind that name:
// two processes that use one name for their temporary file would write into each other's.
func (t *Tree) openTemp(c *caller, p *intercept.Place, how intercept.OpenHow) (*os.File, error) {
	const fresh = unix.O_CREAT | unix.O_TRUNC
	if how.Flags&(unix.O_ACCMODE|fresh) == unix.O_RDONLY {
		return t.readTemp(c, p)
	}
	if !how.Write() || how.Flags&fresh != fresh || how.Flags&unix.O_EXCL != 0 || p.Dir == nil || p.Links > 1 {
		return nil, intercept.Continue
	}
	x := t.beside(p)
	if x == nil {
		return nil, intercept.Continue
	}
	mode, there := how.Mode, p.Object != nil
	if there { // it keeps the bits it has
		switch err := permitted(c, p, true); err {
		case nil:
			mode = p.Mode & 0o7777
		case unix.ENOENT: // another process's, which was renamed since: a new one is made
			there = false
		default:
			return nil, err
		}
	}
	if err := permitted(c, p, false); err != nil {
		return nil, intercept.Continue // no new file can be made: as without us
	}
	temp := tempName(p.Name)
	var f, reader *os.File
	err := c.as(func() error {
		dir := int(p.Dir.Fd())
		fd, err := unix.Openat(dir, temp, how.Flags&^unix.O_TRUNC|unix.O_EXCL|unix.O_CLOEXEC, mode)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), p.Path)
		if there {
			_ = unix.Fchmod(fd, mode)
		}
		if err := unix.Renameat(dir, temp, dir, p.Name); err != nil {
			_ = unix.Unlinkat(dir, temp, 0)
			return err
		}
		return nil
	})
	if err == nil {
		reader, err = os.Open(procPath(f))
	}
	if err != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.unlock()
	made := privateTemp{place{p.DirID, p.Name}, c.process, reader, intercept.ID{Dev: st.Dev, Ino: st.Ino}}
	if old := x.privateTempOf(c, p); old != nil {
		x.dropTemp(old)
	}
	x.temps = append(x.temps, made)
	return f, nil
}

// readTemp gives a reader what its own side wrote behind the name, where that is another's by now.
func (t *Tree) readTemp(c *caller, p *intercept.Place) (*os.File, error) {
	x := t.beside(p)
	if x == nil {
		return nil, intercept.Continue
	}
	x.mu.Lock()
	defer x.unlock()
	temp := x.privateTempOf(c, p)
	if temp == nil || temp.id == p.ID {
		return nil, intercept.Continue
	}
	return os.Open(procPath(temp.file))
}

// beside finds a named target in the same directory. Where files are guessed, a lock file or a log is too easily met.
func (t *Tree) beside(p *intercept.Place) *target {
	for _, x := range t.all() {
		if x.key.dir == p.DirID && tempOf(p.Name, x.key.name) {
			return x
		}
	}
	return nil
}

// privateTempOf finds the caller's own file behind a name: the one that it made, or that was passed to it or an ancestor of
// its. In jq . f > t; mv t f; it is the shell's by then.
func (t *target) privateTempOf(c *caller, p *intercept.Place) *privateTemp {
	at := place{p.DirID, p.Name}
	for process := c.process; process != nil; process = process.Parent {
		for i := range t.temps {
			if t.temps[i].at == at && t.temps[i].process == process {
				return &t.temps[i]
			}
		}
	}
	return nil
}

// passTempsOf gives what a process made and did not rename to its parent, as long as that lives.
func (t *target) passTempsOf(p *intercept.Process) {
	heir := p.Parent
	if heir != nil && exiting(heir.PID, heir.Start) {
		heir = nil
	}
	passed := map[place]bool{}
	for _, x := range t.temps {
		passed[x.at] = passed[x.at] || x.process == p && heir != nil
	}
	t.temps = slices.DeleteFunc(t.temps, func(x privateTemp) bool {
		gone := x.process == p && heir == nil || x.process == heir && passed[x.at]
		if gone {
			_ = x.file.Close()
		}
		return gone
	})
	for i := range t.temps {
		if t.temps[i].process == p {
			t.temps[i].process = heir
		}
	}
}

func (t *target) dropTemp(temp *privateTemp) {
	if temp == nil {
		return
	}
	_ = temp.file.Close()
	id := temp.id
	t.temps = slices.DeleteFunc(t.temps, func(x privateTemp) bool { return x.id == id })
}
