//go:build linux

package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// writer is one open file description that a program writes the target through.
type writer struct {
	t       *target
	process *intercept.Process
	tid     int
	scratch *sidecar.Scratch
	file    *os.File // the scratch file, for reading; it outlives its name
	bases   []*version
	likely  int // which of them: see Heads.Bases
	unread  int // not 0: which of them is it if the first one, that the program finds in the file, is not read: see sidecar.Bases
	skip    int64

	scratchID intercept.ID
	made      attributes    // of the scratch file of a target that was there
	initial   []byte        // nil: empty, and the program was to fill it
	read      bool          // the program can read it
	itsOwn    bool          // and does not hand it to another that it executes (O_CLOEXEC)
	began     unix.Timespec // its time of modification then
	marked    bool          // which is a mark, by which its being written is seen: see sidecar.Bases
	time      unix.Timespec // that it was given by its program; zero: none

	opened time.Time
	quiet  *time.Timer // runs when it has not been written for a while
	taken  uint64      // hash of what it held when that happened last; 0: it did not

	looked int // how often it was not closed after all
	exited bool
	signal syscall.Signal
	closed bool
	lock   *programLock
	held   *os.File // its flock says that the program has it open still: see renameOpen

	superseded bool // its process has closed a complete version since it left this one incomplete
}

// settle takes up what programs have closed since it was called last. t.mu is held.
func (t *target) settle() {
	if len(t.kept) > keptVersions { // here nothing is in between being opened and being noted
		t.sweep()
	}
	t.events.Lock()
	closed := t.events.closed
	t.events.closed = nil
	t.events.Unlock()
	for _, w := range closed {
		if w.closed || !slices.Contains(t.writers, w) {
			continue
		}
		if open, err := intercept.HasWriters(w.file); err == nil && open {
			t.lookAgain(w)
			continue
		}
		w.closed = true
		w.letGo()
		t.settleWriter(w)
	}
	// JSON Lines that wait to be told how their program ended.
	for _, w := range slices.Clone(t.writers) {
		if w.closed {
			t.settleWriter(w)
		}
	}
}

// settleEndings waits a moment for processes that are on their way out, where what they left depends on how they ended: the
// shell that waited for one goes on before we are told.
func (t *target) settleEndings() {
	const patience, step = 50, time.Millisecond
	t.settle()
	for range patience {
		if !slices.ContainsFunc(t.writers, func(w *writer) bool { return w.closed }) {
			return
		}
		t.unlock()
		time.Sleep(step)
		t.mu.Lock()
		t.settle()
	}
}

// lookAgain: another descriptor is left; or the kernel, which tells of a close before it counts the writer out (__fput in
// fs/file_table.c), is between the two. By the program's next call it has done so.
func (t *target) lookAgain(w *writer) {
	t.events.Lock()
	defer t.events.Unlock()
	t.events.closed = append(t.events.closed, w)
	const atMost = 10 // milliseconds, doubled each time
	if w.looked < atMost {
		w.looked++
		time.AfterFunc(time.Millisecond<<w.looked, t.foldSoon)
	}
}

// settleWriter decides what becomes of a closed scratch file.
func (t *target) settleWriter(w *writer) {
	defer func() { // what it wrote is there for who gets the lock next
		if w.lock != nil && !slices.Contains(t.writers, w) {
			w.lock.release()
		}
	}()
	t.takeAttributes(w)
	w.time = w.timeSet()
	if t.foundUnread(w) {
		w.initial = nil // what is the same was written all the same
	}
	if w.skip > 0 || w.initial != nil {
		content, err := readAll(w.file)
		switch {
		case err != nil:
			t.failed(w, err)
			return
		case w.skip > 0:
			t.settleLines(w, content[min(w.skip, int64(len(content))):])
			return
		case w.untouched(content):
			t.setTime(w.time, w.bases[w.likely]) // touch(1)
			w.scratch.Discard()                  // only read
			t.drop(w)
			return
		}
	}
	i, diffed, err := t.madeFrom(w)
	switch {
	case errors.Is(err, sidecar.ErrTorn):
		t.incomplete(w, err)
		return
	case err != nil:
		t.failed(w, err)
		return
	}
	if t.format == merge.Lines {
		ended, known := w.ending(!isEmpty(w.file))
		if !known {
			return // told with Exited
		}
		if err := w.scratch.Finish(ended != 0); err != nil {
			t.failed(w, err)
			return
		}
		if ended != 0 {
			t.written(w)
			return
		}
	}
	t.knows(w, w.bases[i], diffed)
	t.written(w)
}

