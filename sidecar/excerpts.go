package sidecar

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// Large versions that differ in a few places are merged by their excerpts (merge.Excerpts): of the target, of what is pending, and of
// all that it may have been made from, nothing is in memory but what differs. What they have in common is copied from the target's
// file to the new one.

// applyExcerpts is apply where all that is pending are large versions that their programs have written.
func (f *fold) applyExcerpts() (done bool, err error) {
	if !f.own.empty() || f.target.missing || f.target.loaded || f.target.info.Size < Large || len(f.moved) > 0 ||
		!f.g.Policy().TakesExcerpts() {
		return false, nil
	}
	var files []vfs.File
	defer func() {
		if !done {
			closeAll(files)
		}
	}()
	var versions []scratchTexts
	for _, p := range f.pending {
		x := p.from.scratch
		if x == nil || x.whole.hash == "" || p.from.made.Additions || len(x.about.Bases) == 0 {
			return false, nil
		}
		v := scratchTexts{about: &x.about, ours: len(files)}
		for i, name := range append([]string{x.n + scratchSuffix}, x.about.Bases...) {
			if name == "" || filepath.Base(name) != name {
				return false, nil
			}
			file, err := x.dir.OpenFile(name, os.O_RDONLY, 0)
			if err != nil {
				return false, nil // who has it in memory says what is wrong
			}
			files = append(files, file)
			if i > 0 {
				v.bases = append(v.bases, len(files)-1)
			}
		}
		versions = append(versions, v)
	}
	texts, err := textsOf(append(files, f.target.file))
	if err != nil {
		return false, nil
	}
	target := len(files)
	x, err := merge.Excerpt(texts, f.g.format, f.g.Policy())
	if x == nil || err != nil {
		return false, nil
	}
	doc, err := merge.Parse(x.Text(target), f.g.format)
	if err != nil {
		return false, nil
	}
	policy := x.Under(f.g.Policy())
	conflicts := make([][]merge.Conflict, len(versions))
	for i, v := range versions {
		change, err := v.change(x, f.g.format, policy)
		if err != nil {
			return false, nil
		}
		outcome, err := doc.Merge(change, policy)
		if err != nil {
			return false, nil
		}
		conflicts[i] = outcome.Conflicts
	}
	failed := derive(doc, x.Text(target), policy)
	parts, ok := x.Expand(doc, slices.Concat(conflicts...))
	if !ok {
		return false, nil
	}
	out := &joinedText{files: append(files, f.target.file), parts: parts}
	if len(parts) == 1 && parts[0].Bytes == nil {
		out.unchanged, out.version = x.Same(parts[0].Text, target), x.Same(parts[0].Text, versions[0].ours)
	}
	if err := out.measure(); err != nil {
		return false, nil
	}
	f.warnNotDerived(failed)
	f.whole, f.movedAfter = out, nil
	for i, p := range f.pending {
		p.from.applied = p.Seq
		p.from.note(f.after)
		f.folded++
		f.noteConflicts(&p, conflicts[i])
	}
	return true, nil
}

// scratchTexts are the texts of a version and of what it may have been made from, by their number.
type scratchTexts struct {
	about *about
	ours  int
	bases []int
}

func (v scratchTexts) change(x *merge.Excerpts, f merge.Format, policy *merge.Policy) (*merge.Change, error) {
	var bases [][]byte
	for _, i := range v.bases {
		bases = append(bases, x.Text(i))
	}
	ours := x.Text(v.ours)
	return merge.Diff(bases[merge.MadeFrom(ours, bases, v.about.Likely, f, policy)], ours, f, policy)
}

func textsOf(files []vfs.File) ([]merge.Text, error) {
	var texts []merge.Text
	for _, file := range files {
		info, err := file.Stat()
		if err != nil {
			return nil, err
		}
		texts = append(texts, merge.Text{ReaderAt: file, Size: info.Size})
	}
	return texts, nil
}

func closeAll(files []vfs.File) {
	for _, file := range files {
		_ = file.Close()
	}
}

// joinedText is a version that is put together of parts of others.
type joinedText struct {
	files     []vfs.File // the last one is the target's, which is not ours to close
	parts     []merge.Part
	length    int64
	sum       string
	unchanged bool // it is what the target is
	version   bool // it is what the first writer wrote
}

var errVersionChanged = errors.New("a version changed while it was read")

