//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/merge"
)

// caller is what is needed of a *intercept.Call.
type caller struct {
	process *intercept.Process
	tid     int
	as      func(func() error) error
	ctx     func() context.Context
	swap    func(fd int, f *os.File) error
	creds   func() (intercept.Credentials, error)
}

func (t *Tree) callerOf(c *intercept.Call) *caller {
	t.super.Store(c.Supervisor)
	return &caller{c.Process, c.TID, c.As, c.Context, c.Swap, c.Credentials}
}

// Open gives a reader an immutable snapshot, and a writer a scratch file of its own.
func (t *Tree) Open(c *intercept.Call, p *intercept.Place, how intercept.OpenHow) (*os.File, error) {
	return t.open(t.callerOf(c), p, how)
}

func (t *Tree) open(c *caller, p *intercept.Place, how intercept.OpenHow) (*os.File, error) {
	const other = unix.O_PATH | unix.O_DIRECTORY
	const tmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY
	if p.Object != nil && p.Mode&unix.S_IFMT == unix.S_IFDIR {
		t.listing(p)
	}
	if how.Flags&(other|tmpfile) != 0 || p.Object != nil && p.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, intercept.Continue
	}
	if t.scratch(p.ID) != nil {
		return nil, intercept.Continue // a writer's own, again, through /proc
	}
	if again := t.meant(p); again != nil {
		defer again.Close()
		p = &again.Place
	}
	x := t.target(p)
	if x == nil {
		if how.Write() && t.Pending() {
			t.behind(c.process, false)
		}
		return t.openTemp(c, p, how)
	}
	x.mu.Lock()
	defer x.unlock()
	x.settleEndings()
	x.starting(c.process)
	if now := x.there(p); now != nil {
		defer now.Close()
		p = &now.Place
	}
	x.knowLinks(p)
	open := x.openRead
	if how.Write() {
		open = x.openWrite
	}
	f, err := open(c, p, how)
	if err == nil {
		x.gave(c.process, f)
	}
	return f, err
}

// openRead: the current version, with everything in it that is pending.
func (t *target) openRead(c *caller, p *intercept.Place, how intercept.OpenHow) (*os.File, error) {
	if t.gone && how.Flags&unix.O_CREAT == 0 {
		return nil, unix.ENOENT
	}
	for _, w := range t.writers {
		if w.process == c.process && w.tid == c.tid && w.initial == nil && !w.closed {
			if f, err := w.scratch.Open(); err == nil {
				return f, nil // what it has written so far, and not closed
			}
		}
	}
	if f := t.readOwn(c, p); f != nil {
		return f, nil
	}
	content, overlay, err := t.current()
	if err != nil {
		t.tree.note("%s: read as it is: %v", t.path, err)
		overlay = false
	}
	if !overlay && t.looksEmpty() {
		return t.snapshot(nil) // there is nothing in it to know
	}
	if overlay {
		if content == nil && how.Flags&unix.O_CREAT == 0 {
			return nil, unix.ENOENT
		}
		v := &version{content: content}
		t.heads.Read(c.process, c.tid, v)
		return t.snapshot(content)
	}
	f, err := openAt(c, p, how.Flags&^unix.O_TRUNC, how.Mode)
	if err != nil {
		return nil, err
	}
	t.heads.Read(c.process, c.tid, t.opened(f, true))
	return f, nil
}

// current folds what can be folded at once. overlay: the rest made content, which is not on disk. Of a file that was
// named the session begins here, so that others know of a party that may have read it.
func (t *target) current() (content []byte, overlay bool, err error) {
	if !t.shared() && !t.named {
		return nil, false, nil
	}
	if err := t.need(); err != nil {
		return nil, false, err
	}
	content, overlay, result, err := t.session.Current(context.Background(), t.own())
	t.note(result, t.failure)
	if err == nil && !overlay {
		t.folded = t.wrote
		t.taken(slices.Clone(t.pending), result.Published)
	}
	return content, overlay, err
}

// snapshot makes a file without a name.
func (t *target) snapshot(content []byte) (*os.File, error) {
	f, err := os.CreateTemp(t.session.Dir(), ".snapshot-*")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if _, err := f.Write(content); err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	t.tree.know(intercept.ID{Dev: st.Dev, Ino: st.Ino}, t) // it may be locked
	return os.OpenFile(f.Name(), os.O_RDONLY, 0)
}

