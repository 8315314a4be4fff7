//go:build linux

package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// target is one file that is guarded, or that may be: what was read of it counts once somebody writes it.
type target struct {
	tree  *Tree
	key   place
	path  string // as we see it
	named bool   // by a pattern; else it is guessed and guarded gently

	events struct {
		sync.Mutex
		closed   []*writer
		modified []*writer
	}
	wake chan struct{} // asks the folder for a fold

	mu      sync.Mutex       // see unlock
	session *sidecar.Session // nil until something of it has to be kept
	format  merge.Format
	heads   *Heads[*intercept.Process, *version]
	latest  *version // the target as it was opened last

	pending   []*ownVersion // closed, and maybe not folded
	published *version      // of those, what a fold published last
	kept      []*version    // those with an open file
	writers   []*writer
	remade    bool          // a program of the tree made it anew, unguarded
	robbed    bool          // a program removed what was kept beside the target, maybe with all that is there
	gone      bool          // a program of the tree removed it, and nobody made it again; it is still there for others
	goneAt    *version      // what it was then
	emptied   *version      // a program emptied it: what it was before
	partial   []*writer     // closed and incomplete: their program may go on
	temps     []privateTemp // files that are to be renamed over the target
	flocks    []*programLock

	wrote, folded int                // changes, and how many of them are in the target
	tried         int                // the change for which a lock was waited for a moment: see foldNow
	lastBy        *intercept.Process // the last change
	due           bool               // counted in the tree's due
	counted       bool               // in the tree's sessions
	shown         map[*intercept.Process]*shown

	stats   Stats
	failure error
}

// unlock ends what mu was locked for, and keeps count of the targets that stat(2) may not show as a program left them, and of
// those that may be replaced.
func (t *target) unlock() {
	due := len(t.writers) > 0 || len(t.partial) > 0 || t.gone || t.wrote > t.folded
	if due != t.due {
		t.due = due
		if due {
			t.tree.due.Add(1)
		} else {
			t.tree.due.Add(-1)
		}
	}
	if used := t.session != nil; used != t.counted {
		t.counted = used
		if used {
			t.tree.sessions.Add(1)
		} else {
			t.tree.sessions.Add(-1)
		}
	}
	t.mu.Unlock()
}

// changed: something is to be folded.
func (t *target) changed() {
	t.stats.Writes++
	t.wrote++
	t.foldSoon()
}

// Stats are told at the end.
type Stats struct {
	Path      string
	Named     bool
	Writes    int // complete versions that programs wrote
	Conflicts []sidecar.Conflict
	Rejected  []sidecar.Rejected
	Torn      []string // names in quarantine
	Err       error    // of the last fold: what is pending then is on disk
}

// writer is one open file description that a program writes the target through.
type writer struct {
	t       *target
	process *intercept.Process
	tid     int
	scratch *sidecar.Scratch
	file    *os.File // the scratch file, for reading; it outlives its name
	bases   []*version
	likely  int // which of them: see Heads.Bases
	skip    int64

	scratchID intercept.ID
	initial   []byte // nil: empty, and the program was to fill it
	read      bool   // the program can read it

	opened time.Time
	quiet  *time.Timer // runs when it has not been written for a while
	taken  uint64      // hash of what it held when that happened last; 0: it did not

	looked int // how often it was not closed after all
	exited bool
	signal syscall.Signal
	closed bool
	lock   *programLock
}

func (t *target) add(v *version) *version {
	if v.file != nil {
		t.kept = append(t.kept, v)
	}
	return v
}

// keptVersions is how many descriptors of old versions may be open before it is looked which are still needed.
const keptVersions = 64

func (t *target) sweep() {
	needed := map[*version]bool{t.latest: true, t.goneAt: true, t.emptied: true, t.published: true}
	for _, o := range t.pending {
		needed[o.version], needed[o.base] = true, true
	}
	t.heads.Versions(func(v *version) { needed[v] = true })
	for _, w := range t.writers {
		for _, v := range w.bases {
			needed[v] = true
		}
	}
	t.kept = slices.DeleteFunc(t.kept, func(v *version) bool {
		if !needed[v] {
			v.close()
		}
		return !needed[v]
	})
}