func (t *joinedText) size() int64                  { return t.length }
func (t *joinedText) hash() string                 { return t.sum }
func (t *joinedText) isIn(*snapshot) (bool, error) { return t.unchanged, nil }
func (t *joinedText) isVersion() bool              { return t.version }
func (t *joinedText) close()                       { closeAll(t.files[:len(t.files)-1]) }
func (t *joinedText) read() (content []byte, err error) {
	err = t.each(func(p []byte) error {
		content = append(content, p...)
		return nil
	})
	return content, err
}

// each calls do for one piece after the other.
func (t *joinedText) each(do func([]byte) error) error {
	for _, p := range t.parts {
		if p.Bytes != nil {
			if err := do(p.Bytes); err != nil {
				return err
			}
			continue
		}
		at := p.From
		err := eachPart(io.NewSectionReader(t.files[p.Text], p.From, p.To-p.From), func(b []byte) error {
			at += int64(len(b))
			return do(b)
		})
		if err == nil && at != p.To {
			err = errVersionChanged
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *joinedText) measure() error {
	var sum hasher
	t.length = 0
	err := t.each(func(p []byte) error {
		t.length += int64(len(p))
		sum.add(p)
		return nil
	})
	t.sum = sum.String()
	return err
}

// writeTo also sees that nothing has changed since it was measured.
func (t *joinedText) writeTo(f vfs.File) error {
	w := writer{f: f}
	var sum hasher
	var small []byte
	flush := func() error {
		err := w.write(small)
		small = small[:0]
		return err
	}
	err := t.each(func(p []byte) error {
		sum.add(p)
		const few = 64 << 10
		if small = append(small, p...); len(small) < few {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err == nil && sum.String() != t.sum {
		err = errVersionChanged
	}
	if errors.Is(err, errVersionChanged) {
		err = errMoved // by somebody who writes in place, without a lock
	}
	return err
}

// PrepareFrom is Prepare for what f leads to. Large versions are not in memory for that, if they differ in a few places.
func (x *Scratch) PrepareFrom(f *os.File, bases Bases) (int, error) {
	if i, done, err := x.choose(f, bases); done || err != nil {
		return i, err
	}
	content, err := InMemory(f)
	if err != nil {
		return 0, err
	}
	versions := slices.Clone(bases.Versions)
	for i, file := range bases.Files {
		if file != nil {
			if versions[i], err = InMemory(file); err != nil {
				return 0, err
			}
		}
	}
	return x.Prepare(content, Bases{Versions: versions, Likely: bases.Likely})
}

// choose finds by their excerpts which of bases the version that f leads to was made from.
func (x *Scratch) choose(f *os.File, bases Bases) (i int, done bool, err error) {
	g := x.s.g
	if len(bases.Files) == 0 || x.about.Additions || x.about.Skip > 0 || !g.Policy().TakesExcerpts() {
		return 0, false, nil
	}
	var texts []merge.Text
	for i, r := range append([]io.ReaderAt{f}, bases.Files...) {
		if r == nil {
			return 0, false, nil
		}
		size, err := sizeOf(r)
		if err != nil || size < Large || i > 0 && !x.isCopied(len(bases.Files)-(i-1), size) {
			return 0, false, err
		}
		texts = append(texts, merge.Text{ReaderAt: r, Size: size})
	}
	whole, err := checkWhole(f, g.format)
	if err != nil {
		return 0, false, err
	}
	found, err := merge.Excerpt(texts, g.format, g.Policy())
	if found == nil || err != nil { // one that has become shorter meanwhile is another version, in memory
		return 0, false, nil
	}
	var short [][]byte
	for k := range bases.Files {
		short = append(short, found.Text(k+1))
	}
	i = merge.MadeFrom(found.Text(0), short, bases.Likely, g.format, found.Under(g.Policy()))
	if !found.Fit() {
		return 0, false, nil
	}
	x.noteComplete(whole)
	return i, true, nil
}

// isCopied says whether a base, of which there are so many with those behind it, is what was copied for the fold: in front of all there may
// have been one that turned out not to be read. Of JSON Lines its program may have read more since: lines that were appended behind what it
// had read when it opened its own version. A fold that does not know would take them for that program's.
func (x *Scratch) isCopied(behind int, size int64) bool {
	if x.s.g.format != merge.Lines {
		return true
	}
	i := len(x.about.Bases) - behind
	if i < 0 || x.about.Bases[i] == "" {
		return false
	}
	info, err := x.s.dir.Stat(x.about.Bases[i])
	return err == nil && info.Size == size
}
