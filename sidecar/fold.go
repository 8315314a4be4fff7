package sidecar

import (
	"context"
	"errors"
	"fmt"
	"os"
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
//	2 settle   did the last commit's step happen?
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

	last     *commit    // newest valid record
	marks    watermarks // what is in the target now
	target   *snapshot
	sidecars []*sidecarFile
	sessions []*sessionDir
	after    watermarks // what will be
	pending  []pendingLine
	ownErr   error

	doc       *merge.Document // nil: the block below is all there is
	block     []byte          // JSON Lines: appended in place
	conflicts []Conflict
	rejected  []rejection
	folded    int
	torn      []string // quarantined while adopting dead views
}

// ownChange is what the caller brings in memory: acknowledged when the fold is, lost without a trace before.
type ownChange struct {
	ops   []merge.Op
	apply func(*merge.Document) ([]merge.Conflict, error)
}

func (o ownChange) empty() bool { return len(o.ops) == 0 && o.apply == nil }

// sidecarFile is one file of pending/, open.
type sidecarFile struct {
	readJournal
	name  string
	file  vfs.File
	dead  bool // its flock was to be had: it is ours now
	final bool // a view that nobody used any more when it was adopted: its program may live longer than its wrapper
	keep  bool // damaged, or not ours to fold: never removed
	empty bool // not even a header
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

// fold runs under g.mu.
func (g *Guard) fold(ctx context.Context, own ownChange, needStore bool) (Result, error) {
	held, err := g.lockAll(ctx, needStore)
	if err != nil {
		return Result{}, g.fail("lock", err, "")
	}
	result, err := g.foldUnder(ctx, held, own)
	held.release()
	if errors.Is(err, errNeedsRecord) {
		return g.fold(ctx, own, true)
	}
	return result, err
}

func (g *Guard) foldUnder(ctx context.Context, held *heldLocks, own ownChange) (Result, error) {
	const attempts = 100 // each needs an outsider who replaces the target in the same moment
	for range attempts {
		if err := ctx.Err(); err != nil {
			return Result{}, g.fail("fold", err, "")
		}
		f := &fold{g: g, s: held.store, own: own, lock: held}
		result, err := f.run()
		f.close()
		if !errors.Is(err, errMoved) {
			return result, g.fail("fold", err, hintFor(err))
		}
	}
	return Result{}, g.fail("fold", errMoved, "a program without a lock replaces it all the time: run it under jsonguard exec")
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
	if f.s != nil {
		defer func() { f.g.swept = true }()
	}
	if err := f.settle(); err != nil {
		return Result{}, err
	}
	if err := f.collect(); err != nil {
		return Result{}, err
	}
	if len(f.pending) == 0 && f.own.empty() {
		if err := f.sweep(); err != nil {
			return Result{}, err
		}
		return f.result(false), nil
	}
	if err := f.apply(); err != nil {
		return Result{}, err
	}
	changed, err := f.publish()
	if err != nil {
		return Result{}, err
	}
	if err := f.sweep(); err != nil {
		return Result{}, err
	}
	return f.result(changed), f.ownErr
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
		_ = sc.file.Close()
	}
	for _, sd := range f.sessions {
		_ = sd.dir.Close()
	}
}

// settle finds out whether the last commit's step happened, which decides which watermarks count.
func (f *fold) settle() error {
	if err := f.readTarget(); err != nil {
		return err
	}
	f.marks = watermarks{}
	if f.s == nil {
		return nil
	}
	last, err := f.s.newestCommit()
	if isMissing(err) {
		err = fmt.Errorf("%w: no commit record in a guard that was used", ErrDamaged)
	}
	if err != nil {
		return err
	}
	f.last = last
	f.target.knownAs(last.To)
	if f.s.readSettled() == last.Generation {
		f.marks = last.After
		return nil
	}
	f.g.swept = false // somebody died in a fold: look for what it left
	// A record that was written but not synced may vanish with the next power cut, and its neighbour is older.
	if err := f.s.syncCommit(last.Generation); err != nil {
		return fmt.Errorf("%w: sync commit record: %w", ErrNotDurable, err)
	}
	happened, err := f.happened()
	if err != nil {
		return err
	}
	if !happened {
		f.marks = last.Before
		return nil
	}
	// The rename may be in memory only: nothing may be built on it before it is on disk.
	if err := f.g.parent.Sync(); err != nil {
		return fmt.Errorf("%w: sync directory: %w", ErrNotDurable, err)
	}
	f.marks = last.After
	return f.s.writeSettled(last.Generation)
}

// happened judges by what is there: the new version, or the temporary file that would have become it.
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
	if now.same(last.To) {
		return true, nil
	}
	temp, err := f.readTemp(last.Temp)
	if err != nil {
		return false, err
	}
	intact := temp != nil && temp.id.same(last.To)
	switch {
	case last.Kind == kindOverwrite && intact:
		// The target may be torn; its new content is safe in the temporary file: do it again.
		if err := f.overwriteTarget(temp.content); err != nil {
			return false, err
		}
		return true, f.readTarget()
	case intact:
		return false, nil
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
	names, err := f.s.pending.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue // being made
		}
		sc, err := f.openSidecar(name)
		if err != nil {
			return err
		}
		if sc == nil {
			continue
		}
		f.sidecars = append(f.sidecars, sc)
		if mark := f.marks[sc.name]; mark > 0 {
			f.after[sc.name] = mark
		}
		for _, l := range sc.lines {
			f.pending = append(f.pending, pendingLine{line: l, from: sc})
		}
	}
	if err := f.collectScratches(); err != nil {
		return err
	}
	if err := f.syncRemovals(names); err != nil {
		return err
	}
	slices.SortStableFunc(f.pending, comparePending)
	return nil
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

