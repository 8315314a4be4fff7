package sidecar

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

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
	lastParts  map[string]int // by the sidecar of a scratch file, the last of its parts that is in the target
	held       int            // descriptors of dead processes' sidecars
	keptOpen   int            // and of living ones', for the next fold
	after      watermarks     // what will be
	movedAfter moved
	pending    []pendingLine
	collected  bool         // that is all there is
	maker      *scratchFile // of a program that makes the target
	ownErr     error
	unread     error // why the sidecar that this fold is for could not be read

	doc       *merge.Document // nil: one of the two below is all there is
	content   pieces          // of doc, when all is applied
	whole     madeText        // what the target becomes, where that is not in memory
	block     []byte          // JSON Lines: appended in place
	conflicts []Conflict
	rejected  []rejection
	folded    int
	torn      []string // quarantined while adopting dead views
	published *Published
	restored  []byte // a whole version, whose derived values are what they were then
	keptAs    string // name in history/ of the version that this fold replaces
	linked    bool   // that is a name of the target's own file
	pruneDue  bool   // versions that are kept are to be looked through
}

// ownChange is what the caller brings in memory, acknowledged when the fold is and lost without a trace before, or
// what it waits for.
type ownChange struct {
	ops      []merge.Op
	apply    func(*merge.Document) ([]merge.Conflict, error)
	change   *merge.Change // that apply merges, if it does
	restore  *restoration
	kept     change           // already in a sidecar: the fold is to bring it in, if nobody did
	all      bool             // fold what others left, too, where kept is in already
	without  map[string]error // sidecars that could not be read a second time
	prepared preparedChange
}

func (o ownChange) empty() bool { return len(o.ops) == 0 && o.apply == nil && o.restore == nil }

// change names one line of a sidecar. The zero value is none.
type change struct {
	sidecar string
	seq     uint64
}

func (m watermarks) cover(c change) bool { return m[c.sidecar] >= c.seq }

// errRemoved: only a change that was made against a missing target creates it.
func errRemoved() error { return fmt.Errorf("%w: the target was removed or moved away", ErrRejected) }

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
	whole := false
	number := held.begin()
	defer func() { held.end(number, whole) }()
	const attempts = 100 // each needs an outsider who replaces the target in the same moment
	for range attempts {
		if err := ctx.Err(); err != nil {
			return Result{}, g.fail("fold", err, "")
		}
		result, all, err := g.attempt(held, own)
		whole = all && err == nil
		if again, ok := errors.AsType[unreadAgain](err); ok {
			own.without = again.added(own.without)
			continue
		}
		if !errors.Is(err, errMoved) || errors.Is(err, ErrNotDurable) { // what may have happened is not done again
			return result, g.fail("fold", err, g.hintFor(err))
		}
	}
	return Result{}, g.fail("fold", errMoved, "a program without a lock replaces it all the time: run it under jsonguard exec")
}

// attempt also says whether everything that is pending was brought in.
func (g *Guard) attempt(held *heldLocks, own ownChange) (r Result, whole bool, err error) {
	g.followPolicy()
	f := &fold{g: g, s: held.store, own: own, lock: held}
	defer f.close() // fn of an Update may panic
	r, err = f.run()
	return r, f.collected, err
}

// hintFor says what to do about an error of a fold. A target that cannot be parsed may be one that can be restored.
func (g *Guard) hintFor(err error) string {
	var damaged unparsableTarget
	if errors.As(err, &damaged) {
		if offer := g.RestoreHint(context.Background()); offer != "" {
			return "the file was left as it is, and what is pending stays pending; " + offer
		}
	}
	if errors.Is(err, syscall.ENOSPC) && g.Keeps() != nil {
		return "nothing was changed; versions that are kept take space: \"history\" in the policy bounds it, jsonguard clean --history removes them all"
	}
	return hintFor(err)
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
	if f.lock.borrowed {
		if err := f.stopDirectReplaces(); err != nil {
			return Result{}, err
		}
	}
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
	f.collected = true
	changed := false
	if len(f.pending) > 0 || !f.own.empty() {
		if err := f.apply(); err != nil {
			return Result{}, err
		}
		var err error
		if changed, err = f.publish(); err != nil {
			if f.whole != nil {
				for _, p := range f.pending {
					f.g.session.forget(p.from.name) // the next fold looks at it again
				}
			}
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
	r := Result{Changed: changed, Folded: f.folded, Conflicts: f.conflicts, Torn: f.torn, Published: f.published}
	if f.last != nil {
		r.Generation = f.last.Generation
	}
	for _, x := range f.rejected {
		r.Rejected = append(r.Rejected, x.summary())
	}
	return r
}

func (f *fold) close() {
	if f.target != nil && f.target.file != nil {
		f.lock.replaced = append(f.lock.replaced, f.target.file)
	}
	if f.whole != nil {
		f.whole.close()
	}
	for _, sc := range f.sidecars {
		sc.release()
	}
	for _, sd := range f.sessions {
		_ = sd.dir.Close()
	}
}