// need makes the session: from now on there is something to keep.
func (t *target) need() error {
	t.checkSession()
	if t.session != nil {
		return nil
	}
	o := t.tree.options.Sidecar
	o.LockInside = o.LockInside || !t.named
	o.Held = t.tree.holds
	s, err := sidecar.NewSession(t.path, o)
	if err != nil {
		return err
	}
	t.session, t.robbed, t.format = s, false, s.Guard().Format()
	t.tree.knowGuard(s, t)
	if t.wake == nil {
		t.wake = make(chan struct{}, 1)
		t.tree.folders.Go(t.foldAsAsked)
	}
	return nil
}

// checkSession gives up a session whose directory a program has removed.
func (t *target) checkSession() {
	if t.session == nil {
		return
	}
	if _, err := os.Lstat(t.session.Dir()); errors.Is(err, fs.ErrNotExist) {
		_ = t.session.Close(false)
		t.session, t.robbed, t.folded = nil, true, t.wrote
		for _, w := range append(slices.Clone(t.writers), t.partial...) {
			t.drop(w) // its scratch file was removed with it
		}
	}
}

// leave ends the session early, and takes what is beside the target away if nothing of it is worth keeping.
func (t *target) leave() {
	if err := t.session.Close(true); err != nil {
		t.tree.note("%s: %v", t.path, err)
	}
	t.session = nil
}

// shared says whether the target has a guard directory, so that others may have something pending.
func (t *target) shared() bool {
	t.checkSession()
	if t.session != nil {
		return true
	}
	_, err := os.Lstat(sidecar.GuardDir(t.path))
	return err == nil
}

func (t *target) foldSoon() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// foldAsAsked brings what programs closed into the target, behind their backs. It may wait for locks.
func (t *target) foldAsAsked() {
	const again = 100 * time.Millisecond
	for {
		select {
		case <-t.tree.closing:
			return
		case <-t.wake:
		}
		err := t.fold()
		if err != nil {
			select {
			case <-t.tree.closing:
				return
			case <-time.After(again):
			}
		}
	}
}

func (t *target) fold() error {
	t.mu.Lock()
	t.settle()
	s, wrote, pending, own := t.session, t.wrote, slices.Clone(t.pending), t.own()
	t.unlock()
	if s == nil {
		return nil
	}
	result, err := s.Fold(t.tree.ctx, own)
	t.mu.Lock()
	defer t.unlock()
	if t.session == s {
		t.note(result, err)
	}
	if err == nil {
		t.folded = max(t.folded, wrote)
		t.taken(pending, result.Published)
	}
	return err
}

// note keeps what a fold says for the end.
func (t *target) note(r sidecar.Result, err error) {
	t.failure = err
	t.stats.Rejected = append(t.stats.Rejected, r.Rejected...)
	t.stats.Torn = append(t.stats.Torn, r.Torn...)
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
	if w.lock != nil {
		defer w.lock.release()
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
		case string(content) == string(w.initial):
			w.scratch.Discard() // only read
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
		switch ended, known := w.ending(); {
		case !known:
			return // told with Exited
		case ended != 0:
			t.addOnly(w, w.bases[i])
			return
		}
		if err := w.scratch.Finish(); err != nil {
			t.failed(w, err)
			return
		}
	}
	t.knows(w, w.bases[i], diffed)
	t.written(w)
}

