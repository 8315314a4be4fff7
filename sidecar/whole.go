package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// A large version need not be in memory to be folded. Most are made from exactly what the target is: then the outcome of
// the merge is that version, byte for byte, and all there is to do is to see that it is whole and to copy it. Both go
// through a window.

// wholeText is a version that was found complete, by what it is known again.
type wholeText struct {
	size int64
	hash string
}

// checkWhole reads a text and says why it is no whole document: see Complete.
func checkWhole(r io.ReaderAt, format merge.Format) (w wholeText, err error) {
	valid := merge.Validator{Format: format}
	var sum hasher
	err = eachPart(r, func(p []byte) error {
		w.size += int64(len(p))
		sum.add(p)
		_, _ = valid.Write(p) // never fails
		return nil
	})
	if err != nil {
		return w, err
	}
	if valid.Close() == nil && (!valid.Empty() || format == merge.Lines) {
		w.hash = sum.String()
		return w, nil
	}
	content, err := io.ReadAll(io.NewSectionReader(r, 0, w.size)) // to say where
	if err != nil {
		return w, err
	}
	return wholeText{w.size, contentHash(content)}, Complete(content, format)
}

// Check is [Complete] for what the writer has closed, which f leads to. Where it is whole, a fold need not read it again to
// know that.
func (x *Scratch) Check(f io.ReaderAt) error {
	whole, err := checkWhole(f, x.s.g.format)
	if err != nil {
		return err
	}
	x.noteComplete(whole)
	return nil
}

// noteComplete: a fold need not read it again to know that.
func (x *Scratch) noteComplete(whole wholeText) {
	x.s.note(x.Sidecar(), preparedScratch{wholeText: whole})
	x.s.noteWhole(whole)
	if _, err := x.s.dir.Stat(x.n + scratchSuffix); err != nil { // another has folded it meanwhile
		x.s.forget(x.Sidecar())
	}
}

// wholesKept is how many versions a session knows to be whole: what a program has written is what it starts from next.
const wholesKept = 8

func (s *Session) noteWhole(w wholeText) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wholes = append(s.wholes, w); len(s.wholes) > wholesKept {
		s.wholes = s.wholes[1:]
	}
}

func (s *Session) knownWhole(w wholeText) bool {
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, known := range s.wholes {
		if known == w {
			return true
		}
	}
	return false
}

// takeWhole is apply where one version is all that is pending, and it was made from what the target is: it becomes the target, as the
// merge of it would have it.
func (f *fold) takeWhole() (done bool, err error) {
	if len(f.pending) != 1 || !f.own.empty() || f.target.missing || f.g.format != merge.JSON || len(f.moved) > 0 || !f.g.Policy().TakesWhole() {
		return false, nil
	}
	p := f.pending[0]
	x := p.from.scratch
	if x == nil || x.whole.hash == "" || p.from.made.Additions || len(x.about.Bases) != 1 || filepath.Base(x.about.Bases[0]) != x.about.Bases[0] {
		return false, nil
	}
	base, err := x.dir.OpenFile(x.about.Bases[0], os.O_RDONLY, 0)
	if err != nil {
		return false, nil // who merges it says what is wrong
	}
	defer base.Close()
	if same, err := f.target.sameAs(base); err != nil || !same {
		return false, err
	}
	if _, err := f.target.identity(); err != nil {
		return false, err
	}
	// What cannot be parsed is not replaced.
	if was := (wholeText{f.target.info.Size, f.target.hash}); !f.g.session.knownWhole(was) {
		if _, err := checkWhole(f.target.file, f.g.format); err != nil {
			return false, nil
		}
	}
	file, err := x.dir.OpenFile(x.n+scratchSuffix, os.O_RDONLY, 0)
	if err != nil {
		return false, nil
	}
	f.whole = &closedText{file, x.whole}
	f.movedAfter = nil
	p.from.applied = p.Seq
	p.from.note(f.after)
	f.folded++
	return true, nil
}

// sameAs compares the target with another file.
func (t *snapshot) sameAs(other vfs.File) (bool, error) {
	info, err := other.Stat()
	if err != nil || info.Size != t.info.Size {
		return false, err
	}
	at, mine := int64(0), []byte(nil)
	err = eachPart(other, func(p []byte) error {
		mine = append(mine[:0], p...)
		n, err := t.file.ReadAt(mine, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if n < len(p) || !bytes.Equal(mine, p) {
			return errNotSame
		}
		at += int64(n)
		return nil
	})
	if errors.Is(err, errNotSame) {
		return false, nil
	}
	return err == nil && at == t.info.Size, err
}

var errNotSame = errors.New("not the same")

// versionText is a version, wherever it is.
type versionText interface {
	size() int64
	hash() string
	writeTo(f vfs.File) error // its beginning
}

// madeText is a version that is not in memory.
type madeText interface {
	versionText
	isIn(t *snapshot) (bool, error) // it is what the target is
	isVersion() bool                // it is the one that was pending, byte for byte
	read() ([]byte, error)
	close()
}

// outcome is what the target becomes.
func (f *fold) outcome() versionText {
	if f.whole != nil {
		return f.whole
	}
	return f.content
}

// closedText is one that a program has written and closed.
type closedText struct {
	file vfs.File
	wholeText
}

func (t *closedText) size() int64  { return t.wholeText.size }
func (t *closedText) hash() string { return t.wholeText.hash }

func (t *closedText) isIn(target *snapshot) (bool, error) { return target.sameAs(t.file) }
func (t *closedText) isVersion() bool                     { return true }
func (t *closedText) close()                              { _ = t.file.Close() }

func (t *closedText) read() ([]byte, error) {
	content, _, err := readAll(t.file)
	return content, err
}

// writeTo also sees that it is what was found whole.
func (t *closedText) writeTo(f vfs.File) error {
	w := writer{f: f}
	var sum hasher
	err := eachPart(t.file, func(p []byte) error {
		sum.add(p)
		return w.write(p)
	})
	if err == nil && (w.at != t.size() || sum.String() != t.hash()) {
		err = fmt.Errorf("%w: a version was changed after its program had closed it", ErrDamaged)
	}
	return err
}

// Complete says why content is not a whole document (ErrTorn). An empty one never is: that is what opening for writing
// leaves.
func Complete(content []byte, f merge.Format) error {
	if f == merge.JSON && len(bytes.TrimSpace(content)) == 0 {
		return fmt.Errorf("%w: it is empty", ErrTorn)
	}
	if err := merge.Valid(content, f); err != nil {
		return fmt.Errorf("%w: %w", ErrTorn, err)
	}
	return nil
}
