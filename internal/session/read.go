//go:build linux

package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/merge"
)

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
	t.mayBeRead(nil)
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
		t.reap()
		t.heads.Read(c.process, c.tid, t.recognized(&version{content: content}))
		return t.snapshot(content)
	}
	f, err := openAt(c, p, how.Flags&^unix.O_TRUNC, how.Mode)
	if err != nil {
		return nil, err
	}
	t.reap() // what a child wrote that has just ended is its parent's
	t.heads.Read(c.process, c.tid, t.recognized(t.opened(f, true)))
	return f, nil
}

// recognized is v, or what a program of this tree wrote last, if that is the same text: the fold that brought it in need not have been
// ours, nor of it alone.
func (t *target) recognized(v *version) *version {
	last := t.ours
	if last == nil || v == last || v == missing || v.live || v.size() != last.size() || !sameText(v.text(), last.text()) {
		return v
	}
	return last
}

// sameText compares texts of one size, in pieces: they may be large.
func sameText(a, b io.Reader) bool {
	const piece = 64 << 10
	x, y := make([]byte, piece), make([]byte, piece)
	for {
		n, err := io.ReadFull(a, x)
		m, other := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false
		}
		if err != nil || other != nil {
			return atEnd(err) && atEnd(other)
		}
	}
}

func atEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

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

// whole is the current version with everything pending, and its size.
func (t *target) whole(c *caller, p *intercept.Place) (*version, int64, error) {
	content, overlay, err := t.current()
	if err != nil {
		return nil, 0, t.refuse(err)
	}
	if overlay {
		return &version{content: content}, int64(len(content)), nil
	}
	v, err := t.withWholeLines(func() (*version, error) {
		f, err := openAt(c, p, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if errors.Is(err, unix.EACCES) { // it may write what it may not read
			f, err = os.OpenFile(t.path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return t.opened(f, false), nil
	})
	if err != nil {
		return nil, 0, err
	}
	return v, v.stamp.size, nil
}

// withWholeLines looks again, while nobody folds, where the target was caught in the middle of an append: a program that has a part of a
// line in its hands writes behind it, or over it.
func (t *target) withWholeLines(look func() (*version, error)) (v *version, err error) {
	if v, err = look(); err != nil || t.format != merge.Lines || t.session == nil || v.endsWhole() {
		return v, err
	}
	if serr := t.session.Settled(context.Background(), func() error {
		v, err = look()
		return nil
	}); serr != nil {
		t.tree.note("%s: read as it is: %v", t.path, serr)
	}
	return v, err
}

// readOwn gives a reader what its side has closed last, without waiting for the fold of it: where nothing else is pending, of
// anybody, and the target is still what that was made from, the fold will publish these very bytes.
func (t *target) readOwn(c *caller, p *intercept.Place) *os.File {
	if len(t.pending) != 1 || t.format != merge.JSON || p.Object == nil || t.session == nil || t.session.Guard().Policy() != nil {
		return nil
	}
	o := t.pending[0]
	var st unix.Stat_t
	if o.version.file == nil || o.base == missing || unix.Fstat(int(p.Object.Fd()), &st) != nil || !o.base.is(stampOf(&st)) {
		return nil
	}
	if !t.session.OnlyPending(o.scratch) {
		return nil
	}
	if err := c.as(func() error {
		return unix.Faccessat2(int(p.Dir.Fd()), p.Name, unix.R_OK, unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW)
	}); err != nil {
		return nil
	}
	f, err := os.OpenFile(procPath(o.version.file), syscall.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	t.tree.know(o.version.stamp.id, t) // it may be locked
	t.reap()
	t.heads.Read(c.process, c.tid, o.version)
	return f
}