// madeFrom is which of its bases a closed scratch file was made from. Where there is one only, that needs no diff yet, and
// neither has to be in memory.
func (t *target) madeFrom(w *writer) (i int, diffed bool, err error) {
	if len(w.bases) == 1 && t.format == merge.JSON {
		return 0, false, w.scratch.Check(w.file)
	}
	content, err := readAll(w.file)
	if err != nil {
		return 0, false, err
	}
	bases, err := w.readBases()
	if err == nil {
		i, err = w.scratch.Prepare(content, bases)
	}
	return i, true, err
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
	if ended, known := w.ending(); !known {
		return // told with Exited
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
		if err := w.scratch.Appended(context.Background(), w.who(), lines[:whole]); err != nil {
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
	t.closed(w, v, base, diffed)
	t.gone, t.goneAt, t.emptied = false, nil, nil
}

func (t *target) written(w *writer) {
	t.lastBy = w.process
	t.drop(w)
	t.changed()
}

// ending says how the program of a closed scratch file ended: a signal, 0 if it lives on or ended by itself. While it is
// on its way out, known is false.
func (w *writer) ending() (signal syscall.Signal, known bool) {
	if w.exited {
		return w.signal, true
	}
	return 0, !exiting(w.process.PID, w.process.Start)
}

// addOnly folds the beginning of a JSON Lines rewrite whose program was killed.
func (t *target) addOnly(w *writer, from *version) {
	content, err := readAll(w.file)
	if err != nil {
		t.failed(w, err)
		return
	}
	base, err := from.read()
	if err != nil {
		t.failed(w, err)
		return
	}
	_, err = t.session.Publish(w.who(), content, sidecar.Bases{Versions: [][]byte{base}}, true)
	if err != nil {
		t.failed(w, err)
		return
	}
	w.scratch.Discard()
	t.written(w)
}

// incomplete is a closed scratch file that is no document.
func (t *target) incomplete(w *writer, cause error) {
	content, err := readAll(w.file)
	if err != nil {
		t.failed(w, err)
		return
	}
	empty := len(content) == 0
	switch ended, known := w.ending(); {
	case !known:
		return // told with Exited
	case !t.named && ended == 0:
		// What was not named by anybody passes through byte for byte.
		w.scratch.Discard()
		if err := t.session.Guard().Overwrite(context.Background(), content); err != nil {
			t.failed(w, err)
			return
		}
		t.drop(w)
		t.stats.Writes++
		t.heads.Wrote(w.process, w.tid, w.bases[w.likely], missing) // there is no document
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

// quarantine keeps what cannot be merged.
func (t *target) quarantine(w *writer, content []byte) {
	if len(content) > 0 {
		var base []byte
		if len(w.bases) > 0 {
			base, _ = w.bases[w.likely].read()
		}
		name, err := t.session.Quarantine(content, base)
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
	if w.quiet != nil {
		w.quiet.Stop()
	}
	if w.lock != nil {
		w.lock.release()
	}
}

func (w *writer) who() sidecar.Writer {
	return sidecar.Writer{PID: w.process.PID, Command: w.process.Command}
}

func (w *writer) readBases() (sidecar.Bases, error) { return w.basesUpTo(math.MaxInt64) }

// openBases is readBases where large ones need not be in memory.
func (w *writer) openBases() (sidecar.Bases, error) { return w.basesUpTo(large) }

// large is from how many bytes on memory counts.
const large = 1 << 20

func (w *writer) basesUpTo(limit int64) (sidecar.Bases, error) {
	bases := sidecar.Bases{Likely: w.likely, Files: make([]io.ReaderAt, len(w.bases))}
	for i, v := range w.bases {
		if w.t.format == merge.JSON && v.file != nil && v.stamp.size >= limit {
			bases.Versions, bases.Files[i] = append(bases.Versions, nil), v.file
			continue
		}
		content, err := v.read()
		if err != nil {
			return bases, err
		}
		if w.t.format == merge.JSON && len(bytes.TrimSpace(content)) == 0 {
			content = nil // an empty file has no document in it
		}
		bases.Versions = append(bases.Versions, content)
	}
	return bases, nil
}

// starting notes a process, as far as the target is concerned.
func (t *target) starting(p *intercept.Process) {
	if t.heads.Known(p) {
		return
	}
	// Its parent may never have come near the target, and yet be what connects jq . f > tmp with mv tmp f.
	if up := p.Parent; up != nil && !exiting(up.PID, up.Start) {
		t.starting(up)
	}
	start := t.onDisk()
	if !t.named && start != missing && !t.remade && changedSince(t.path, p.Start, t.tree.began) {
		// Nobody looked when it started, and what it was then is gone: what it writes unread is added, and deletes nothing.
		start = missing
	}
	t.heads.Start(p, p.Parent, p.PID, start)
}

// lone: nobody outside this tree has a hand on the target, and nothing of ours is open.
func (t *target) lone() bool {
	return !t.shared() || t.session != nil && t.session.Alone() && len(t.writers) == 0
}

func (t *target) exit(p *intercept.Process) {
	if !t.heads.Known(p) {
		return
	}
	parent := 0
	if p.Parent != nil {
		parent = p.Parent.PID
	}
	t.heads.Exit(p, parent)
}

// reap passes on what processes knew that have ended and of which we are about to be told: a shell that waited for one
// child starts the next at once.
func (t *target) reap() {
	for _, p := range t.heads.Knowing() {
		if exiting(p.PID, p.Start) {
			t.exit(p)
		}
	}
}

// onDisk is the version that is there now, without anything that is pending.
func (t *target) onDisk() *version {
	var st unix.Stat_t
	if unix.Lstat(t.path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return missing
	}
	if t.latest != nil && t.latest.stamp == stampOf(&st) {
		return t.latest
	}
	if t.published != nil && t.published.is(stampOf(&st)) {
		return t.published
	}
	f, err := os.OpenFile(t.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return missing
	}
	defer f.Close()
	return t.opened(f, false)
}

// opened is the version behind a descriptor of the target, which stays the caller's. live: it is given to a program, and
// lines may be appended while that reads.
func (t *target) opened(f *os.File, live bool) *version {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return missing
	}
	live = live && t.format == merge.Lines
	if !live && t.latest != nil && t.latest.stamp == stampOf(&st) {
		return t.latest
	}
	if t.format == merge.JSON && t.published != nil && t.published.is(stampOf(&st)) {
		t.tree.know(stampOf(&st).id, t)
		return t.published
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return missing
	}
	v := t.add(&version{file: os.NewFile(uintptr(fd), t.path), stamp: stampOf(&st), live: live})
	if !live {
		t.latest = v
	}
	t.tree.know(v.stamp.id, t)
	return v
}

// finish is called when no process of the tree is left.
func (t *target) finish(ctx context.Context) {
	t.mu.Lock()
	defer t.unlock()
	for _, w := range t.writers {
		if !w.exited {
			w.exited = true // and it was not told how
		}
	}
	t.events.Lock()
	t.events.closed = append(t.events.closed, t.writers...)
	t.events.Unlock()
	t.checkSession()
	t.settle()
	for _, w := range slices.Clone(t.partial) {
		content, err := readAll(w.file)
		switch {
		case err != nil:
			t.failed(w, err)
		case w.skip > 0:
			t.giveUpLines(w, content[w.skip:])
		default:
			t.quarantine(w, content)
		}
	}
	if t.session == nil {
		return
	}
	result, err := t.session.Fold(ctx, t.own())
	if err != nil {
		if t.checkSession(); t.session == nil { // all there was has been removed
			return
		}
	}
	t.note(result, err)
	if err == nil {
		err = t.withdraw(ctx)
		t.failure = err
	}
}

// withdraw carries out a removal, or an emptying, that nothing came after: if nobody changed the file since.
func (t *target) withdraw(ctx context.Context) error {
	v, remove := t.emptied, false
	if t.gone {
		v, remove = t.goneAt, true
	}
	if v == nil || v == missing {
		return nil
	}
	content, err := v.read()
	if err != nil {
		return err
	}
	done, err := t.session.Guard().Withdraw(ctx, content, remove)
	if err == nil && !done {
		what := "emptied"
		if remove {
			what = "removed"
		}
		t.tree.warn("%s was %s by a program, and changed by another since: it was kept", t.path, what)
	}
	return err
}

// close ends the session.
func (t *target) close() {
	t.mu.Lock()
	defer t.unlock()
	for _, v := range t.kept {
		v.close()
	}
	t.kept = nil
	for _, temp := range t.temps {
		_ = temp.file.Close()
	}
	t.stats.Path, t.stats.Named, t.stats.Err = t.path, t.named, t.failure
	if t.session == nil {
		return
	}
	all, err := t.session.Guard().Conflicts(context.Background())
	if err == nil {
		for _, c := range all {
			if t.tree.had(c.PID) && c.Time.After(t.tree.began) {
				t.stats.Conflicts = append(t.stats.Conflicts, c)
			}
		}
	}
	_, err = os.Lstat(t.path)
	err = t.session.Close(!t.named || errors.Is(err, fs.ErrNotExist))
	if err != nil && (t.stats.Err == nil || errors.Is(t.stats.Err, sidecar.ErrPending)) { // it is pending only if it is on disk
		t.stats.Err = fmt.Errorf("end session: %w", err)
	}
}