// foundUnread leaves out of what w may be made from what its program found in it and did not look at. It is asked before the program's
// reading could be taken for that of others.
func (t *target) foundUnread(w *writer) bool {
	if w.unread == 0 || !w.scratch.Unread(w.file) {
		return false
	}
	t.heads.Unread(w.process, w.tid, w.bases[0])
	w.bases, w.likely, w.unread = w.bases[1:], w.unread-1, 0
	return true
}

// mayBeRead: the version that a program is given now may be the one that it found in a file which it has open for writing.
func (t *target) mayBeRead(by *intercept.Process) {
	for _, w := range t.writers {
		if w.unread == 0 || by != nil && w.process != by {
			continue
		}
		if err := w.scratch.TakeAsRead(); err != nil {
			t.tree.note("%s: %v", t.path, err)
		}
		w.unread = 0
	}
}

// untouched: it holds what it was opened with, and nothing else of it was taken meanwhile, which its program took back then.
func (w *writer) untouched(content []byte) bool {
	return w.initial != nil && w.taken == 0 && string(content) == string(w.initial)
}

// madeFrom is which of its bases a closed scratch file was made from. Where there is one only, that needs no diff yet, and
// neither has to be in memory.
func (t *target) madeFrom(w *writer) (i int, diffed bool, err error) {
	if len(w.bases) == 1 && t.format == merge.JSON {
		return 0, false, w.scratch.Check(w.file)
	}
	bases, err := w.openBases()
	if err == nil && t.format == merge.Lines {
		err = w.cut(bases)
	}
	if err == nil {
		i, err = w.scratch.PrepareFrom(w.file, bases)
	}
	return i, true, err
}

// cut is cutFor for those bases whose program found a last line without its newline.
func (w *writer) cut(bases sidecar.Bases) error {
	var ours []byte
	for k, v := range w.bases {
		content := bases.Versions[k]
		if !v.live || len(content) == 0 || content[len(content)-1] == '\n' {
			continue
		}
		if ours == nil {
			var err error
			if ours, err = readAll(w.file); err != nil {
				return err
			}
		}
		bases.Versions[k] = v.cutFor(content, ours)
	}
	return nil
}

// settleLines decides about lines that a closed descriptor has appended.
func (t *target) settleLines(w *writer, lines []byte) {
	if len(lines) == 0 {
		w.scratch.Discard()
		t.drop(w)
		return
	}
	if err := sidecar.Complete(lines, merge.Lines); err == nil {
		t.written(w)
		return
	}
	if ended, known := w.ending(false); !known {
		return // told with Exited
	} else if ended == 0 && !t.named {
		t.passOn(w, func(guard *sidecar.Guard) error { return guard.Append(context.Background(), lines) })
		return
	} else if ended == 0 {
		t.writers = slices.DeleteFunc(t.writers, func(x *writer) bool { return x == w })
		t.partial = append(t.partial, w)
		return
	}
	t.giveUpLines(w, lines)
}

// giveUpLines takes the whole ones of a dead writer's lines, and keeps the rest.
func (t *target) giveUpLines(w *writer, lines []byte) {
	whole := bytes.LastIndexByte(lines, '\n') + 1
	if whole > 0 && sidecar.Complete(lines[:whole], merge.Lines) == nil {
		if err := w.scratch.Salvage(context.Background(), w.who(), lines[:whole]); err != nil {
			t.failed(w, err)
			return
		}
		lines = lines[whole:]
		t.changed()
	}
	t.quarantine(w, lines)
}

// knows notes what a program has in its hands after it wrote.
func (t *target) knows(w *writer, base *version, diffed bool) {
	var st unix.Stat_t
	if unix.Fstat(int(w.file.Fd()), &st) != nil {
		return
	}
	v := t.add(&version{file: w.file, stamp: stampOf(&st)})
	w.file = nil // the version's now
	t.heads.Wrote(w.process, w.tid, base, v)
	t.supersede(w.process)
	t.ours = v
	t.closed(w, v, base, diffed)
	t.gone, t.goneAt, t.emptied = false, nil, nil
}

func (t *target) written(w *writer) {
	t.lastBy = w.process
	t.drop(w)
	t.changed()
}

// ending says how the program of a closed scratch file ended: a signal, 0 if it lives on or ended by itself. While it is
// on its way out, known is false. Where nothing tells, it was killed if it opened the file for itself and left less than a whole version
// (whole is false), or nothing. A shell opens a file for what it executes, which may well write nothing.
func (w *writer) ending(whole bool) (signal syscall.Signal, known bool) {
	switch {
	case !w.exited:
		return 0, !exiting(w.process.PID, w.process.Start)
	case w.signal != intercept.UnknownEnd:
		return w.signal, true
	case w.itsOwn && !whole:
		return unix.SIGKILL, true
	}
	return 0, true
}

func isEmpty(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Size() == 0
}