// openSidecar reads one file of pending/. It returns nil for what is no regular file: nobody who could write the
// target put it there, and it is never followed nor waited for.
func (f *fold) openSidecar(name string) (*sidecarFile, error) {
	file, err := f.s.pending.OpenFile(name, os.O_RDWR, 0)
	if isMissing(err) {
		return nil, nil // its owner just left
	}
	if err != nil {
		f.g.warn("%s/%s/%s cannot be opened and was passed over: %v", f.g.GuardDir(), pendingName, name, err)
		return nil, nil
	}
	sc := &sidecarFile{name: name, file: file}
	// Before reading: what a dead owner left is then final. Liveness decides removal only, never folding.
	sc.dead, _ = file.TryLock()
	content, info, err := readAll(file)
	if err != nil {
		_ = file.Close()
		if errors.Is(err, ErrTarget) {
			f.g.warn("%s/%s/%s is no regular file and was passed over", f.g.GuardDir(), pendingName, name)
			return nil, nil
		}
		return nil, err
	}
	if !f.mayWrite(info.UID) {
		sc.keep = true
		f.g.warn("%s/%s/%s belongs to user %d, who may not write the target: not folded", f.g.GuardDir(), pendingName, name, info.UID)
		return sc, nil
	}
	if sc.readJournal, err = parseJournal(content, f.marks[name]); err != nil {
		sc.readJournal = readJournal{}
		if !anyValid(content) && sc.dead {
			sc.empty = true // died before its header was on disk: nothing in it was acknowledged
			return sc, nil
		}
		sc.keep = true
		f.g.warn("%s/%s/%s: %v: not folded", f.g.GuardDir(), pendingName, name, err)
		return sc, nil
	}
	if sc.damage != "" {
		sc.keep = true
		f.g.warn("%s/%s/%s is damaged (%s): folded up to there; jsonguard verify --repair moves it to quarantine", f.g.GuardDir(), pendingName, name, sc.damage)
	}
	if sc.header.View && sc.dead && !sc.keep {
		if err := f.adopt(sc); err != nil {
			return nil, err
		}
	}
	return sc, nil
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
	content, err := f.target.read()
	if err != nil {
		return err
	}
	if f.doc, err = merge.Parse(content, f.g.format); err != nil {
		return err
	}
	written := map[string]writtenPlace{}
	for _, p := range f.pending {
		conflicts, err := f.applyLine(p, written)
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
	conflicts, err := f.own.apply(trial)
	if err != nil {
		f.ownErr = err
		return nil
	}
	f.doc = trial
	f.noteConflicts(nil, conflicts)
	return nil
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
	if !add(f.own.ops) || !f.target.endsWithNewline() {
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

// check is called just before a rename: is the lock still what it was?
func (h *heldLocks) check() error {
	for _, l := range h.targets {
		if err := l.Check(); err != nil {
			return err
		}
	}
	return nil
}

// lockAll takes <target>.lock and, where there is or must be a guard directory, guard/lock.
func (g *Guard) lockAll(ctx context.Context, needStore bool) (*heldLocks, error) {
	h := &heldLocks{}
	inherited := len(g.lockNames) == 0
	for _, name := range g.lockNames {
		l, err := g.seams.lockTarget(ctx, name)
		if err != nil {
			h.release()
			return nil, err
		}
		h.targets = append(h.targets, l)
		inherited = inherited || l.Inherited()
	}
	// Under somebody else's hold <target>.lock excludes nobody of the same tree: guard/lock has to.
	// JSON Lines are appended in place, and only a record tells a torn append from a whole one.
	if err := g.lockStore(ctx, h, needStore || inherited || g.format == merge.Lines); err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

func (g *Guard) lockStore(ctx context.Context, h *heldLocks, create bool) error {
	for {
		if g.store == nil {
			s, err := g.openStore(create)
			if isMissing(err) && !create {
				return nil
			}
			if err != nil {
				return fmt.Errorf("guard directory %s: %w", g.GuardDir(), err)
			}
			g.store = s
		}
		file, err := g.store.openGuardLock()
		if err != nil {
			return err
		}
		if err := waitLock(ctx, file, g.timeout()); err != nil {
			return err
		}
		info, err := g.parent.Stat(g.guardName())
		if err == nil && info.Inode == g.store.inode {
			h.guard, h.store = file, g.store
			return nil
		}
		// The directory was removed or replaced while we waited. Our own sidecar in it is gone with it.
		_ = file.Close()
		if g.journal != nil {
			return fmt.Errorf("%w: %s was removed with changes in it", ErrDamaged, g.GuardDir())
		}
		g.store.close()
		g.store = nil
	}
}

func (g *Guard) timeout() time.Duration {
	switch {
	case g.options.Timeout == 0:
		return lock.DefaultTimeout
	case g.options.Timeout < 0:
		return 0
	}
	return g.options.Timeout
}

// waitLock takes file's flock, or closes file. flock(2) cannot be given up: a waiter that does is left behind and
// lets go as soon as it gets it.
func waitLock(ctx context.Context, file vfs.File, timeout time.Duration) error {
	if ok, err := file.TryLock(); ok || err != nil {
		if err != nil {
			_ = file.Close()
		}
		return err
	}
	got := make(chan error, 1)
	go func() { got <- file.Lock() }()
	timer := time.NewTimer(timeout)
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
		err = fmt.Errorf("guard lock: %w", lock.ErrTimeout)
	}
	go func() {
		<-got
		_ = file.Close()
	}()
	return err
}
