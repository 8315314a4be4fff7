//go:build linux

package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/merge"
)

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
	case (exclusive || !exists && how.Mode&0o200 == 0) && !t.named && !t.gone:
		if t.lone() { // git removes a file and makes it anew: what anybody knew of it is of no use any more
			t.beginAnew()
		}
		return nil, intercept.Continue // a temporary file, or a lock; or one that its maker alone can write, by this descriptor
	case t.otherNames(p) && !t.tree.options.Sidecar.FollowLinks:
		t.refuseLinks(p)
		return nil, intercept.Continue
	}
	if pass, err := t.passes(c, p); err != nil || pass {
		return nil, err
	}
	needs := uint32(unix.W_OK)
	if access := flags & unix.O_ACCMODE; access != unix.O_WRONLY { // to cut a file while it is opened for reading takes both
		needs |= unix.R_OK
	}
	if err := permittedTo(c, p, p.Object != nil, needs); err != nil {
		return nil, err
	}
	if err := t.need(); err != nil { // before the file is made: the kernel may have to make it
		return nil, t.refuse(err)
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
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		return t.openEmptied(c, p, how, exists)
	}
	w := &writer{t: t, process: c.process, tid: c.tid, read: flags&unix.O_ACCMODE == unix.O_RDWR, itsOwn: flags&unix.O_CLOEXEC != 0}
	if before := t.continued(flags); before != nil {
		return t.goOn(w, before, flags)
	}
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
		t.mayBeRead(c.process) // by this descriptor
		known := slices.Contains(t.heads.Holds(c.process), v)
		before, likely := t.basesFor(w)
		t.heads.Read(c.process, c.tid, v)
		if flags&unix.O_APPEND == 0 {
			// It can read this version, and need not: d = json.load(open(f)); … open(f, "r+") writes over it what was made of the one
			// before. Whether it reads will tell, and the content.
			w.bases, w.likely = t.basesFor(w)
			if !known {
				w.unread = max(0, slices.Index(w.bases, before[likely]))
			}
		}
		return v.read()
	}
	if content, err = w.bases[w.likely].read(); t.format == merge.Lines {
		content = wholeLines(content)
	}
	return content, err
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

// scratchFor makes the scratch file and watches it.
func (t *target) scratchFor(w *writer, c *caller, flags int, mode uint32, content []byte) (*os.File, error) {
	bases, err := w.openBases()
	if err != nil {
		return nil, err
	}
	bases.Unread = w.unread
	perm := fs.FileMode(0o600)
	info, missing := os.Lstat(t.path)
	if missing == nil {
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
	if missing == nil {
		w.made, _ = attributesOf(f)
	}
	if w.initial != nil && w.unread == 0 && missing == nil { // as it is for who opens the file: what touch(1) does is seen by it
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, unix.NsecToTimespec(info.ModTime().UnixNano())}
		_ = unix.UtimesNanoAt(unix.AT_FDCWD, procPath(f), times, 0)
	}
	w.began, w.marked = modified(f), w.unread != 0
	if err := t.watch(w, f); err != nil {
		_ = f.Close()
		scratch.Discard()
		return nil, t.refuse(err)
	}
	t.writers = append(t.writers, w)
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
