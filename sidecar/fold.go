package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
	"jsonguard/merge"
)

// fold applies pending changes to the target in one rewrite, exactly once. The steps and their order are those of
// the model in tests/model, where each of them was seen to be needed: change the model first.
//
//	1 lock     <target>.lock, then guard/lock
//	2 settle   did the last commit's step happen? A waiter whose change is in the target by now is done
//	3 collect  pending changes above the watermarks
//	4 apply    to the document in memory, each change with its own verdict
//	5 prepare  quarantine, conflict log, temporary file, all synced
//	6 commit   write and sync the other commit record
//	7 publish  rename, sync the directory, settled
//	8 sweep    sidecars and temporary files that are not needed any more
type fold struct {
	g    *Guard
	s    *store // nil: nothing is or becomes pending, no record is needed
	own  ownChange
	lock *heldLocks

	last       *commit    // newest valid record
	settled    bool       // its step happened and is on disk
	marks      watermarks // what is in the target now
	moved      moved      // what it calls otherwise than its writers do
	target     *snapshot
	sidecars   []*sidecarFile
	sessions   []*sessionDir
	seen       map[string]readSoFar
	held       int        // descriptors of dead processes' sidecars
	after      watermarks // what will be
	movedAfter moved
	pending    []pendingLine
	maker      *scratchFile // of a program that makes the target
	ownErr     error
	unread     error // why the sidecar that this fold is for could not be read

	doc       *merge.Document // nil: the block below is all there is
	content   []byte          // of doc, when all is applied
	block     []byte          // JSON Lines: appended in place
	conflicts []Conflict
	rejected  []rejection
	folded    int
	torn      []string // quarantined while adopting dead views
}

// ownChange is what the caller brings in memory, acknowledged when the fold is and lost without a trace before, or
// what it waits for.
type ownChange struct {
	ops      []merge.Op
	apply    func(*merge.Document) ([]merge.Conflict, error)
	kept     change // already in a sidecar: the fold is to bring it in, if nobody did
	all      bool   // fold what others left, too, where kept is in already
	prepared preparedChange
}

func (o ownChange) empty() bool { return len(o.ops) == 0 && o.apply == nil }

// change names one line of a sidecar. The zero value is none.
type change struct {
	sidecar string
	seq     uint64
}

func (m watermarks) cover(c change) bool { return m[c.sidecar] >= c.seq }

// sidecarFile is one file of pending/, open.
type sidecarFile struct {
	readJournal
	name  string
	file  vfs.File // nil: released
	dead  bool     // its flock was to be had: it is ours now
	final bool     // a view that nobody used any more when it was adopted: its program may live longer than its wrapper
	keep  bool     // damaged, or not ours to fold: never removed
	stuck bool     // a version that a line names could not be read: that line and those behind it wait for the next fold
}

type pendingLine struct {
	line
	from    *sidecarFile
	scratch *scratchFile // of a Session: the line is made up
}

type rejection struct {
	pendingLine
	reason error
}

// errRemoved: only a change that was made against a missing target creates it.
var errRemoved = fmt.Errorf("%w: the target was removed or moved away", ErrRejected)

// errMoved: the target was replaced by somebody without a lock between our reading it and our renaming.
var errMoved = errors.New("target was replaced meanwhile")

// errPassedOver: a fold went well, but could not read the sidecar that it was for.
var errPassedOver = errors.New("its sidecar could not be read")

// fold needs g.turn. It waits for locks until the given time.
func (g *Guard) fold(ctx context.Context, own ownChange, until time.Time) (result Result, err error) {
	const attempts = 10
	needStore := false
	for range attempts {
		result, err = g.foldOnce(ctx, own, needStore, until)
		switch {
		case errors.Is(err, errNeedsRecord):
			needStore = true
		case errors.Is(err, lock.ErrLost) && !errors.Is(err, ErrNotDurable):
			// Found out before anything was published: it is done again under the lock that counts now.
		default:
			return result, err
		}
	}
	return result, err
}

