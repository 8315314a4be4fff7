//go:build linux

package session

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// quietFor is how long a scratch file that is held open must not have been written before what it holds is taken, if it
// is complete. TinyDB opens its file once and never closes it.
const quietFor = 50 * time.Millisecond

// takenSeed is of the hashes by which what was taken is known again.
var takenSeed = maphash.MakeSeed()

// touched is told of every write. It must not wait.
func (w *writer) touched() {
	w.t.events.Lock()
	defer w.t.events.Unlock()
	if w.quiet == nil {
		w.quiet = time.AfterFunc(quietFor, w.rested)
		return
	}
	w.quiet.Reset(quietFor)
}

// rested takes what is complete, as additions: its program may be in the middle of something.
func (w *writer) rested() {
	t := w.t
	t.mu.Lock()
	defer t.unlock()
	t.settle()
	if w.closed || !slices.Contains(t.writers, w) {
		return
	}
	if open, err := intercept.HasWriters(w.file); err == nil && !open {
		return // it was closed, and we are about to be told
	}
	if w.skip > 0 {
		t.restedLines(w)
		return
	}
	if t.format == merge.JSON && !mayBeWhole(w.file) {
		return // of a large one that is being written
	}
	if t.format == merge.Lines && len(w.bases) > 1 {
		return // it may be the beginning of a rewrite, and of which version, only its end tells
	}
	if t.addsNothing(w) {
		return // nor would it be in memory
	}
	content, err := readAll(w.file)
	if err != nil || sidecar.Complete(content, t.format) != nil || maphash.Bytes(takenSeed, content) == w.taken {
		return
	}
	if w.initial != nil && string(content) == string(w.initial) {
		return
	}
	w.taken = maphash.Bytes(takenSeed, content)
	t.submitContent(w, content, true)
}

// addsNothing says of large lines that are being written over that nothing is to be taken of what is there so far.
func (t *target) addsNothing(w *writer) bool {
	if t.format != merge.Lines || t.gone || w.initial != nil || w.unread != 0 || len(w.bases) != 1 || w.bases[0].file == nil {
		return false
	}
	info, err := w.file.Stat()
	base := w.bases[0]
	return err == nil && w.scratch.AddsNothing(io.NewSectionReader(w.file, 0, info.Size()), io.NewSectionReader(base.file, 0, base.given()))
}

// mayBeWhole looks at both ends of a document: what begins with a bracket ends with its counterpart.
func mayBeWhole(f *os.File) bool {
	const look = 512
	info, err := f.Stat()
	if err != nil {
		return true // reading it says why
	}
	var head, tail [look]byte
	n, _ := f.ReadAt(head[:], 0)
	m, _ := f.ReadAt(tail[:], max(0, info.Size()-look))
	begin, end := bytes.TrimSpace(head[:n]), bytes.TrimSpace(tail[:m])
	if len(begin) == 0 || len(end) == 0 {
		return true // white space, or nothing
	}
	switch begin[0] {
	case '{':
		return end[len(end)-1] == '}'
	case '[':
		return end[len(end)-1] == ']'
	}
	return true
}

// restedLines takes the whole lines that a descriptor has appended since it was looked at last. What comes behind them may be torn,
// and go to quarantine: they must not go with it.
func (t *target) restedLines(w *writer) {
	content, err := readAll(w.file)
	if err != nil || int64(len(content)) <= w.skip {
		return
	}
	lines := content[w.skip:]
	for len(lines) > 0 && lines[len(lines)-1] != '\n' {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 || sidecar.Complete(lines, merge.Lines) != nil {
		return
	}
	switch err := w.scratch.Appended(context.Background(), w.who(), lines); {
	case errors.Is(err, sidecar.ErrClosed):
		return // we are about to be told
	case err != nil:
		t.failed(w, err)
		return
	}
	w.skip += int64(len(lines))
	t.changed()
}

// Sync: a program that has its data made durable is done with it. The kernel syncs the scratch file.
func (t *Tree) Sync(c *intercept.Call, d intercept.Descriptor) error {
	t.sync(d)
	return intercept.Continue
}

func (t *Tree) sync(d intercept.Descriptor) {
	w := t.scratch(d.ID)
	if w == nil {
		return
	}
	x := w.t
	x.mu.Lock()
	defer x.unlock()
	x.settle()
	switch {
	case w.closed || w.file == nil:
		return
	case w.skip > 0:
		x.restedLines(w)
		return
	case w.initial == nil && !held(w):
		return // it will be closed in a moment, and then nothing is guessed
	}
	x.submit(w)
}

// held says whether a scratch file has been open for longer than a write takes.
func held(w *writer) bool {
	var st unix.Stat_t
	return unix.Fstat(int(w.file.Fd()), &st) == nil && time.Since(w.opened) > quietFor
}

// submit takes what an open scratch file holds for a complete version: its program has said that it is done with it, for
// now.
func (t *target) submit(w *writer) {
	if w == nil || w.skip > 0 {
		return
	}
	content, err := readAll(w.file)
	if err != nil || w.untouched(content) {
		return
	}
	t.submitContent(w, content, false)
}

// submitContent publishes what an open scratch file holds now. additions: its writer may not be done, so that nothing is
// deleted; what was not taken stays for later.
func (t *target) submitContent(w *writer, content []byte, additions bool) {
	t.foundUnread(w)
	bases, err := w.readBases()
	if err != nil {
		return
	}
	i, base, err := w.scratch.Submit(context.Background(), w.who(), content, bases, additions)
	switch {
	case errors.Is(err, sidecar.ErrTorn), errors.Is(err, sidecar.ErrClosed): // in the middle of something, or we are about to be told
		return
	case err != nil:
		t.failed(w, err)
		return
	}
	v := t.submitted(w, base)
	if !additions {
		t.heads.Wrote(w.process, w.tid, w.bases[i], v)
		w.initial, w.taken = base, 0
	}
	t.gone, t.goneAt, t.emptied = false, nil, nil
	w.bases, w.likely = []*version{v}, 0
	t.changed()
}