// incomplete is a closed scratch file that is no document.
func (t *target) incomplete(w *writer, cause error) {
	content, err := readAll(w.file)
	if err != nil {
		t.failed(w, err)
		return
	}
	empty := len(content) == 0
	switch ended, known := w.ending(false); {
	case !known:
		return // told with Exited
	case !t.named && ended == 0:
		if t.passOn(w, func(guard *sidecar.Guard) error { return guard.Overwrite(context.Background(), content) }) {
			t.heads.Wrote(w.process, w.tid, w.bases[w.likely], missing) // there is no document
		}
	case ended != 0:
		t.quarantine(w, content)
	case empty:
		w.scratch.Discard()
		t.drop(w)
		if len(w.bases) > 0 {
			t.empty(w.process, w.tid, w.bases[w.likely])
		}
	default:
		t.tree.note("%s: process %d (%s) closed an incomplete version: %v", t.path, w.process.PID, w.process.Command, cause)
		t.writers = slices.DeleteFunc(t.writers, func(x *writer) bool { return x == w })
		t.partial = append(t.partial, w)
	}
}

// passOn puts what a program closed into a file that nobody named as it is, which is no JSON then: byte for byte.
func (t *target) passOn(w *writer, put func(*sidecar.Guard) error) bool {
	pending := slices.Clone(t.pending)
	// While we hold it, no fold takes it for a torn write of somebody who has died.
	_ = unix.Flock(int(w.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err := put(t.session.Guard()); err != nil {
		t.failed(w, err)
		return false
	}
	var st unix.Stat_t
	if unix.Fstat(int(w.file.Fd()), &st) == nil {
		t.setTime(w.time, &version{file: w.file, stamp: stampOf(&st)})
	}
	w.scratch.Discard()
	t.drop(w)
	t.stats.Writes++
	t.folded = t.wrote // all that was pending went before it
	t.taken(pending, nil)
	return true
}

// quarantine keeps what cannot be merged.
func (t *target) quarantine(w *writer, content []byte) {
	if len(content) > 0 {
		var base []byte
		if len(w.bases) > 0 {
			base, _ = w.bases[w.likely].read()
		}
		name, err := w.scratch.Quarantine(content, base)
		if err != nil {
			t.failed(w, err)
			return
		}
		t.stats.Torn = append(t.stats.Torn, name)
		t.tree.warn("%s: process %d (%s) left an incomplete version; it is in quarantine: %s", t.path, w.process.PID, w.process.Command, name)
	}
	w.scratch.Discard()
	t.drop(w)
}

// failed gives a scratch file up to the next fold: it stays on disk.
func (t *target) failed(w *writer, err error) {
	t.failure = err
	t.tree.warn("%s: %v", t.path, err)
	t.drop(w)
}

func (t *target) drop(w *writer) {
	t.tree.forget(w.id())
	t.writers = slices.DeleteFunc(t.writers, func(x *writer) bool { return x == w })
	t.partial = slices.DeleteFunc(t.partial, func(x *writer) bool { return x == w })
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
	w.letGo()
	if w.quiet != nil {
		w.quiet.Stop()
	}
	if w.lock != nil {
		w.lock.release()
	}
}

// letGo gives a scratch file that was taken over to whoever folds.
func (w *writer) letGo() {
	if w.held != nil {
		_ = w.held.Close()
		w.held = nil
	}
}

func (w *writer) who() sidecar.Writer {
	return sidecar.Writer{PID: w.process.PID, Command: w.process.Command}
}

func (w *writer) readBases() (sidecar.Bases, error) {
	return basesUpTo(math.MaxInt64, w.t.format, w.bases, w.likely)
}

// openBases is readBases where large ones need not be in memory.
func (w *writer) openBases() (sidecar.Bases, error) {
	return basesUpTo(sidecar.Large, w.t.format, w.bases, w.likely)
}

func basesUpTo(limit int64, format merge.Format, versions []*version, likely int) (sidecar.Bases, error) {
	bases := sidecar.Bases{Likely: likely, Files: make([]io.ReaderAt, len(versions))}
	for i, v := range versions {
		if v.file != nil {
			size := v.given()
			if size >= limit && (format == merge.JSON || endsLine(v.file, size)) { // else what it has in part is left out, in memory
				bases.Versions, bases.Files[i] = append(bases.Versions, nil), io.NewSectionReader(v.file, 0, size)
				continue
			}
		}
		content, err := v.read()
		if err != nil {
			return bases, err
		}
		if format == merge.JSON && len(bytes.TrimSpace(content)) == 0 {
			content = nil // an empty file has no document in it
		}
		if format == merge.Lines {
			content = wholeLines(content)
		}
		bases.Versions = append(bases.Versions, content)
	}
	return bases, nil
}