func (g *Guard) foldOnce(ctx context.Context, own ownChange, needStore bool, until time.Time) (Result, error) {
	held, err := g.lockAll(ctx, needStore, until)
	if err != nil {
		return Result{}, g.fail("lock", err, "")
	}
	defer held.release()
	const attempts = 100 // each needs an outsider who replaces the target in the same moment
	for range attempts {
		if err := ctx.Err(); err != nil {
			return Result{}, g.fail("fold", err, "")
		}
		result, err := g.attempt(held, own)
		if !errors.Is(err, errMoved) || errors.Is(err, ErrNotDurable) { // what may have happened is not done again
			return result, g.fail("fold", err, hintFor(err))
		}
	}
	return Result{}, g.fail("fold", errMoved, "a program without a lock replaces it all the time: run it under jsonguard exec")
}

func (g *Guard) attempt(held *heldLocks, own ownChange) (Result, error) {
	f := &fold{g: g, s: held.store, own: own, lock: held}
	defer f.close() // fn of an Update may panic
	return f.run()
}

func hintFor(err error) string {
	var syntax *merge.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return "the file was left as it is; repair it by hand, then try again: what is pending stays pending"
	case errors.Is(err, ErrDamaged):
		return "nothing was changed; jsonguard verify shows what is wrong"
	case errors.Is(err, ErrNotDurable):
		return "do not repeat the change: it may be there"
	}
	return ""
}

func (f *fold) run() (Result, error) {
	if err := f.settle(); err != nil {
		return Result{}, err
	}
	f.noteFolded()
	if f.own.kept.seq > 0 && !f.own.all && f.marks.cover(f.own.kept) {
		return f.result(true), nil // somebody folded it, durably: nothing to write and nothing to wait for
	}
	if err := f.collect(); err != nil {
		return Result{}, err
	}
	changed := false
	if len(f.pending) > 0 || !f.own.empty() {
		if err := f.apply(); err != nil {
			return Result{}, err
		}
		var err error
		if changed, err = f.publish(); err != nil {
			return Result{}, err
		}
		f.noteFolded()
	}
	if err := f.sweep(); err != nil { // what was published is published
		f.g.warn("not tidied up: %v", err)
	}
	if !f.marks.cover(f.own.kept) {
		return f.result(changed), errors.Join(errPassedOver, f.unread)
	}
	return f.result(changed), f.ownErr
}

// noteFolded remembers how much of the own sidecar is in the target for good.
func (f *fold) noteFolded() {
	f.g.mu.Lock()
	defer f.g.mu.Unlock()
	if j := f.g.journal; j != nil {
		j.folded = max(j.folded, f.marks[j.id])
	}
}

func (f *fold) result(changed bool) Result {
	r := Result{Changed: changed, Folded: f.folded, Conflicts: f.conflicts, Torn: f.torn}
	if f.last != nil {
		r.Generation = f.last.Generation
	}
	for _, x := range f.rejected {
		r.Rejected = append(r.Rejected, x.summary())
	}
	return r
}

func (f *fold) close() {
	if f.target != nil {
		f.target.close()
	}
	for _, sc := range f.sidecars {
		sc.release()
	}
	for _, sd := range f.sessions {
		_ = sd.dir.Close()
	}
}

// release lets go of the file, and of its flock where that is ours.
func (sc *sidecarFile) release() {
	if sc.file != nil {
		_ = sc.file.Close()
		sc.file, sc.dead = nil, false
	}
}