// openAt opens the place itself, as the caller would.
func openAt(c *caller, p *intercept.Place, flags int, mode uint32) (f *os.File, err error) {
	err = c.as(func() error {
		fd, err := unix.Openat(int(p.Dir.Fd()), p.Name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, mode)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), p.Path)
		return nil
	})
	return f, err
}

// permitted asks whether the caller may write the place, or make it.
func permitted(c *caller, p *intercept.Place, exists bool) error {
	return c.as(func() error {
		if exists {
			return unix.Faccessat2(int(p.Dir.Fd()), p.Name, unix.W_OK, unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW)
		}
		return unix.Faccessat2(int(p.Dir.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	})
}

// openWrite gives the program a scratch file.
func (t *target) openWrite(c *caller, p *intercept.Place, how intercept.OpenHow) (*os.File, error) {
	flags := how.Flags
	exists := p.Object != nil && !t.gone
	create, exclusive := flags&unix.O_CREAT != 0, flags&unix.O_CREAT != 0 && flags&unix.O_EXCL != 0
	switch {
	case !exists && !create:
		return nil, unix.ENOENT
	case exists && exclusive:
		return nil, unix.EEXIST
	case exclusive && !t.named && !t.gone:
		if t.lone() { // git removes a file and makes it anew: what anybody knew of it is of no use any more
			t.heads, t.remade = NewHeads[*intercept.Process, *version](), true
		}
		return nil, intercept.Continue // a temporary file, or a lock
	case t.otherNames(p) && !t.tree.options.Sidecar.FollowLinks:
		t.tree.warn("%s has %d hard links and is not guarded", t.path, p.Links)
		return nil, intercept.Continue
	}
	if pass, err := t.passes(c, p); err != nil || pass {
		return nil, err
	}
	if err := permitted(c, p, p.Object != nil); err != nil {
		return nil, err
	}
	if p.Object == nil && (!t.named || exclusive) {
		// It is there as soon as it is opened, as without us: exclusively, and for programs that look.
		f, err := openAt(c, p, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, how.Mode)
		switch {
		case err == nil:
			_ = f.Close()
		case exclusive || !errors.Is(err, unix.EEXIST): // else another one has made it since
			return nil, err
		}
	}
	if err := t.need(); err != nil {
		return nil, t.refuse(err)
	}
	w := &writer{t: t, process: c.process, tid: c.tid, read: flags&unix.O_ACCMODE == unix.O_RDWR}
	content, err := t.baseOf(w, c, p, flags, exists)
	if err != nil {
		return nil, err
	}
	if w.skip == 0 && flags&unix.O_TRUNC == 0 {
		w.initial = content
		if w.initial == nil {
			w.initial = []byte{}
		}
	}
	return t.scratchFor(w, c, flags, how.Mode, content)
}

// passes says that a file which nobody named is left alone, with Continue: it is very large, or no JSON.
func (t *target) passes(c *caller, p *intercept.Place) (bool, error) {
	if t.named || p.Object == nil || t.session != nil {
		return false, nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(p.Object.Fd()), &st); err != nil || st.Size > guessLimit {
		return true, intercept.Continue
	}
	f, err := openAt(c, p, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return true, intercept.Continue
	}
	defer f.Close()
	content, err := readAll(f)
	if err != nil {
		return true, intercept.Continue
	}
	if err := merge.Valid(content, t.format); err != nil {
		return true, intercept.Continue
	}
	return false, nil
}

// refuse says why a file that was named cannot be guarded; one that was not is left alone.
func (t *target) refuse(err error) error {
	if !t.named {
		t.tree.note("%s is not guarded: %v", t.path, err)
		return intercept.Continue
	}
	t.tree.warn("%s: %v", t.path, err)
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	if errors.Is(err, fs.ErrPermission) {
		return unix.EACCES
	}
	return unix.EIO
}

// baseOf finds what a version that is written through a new descriptor will have been made from, and what the scratch
// file begins with.
func (t *target) baseOf(w *writer, c *caller, p *intercept.Place, flags int, exists bool) (content []byte, err error) {
	switch {
	case !exists && !t.gone:
		w.bases = []*version{missing}
		return nil, nil
	case flags&unix.O_TRUNC != 0 || !exists:
		w.bases, w.likely = t.basesFor(w)
		return nil, nil
	case flags&unix.O_APPEND == 0 && flags&unix.O_ACCMODE == unix.O_WRONLY:
		// It writes over what it read before, wherever that was.
		w.bases, w.likely = t.basesFor(w)
	case t.continued() != nil:
		// A program goes on with what it left incomplete: { > f; more >> f; }
		w.before = t.continued()
		if content, err = readAll(w.before.file); err != nil {
			return nil, err
		}
		w.bases, w.likely, w.skip = w.before.bases, w.before.likely, w.before.skip
		return content[min(w.skip, int64(len(content))):], nil
	default:
		v, size, err := t.whole(c, p)
		if err != nil {
			return nil, err
		}
		if t.looksEmpty() {
			w.bases = []*version{t.emptied}
			return nil, nil
		}
		if t.format == merge.Lines && flags&unix.O_ACCMODE == unix.O_WRONLY && size > 0 {
			w.skip = size
			return nil, nil
		}
		w.bases = []*version{v}
		if !w.read {
			break
		}
		t.heads.Read(c.process, c.tid, v)
		if flags&unix.O_APPEND == 0 {
			// It can read this version, and need not: d = json.load(open(f)); … open(f, "r+") writes over it what was made of the one
			// before. The content will tell.
			w.bases, w.likely = t.basesFor(w)
		}
		return v.read()
	}
	return w.bases[w.likely].read()
}

// continued is the version that was left incomplete last, by a program of the tree that was not killed.
func (t *target) continued() *writer {
	if len(t.partial) == 0 {
		return nil
	}
	return t.partial[len(t.partial)-1]
}

// basesFor are the candidates for a whole new version by the writer's thread.
func (t *target) basesFor(w *writer) (bases []*version, likely int) {
	bases, likely = t.heads.Bases(w.process, w.tid)
	switch t.tree.options.Base {
	case BaseMemory:
		return []*version{t.heads.Memory(w.process)}, 0
	case BaseLastRead:
		return bases[likely : likely+1], 0
	}
	return bases, likely
}

// whole is the current version with everything pending, and its size.
func (t *target) whole(c *caller, p *intercept.Place) (*version, int64, error) {
	content, overlay, err := t.current()
	if err != nil {
		return nil, 0, t.refuse(err)
	}
	if overlay {
		return &version{content: content}, int64(len(content)), nil
	}
	f, err := openAt(c, p, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.EACCES) { // it may write what it may not read
		f, err = os.OpenFile(t.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	v := t.opened(f, false)
	return v, v.stamp.size, nil
}

// scratchFor makes the scratch file and watches it.
func (t *target) scratchFor(w *writer, c *caller, flags int, mode uint32, content []byte) (*os.File, error) {
	bases, err := w.openBases()
	if err != nil {
		return nil, err
	}
	perm := fs.FileMode(0o600)
	if info, err := os.Lstat(t.path); err == nil {
		perm = info.Mode().Perm()
	} else if cr, err := c.creds(); err == nil {
		perm = fs.FileMode(mode&^cr.Umask) & fs.ModePerm
	}
	scratch, f, err := t.session.Create(w.who(), flags, perm, content, bases, w.skip)
	if err != nil {
		return nil, t.refuse(err)
	}
	w.scratch, w.opened = scratch, time.Now()
	if cr, err := c.creds(); err == nil && os.Geteuid() == 0 {
		_ = f.Chown(cr.UID, cr.GID) // a file that is made new is its maker's
	}
	if err := t.watch(w, f); err != nil {
		_ = f.Close()
		scratch.Discard()
		return nil, t.refuse(err)
	}
	t.writers = append(t.writers, w)
	if w.before != nil {
		w.before.scratch.Discard()
		t.drop(w.before)
		w.before = nil
	}
	return f, nil
}

func (t *target) watch(w *writer, f *os.File) (err error) {
	if w.file, err = w.scratch.Open(); err != nil {
		return err
	}
	t.tree.knowScratch(w.id(), w)
	if err := t.tree.watch(w.file, w); err != nil {
		return fmt.Errorf("watch scratch file: %w", err)
	}
	return nil
}

func (w *writer) id() intercept.ID {
	if w.scratchID == (intercept.ID{}) && w.file != nil {
		var st unix.Stat_t
		if unix.Fstat(int(w.file.Fd()), &st) == nil {
			w.scratchID = intercept.ID{Dev: st.Dev, Ino: st.Ino}
		}
	}
	return w.scratchID
}