// settle finds out whether the last commit's step happened, which decides which watermarks count.
func (f *fold) settle() error {
	if err := f.readTarget(); err != nil {
		return err
	}
	f.recall()
	f.marks = watermarks{}
	if f.s == nil {
		return nil
	}
	last, err := f.s.newestCommit()
	if err != nil {
		return err
	}
	f.last = last
	f.target.knownAs(last.To)
	settled := f.s.readSettled()
	if settled == last.Generation {
		f.marks, f.moved, f.settled = last.After, last.MovedAfter, true
		return nil
	}
	if settled > last.Generation {
		// It is written after its record is on disk. Going on with an older one would apply changes again.
		return fmt.Errorf("%w: generation %d was settled, the newest valid commit record is %d", ErrDamaged, settled, last.Generation)
	}
	f.g.swept = false // somebody died in a fold: look for what it left
	// A record that was written but not synced may vanish with the next power cut, and its neighbour is older.
	if err := f.s.resyncCommit(last); err != nil {
		return fmt.Errorf("sync commit record: %w", err)
	}
	happened, err := f.happened()
	if err != nil {
		return err
	}
	if !happened {
		f.marks, f.moved = last.Before, last.MovedBefore
		return nil
	}
	// The rename may be in memory only: nothing may be built on it before it is on disk.
	if err := f.g.resyncParent(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	f.marks, f.moved, f.settled = last.After, last.MovedAfter, true
	return f.s.writeSettled(last, last.Kind == kindOverwrite)
}

// resyncParent syncs the target's directory after a fold that may have failed to: where that leaves the directory clean
// and not on disk, a new entry gives this fsync something to do.
func (g *Guard) resyncParent() error {
	name := g.newTempName()
	file, err := g.parent.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(file.Close(), g.parent.Sync())
	_ = g.parent.Remove(name) // else the next sweep does
	return err
}

// happened judges by what is there: the new version, or the temporary file that would have become it. Content counts
// only where no file tells (a target that was copied together with its guard has new inodes): somebody without a lock
// may have written the very bytes that the fold was about to.
func (f *fold) happened() (bool, error) {
	last := f.last
	switch last.Kind {
	case kindNone:
		return true, nil
	case kindAppend:
		return f.redoAppend()
	}
	now, err := f.target.identity()
	if err != nil {
		return false, err
	}
	if now.sameFile(last.To) {
		return true, nil
	}
	temp, err := f.readTemp(last.Temp)
	if err != nil {
		return false, err
	}
	intact := temp != nil && temp.id.same(last.To)
	switch {
	case last.Kind == kindOverwrite && intact:
		// The target may be torn, or whole in memory only; its new content is safe in the temporary file: do it again.
		if err := f.overwriteTarget(temp.content); err != nil {
			return false, err
		}
		return true, f.readTarget()
	case intact:
		return false, nil
	case now.same(last.To):
		return true, nil
	case now.same(last.From):
		return false, nil
	default:
		return true, nil // replaced by somebody after us
	}
}

// collect reads every sidecar, adopts what dead views left, and puts the changes into their order.
func (f *fold) collect() error {
	f.after = watermarks{}
	if f.s == nil {
		return nil
	}
	f.takeTorn()
	names, err := f.s.pending.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue // being made
		}
		sc, err := f.openSidecar(name)
		if isMissing(err) {
			continue // its owner just left
		}
		// What cannot be read is neither folded nor removed, and keeps its watermark: it may be readable next time.
		if mark := f.marks[name]; mark > 0 {
			f.after[name] = mark
		}
		if err != nil {
			f.passOver(name, err)
			continue
		}
		f.sidecars = append(f.sidecars, sc)
		for _, l := range sc.lines {
			f.pending = append(f.pending, pendingLine{line: l, from: sc})
		}
	}
	f.g.remembered.sidecars, f.seen = f.seen, nil
	if err := f.collectScratches(); err != nil {
		return err
	}
	if err := f.syncRemovals(); err != nil {
		return err
	}
	slices.SortStableFunc(f.pending, comparePending)
	return nil
}

// passOver leaves a sidecar, or the rest of it, to the next fold.
func (f *fold) passOver(name string, err error) {
	f.g.warn("%s/%s/%s was passed over: %v", f.g.GuardDir(), pendingName, name, err)
	if name == f.own.kept.sidecar {
		f.unread = err
	}
}

// comparePending: the generation a writer saw when it appended orders writers that knew of each other; within one
// boot the monotonic clock does.
func comparePending(a, b pendingLine) int {
	if a.from == b.from {
		return compare(a.Seq, b.Seq)
	}
	if c := compare(a.Generation, b.Generation); c != 0 {
		return c
	}
	if c := strings.Compare(a.from.header.Boot, b.from.header.Boot); c != 0 {
		return c
	}
	if c := compare(a.Monotonic, b.Monotonic); c != 0 {
		return c
	}
	return strings.Compare(a.from.name, b.from.name)
}

func compare[T int64 | uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// descriptorLimit bounds how many sidecars of dead processes one fold keeps open, and so removes: the next fold goes on.
const descriptorLimit = 256

// openSidecar reads one file of pending/. What is no regular file is an error: nobody who could write the target put it
// there, and it is never followed nor waited for.
func (f *fold) openSidecar(name string) (*sidecarFile, error) {
	file, err := f.s.pending.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	sc := &sidecarFile{name: name, file: file}
	// Before reading: what a dead owner left is then final. Liveness decides removal only, never folding.
	sc.dead, _ = file.TryLock()
	if err := f.readSidecar(sc); err != nil {
		sc.release()
		return nil, err
	}
	if sc.dead && f.held < descriptorLimit {
		f.held++
	} else {
		sc.release()
	}
	return sc, nil
}

func (f *fold) readSidecar(sc *sidecarFile) error {
	path := func() string { return filepath.Join(f.g.GuardDir(), pendingName, sc.name) }
	if done, err := f.readOn(sc); done || err != nil {
		return err
	}
	info, err := sc.file.Stat()
	if err != nil {
		return err
	}
	if !f.mayWrite(info.UID) {
		sc.keep = true
		f.g.warn("%s belongs to user %d, who may not write the target: not folded", path(), info.UID)
		return nil
	}
	content, info, err := readJournalFile(sc.file)
	if err != nil {
		return err
	}
	if sc.readJournal, err = parseJournal(content, f.marks[sc.name]); err != nil {
		sc.readJournal = readJournal{}
		if sc.dead && unborn(content) {
			return nil
		}
		sc.keep = true
		f.g.warn("%s: %v: not folded", path(), err)
		return nil
	}
	if sc.damage != "" {
		sc.keep = true
		f.g.warn("%s is damaged (%s): folded up to there; jsonguard verify --repair moves it to quarantine", path(), sc.damage)
	}
	if !sc.header.View && !sc.keep {
		f.noteRead(sc, content, info.Inode)
	}
	if sc.header.View && sc.dead && !sc.keep {
		if err := f.adopt(sc); err != nil {
			sc.keep = true
			f.g.warn("%s: the copy of process %d (%s) was not taken in: %v", path(), sc.header.PID, sc.header.Command, err)
		}
	}
	return nil
}

// unborn: its process died before the header was on disk, so that nothing in it was ever promised. Anything behind the
// place of the header means that there was one.
func unborn(content []byte) bool {
	content = bytes.Trim(content, "\x00") // what a power cut may leave of unsynced blocks
	_, rest, _ := bytes.Cut(content, []byte("\n"))
	return len(rest) == 0
}

// mayWrite: a sidecar is folded only if its owner could have written the target.
func (f *fold) mayWrite(uid int) bool {
	if f.target.missing || uid <= 0 || uid == f.target.info.UID || uid == os.Getuid() {
		return true
	}
	return f.target.info.Mode.Perm()&0o022 != 0
}

// apply brings every change into the document. What is refused is noted with its reason and holds up nothing.
func (f *fold) apply() error {
	if f.appendOnly() {
		return nil
	}
	if err := f.open(); err != nil {
		return err
	}
	if err := f.doc.Under(f.g.options.Policy); err != nil {
		return err
	}
	if err := f.applyChanges(); err != nil {
		return err
	}
	f.derive(f.target.content)
	return nil
}

func (f *fold) applyChanges() error {
	written := map[string]writtenPlace{}
	f.movedAfter = maps.Clone(f.moved)
	for _, p := range f.pending {
		if p.from.stuck {
			continue
		}
		conflicts, err := f.applyLine(p, written)
		if errors.Is(err, errDiscarded) {
			continue
		}
		if errors.Is(err, errUnreadable) {
			p.from.stuck = true
			f.passOver(p.from.name, err)
			continue
		}
		if err != nil {
			f.rejected = append(f.rejected, rejection{p, err})
		} else {
			f.folded++
			f.noteConflicts(&p, conflicts)
		}
		f.after[p.from.name] = p.Seq
	}
	if f.own.empty() {
		return nil
	}
	if f.own.apply == nil {
		f.ownErr = f.doc.Do(f.own.ops...)
		if f.ownErr == nil {
			f.noteConflicts(nil, overwritten(f.own.ops, written, nil))
		}
		return nil
	}
	// fn may do half of its work and then fail: it works on a document of its own.
	trial, err := merge.Parse(f.doc.Bytes(), f.g.format)
	if err != nil {
		return err
	}
	if err := trial.Under(f.g.options.Policy); err != nil {
		return err
	}
	conflicts, err := f.own.apply(trial)
	if err != nil {
		f.ownErr = err
		return nil
	}
	f.doc = trial
	f.noteConflicts(nil, conflicts)
	return nil
}

// open makes a document of the target.
func (f *fold) open() error {
	if f.doc = f.target.doc; f.doc != nil {
		return nil
	}
	content, err := f.target.read()
	if err == nil {
		f.doc, err = merge.Parse(content, f.g.format)
	}
	return err
}

// writtenPlace is who set a place in this very fold, and to what.
type writtenPlace struct {
	by    *sidecarFile
	value []byte
}

func (f *fold) applyLine(p pendingLine, written map[string]writtenPlace) ([]merge.Conflict, error) {
	if p.scratch != nil {
		return f.applyScratch(&p)
	}
	if f.target.missing && f.doc.Missing() && !p.New {
		return nil, errRemoved
	}
	if p.Ours != "" {
		return f.applyVersion(p)
	}
	ops, err := p.decodeOps()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	conflicts := overwritten(ops, written, p.from)
	return conflicts, f.doc.Do(ops...)
}

// overwritten lists values that another writer set within this fold and that nobody will ever have seen: an
// operation has no base, so that this is all that can be known of two writers having meant the same place.
func overwritten(ops []merge.Op, written map[string]writtenPlace, by *sidecarFile) []merge.Conflict {
	var lost []merge.Conflict
	for _, op := range ops {
		if op.Kind != "set" && op.Kind != "delete" {
			continue
		}
		before, there := written[op.At]
		if there && before.by != by && string(before.value) != string(op.Value) {
			lost = append(lost, merge.Conflict{At: op.At, Ours: op.Value, Theirs: before.value, Taken: "ours", Reason: "set twice within one fold"})
		}
		written[op.At] = writtenPlace{by, op.Value}
	}
	return lost
}

// appendOnly prepares the cheap way of JSON Lines: whole lines at the end, the file is neither read nor rewritten.
func (f *fold) appendOnly() bool {
	if f.g.format != merge.Lines || f.target.missing || f.s == nil || f.own.apply != nil {
		return false
	}
	var block []byte
	add := func(ops []merge.Op) bool {
		for _, op := range ops {
			if op.Kind != "append" || op.At != "" {
				return false
			}
			block = append(merge.Compact(block, op.Value), '\n')
		}
		return true
	}
	for _, p := range f.pending {
		if p.scratch != nil {
			if p.scratch.about.Skip == 0 {
				return false
			}
			block = appendLines(block, p.scratch.content)
			continue
		}
		ops, err := p.decodeOps()
		if err != nil || len(ops) == 0 || !add(ops) {
			return false
		}
	}
	if !add(f.own.ops) || !f.target.endsWithNewline() || f.g.options.Policy.TouchesNewLines() {
		return false
	}
	f.block = block
	for _, p := range f.pending {
		f.after[p.from.name] = p.Seq
		f.folded++
	}
	return true
}

func (f *fold) noteConflicts(p *pendingLine, conflicts []merge.Conflict) {
	if len(conflicts) == 0 {
		return
	}
	host, _ := os.Hostname()
	for _, c := range conflicts {
		entry := Conflict{
			Time: time.Now().UTC(), Host: host, PID: os.Getpid(), Command: f.g.options.Command,
			At: c.At, Base: text(c.Base), Ours: text(c.Ours), Theirs: text(c.Theirs),
			Taken: c.Taken, Refused: c.Refused, Reason: c.Reason,
		}
		if p != nil {
			h := p.from.header
			entry.Sidecar, entry.Seq, entry.Host, entry.PID, entry.Command = p.from.name, p.Seq, h.Host, h.PID, h.Command
		}
		f.conflicts = append(f.conflicts, entry)
	}
}

func text(raw []byte) *string {
	if raw == nil {
		return nil
	}
	s := string(raw)
	return &s
}

// heldLocks are the locks of one fold, in the order they were taken.
type heldLocks struct {
	targets []targetLock
	guard   vfs.File
	store   *store
}

func (h *heldLocks) release() {
	if h.guard != nil {
		_ = h.guard.Close() // closing the only descriptor releases its flock (flock(2))
	}
	for _, l := range slices.Backward(h.targets) {
		_ = l.Release()
	}
}

// check is called just before a step that would hurt whoever holds the locks by now: are they still ours?
func (h *heldLocks) check() error {
	for _, l := range h.targets {
		if err := l.Check(); err != nil {
			return err
		}
	}
	if leased, ok := h.guard.(*leasedFile); ok {
		return leased.Check()
	}
	return nil
}

// lockAll takes <target>.lock and, where there is or must be a guard directory, guard/lock. It waits until the given
// time; a past one means trying once.
func (g *Guard) lockAll(ctx context.Context, needStore bool, until time.Time) (*heldLocks, error) {
	h := &heldLocks{}
	inherited := len(g.lockNames) == 0
	for _, name := range g.lockNames {
		l, err := g.seams.lockTarget(ctx, name, left(until))
		if err != nil {
			h.release()
			return nil, err
		}
		h.targets = append(h.targets, l)
		inherited = inherited || l.Inherited()
	}
	// Under somebody else's hold <target>.lock excludes nobody of the same tree: guard/lock has to.
	// JSON Lines are appended in place, and only a record tells a torn append from a whole one.
	if err := g.lockStore(ctx, h, needStore || inherited || g.format == merge.Lines, until); err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

func (g *Guard) lockStore(ctx context.Context, h *heldLocks, create bool, until time.Time) error {
	for {
		s, err := g.openedStore(create)
		if isMissing(err) && !create {
			return nil
		}
		if err != nil {
			return fmt.Errorf("guard directory %s: %w", g.GuardDir(), err)
		}
		file, err := s.openGuardLock()
		if err == nil {
			if err := waitLock(ctx, file, left(until)); err != nil {
				return err
			}
			there, err := s.stillThere(g)
			if err == nil && there {
				h.guard, h.store = file, s
				return nil
			}
			_ = file.Close()
			if err != nil {
				return err
			}
		} else if !isMissing(err) {
			return err
		}
		// The directory was removed or replaced while we waited.
		if err := g.forget(s); err != nil {
			return err
		}
	}
}

// patience is how long to wait for locks, all in all; 0 means trying once.
func (g *Guard) patience() time.Duration {
	if g.options.Timeout == 0 {
		return lock.DefaultTimeout
	}
	return max(0, g.options.Timeout)
}

func (g *Guard) deadline() time.Time { return time.Now().Add(g.patience()) }

// left is how long until then, never negative.
func left(until time.Time) time.Duration { return max(0, time.Until(until)) }

// enter takes this Guard's turn to fold.
func (g *Guard) enter(ctx context.Context, until time.Time) error {
	if err := g.checkReentry(); err != nil {
		return err
	}
	err := g.turn.take(ctx, left(until))
	if errors.Is(err, lock.ErrTimeout) {
		return g.fail("lock", err, "another goroutine folds through the same Guard")
	}
	return g.fail("lock", err, "")
}

// waitLock takes file's flock, or closes file. flock(2) cannot be given up: a waiter that does is left behind and
// lets go as soon as it gets it.
func waitLock(ctx context.Context, file vfs.File, wait time.Duration) error {
	if ok, err := file.TryLock(); ok || err != nil {
		if err != nil {
			_ = file.Close()
		}
		return err
	}
	timedOut := fmt.Errorf("guard lock: %w", lock.ErrTimeout)
	if wait == 0 {
		return errors.Join(timedOut, file.Close())
	}
	got := make(chan error, 1)
	go func() { got <- file.Lock() }()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var err error
	select {
	case err = <-got:
		if err != nil {
			_ = file.Close()
		}
		return err
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = timedOut
	}
	go func() {
		<-got
		_ = file.Close()
	}()
	return err
}
