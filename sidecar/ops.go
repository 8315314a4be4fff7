package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"jsonguard/lock"
	"jsonguard/merge"
)

// VisibleWithin is how soon a journaled change reaches the target while its process lives and the lock is free.
const VisibleWithin = 100 * time.Millisecond

// Read returns the current version. A missing target is fs.ErrNotExist. It takes no lock and waits for nobody;
// what is pending is folded first where that is possible at once.
func (g *Guard) Read(ctx context.Context) ([]byte, error) {
	if g.somethingPending() && g.turn.try() {
		_, err := g.fold(ctx, ownChange{}, time.Time{})
		g.turn.give()
		if errors.Is(err, ErrDamaged) {
			g.warn("%v", err)
		}
	}
	return g.Published()
}

// Published returns the version that is there, as any reader sees it: what is pending is not folded first. Of JSON Lines it is whole
// lines, also while some are appended, and behind an append that was stopped. A missing target is fs.ErrNotExist.
func (g *Guard) Published() ([]byte, error) {
	const attempts = 10 // each needs an append in the same moment
	for try := 1; ; try++ {
		f := &fold{g: g}
		if err := f.readTarget(); err != nil {
			return nil, err
		}
		if f.target.missing {
			return nil, g.fail("read", fs.ErrNotExist, "")
		}
		content, err := f.target.read()
		f.target.close()
		if err != nil {
			return nil, g.fail("read", err, "")
		}
		content, again := g.wholeLines(f.target.info, content)
		if !again || try == attempts {
			return content, nil
		}
	}
}

// somethingPending looks without a lock; being wrong costs a fold that finds nothing, or the next use.
func (g *Guard) somethingPending() bool {
	s, err := g.openStore(false)
	if err != nil {
		return g.pendingWithoutStore(err)
	}
	defer s.close()
	return s.anythingPending() || s.unsettled()
}

// pendingWithoutStore is somethingPending where the guard directory could not be opened, and why.
func (g *Guard) pendingWithoutStore(err error) bool {
	return !isMissing(err) || g.cleanedUnder() // the fold says what is wrong
}

// Update folds everything pending, runs fn on the result under the lock, and publishes what fn made of it:
// a serializable read-check-write. It returns when that is on disk. When fn fails, nothing of fn is published.
// fn runs again, on a newer version, when a program without a lock replaced the target meanwhile: what it does besides
// changing the document must bear that. Changing the same target inside fn by another call is ErrReentry; done in a
// goroutine that fn waits for, it is not seen, and waits until the timeout.
func (g *Guard) Update(ctx context.Context, fn func(*merge.Document) error) (Result, error) {
	return g.foldOwn(ctx, ownChange{apply: func(d *merge.Document) ([]merge.Conflict, error) { return nil, g.update(d, fn) }})
}

// Import folds a base → ours change that was made elsewhere.
func (g *Guard) Import(ctx context.Context, base, ours []byte) (Result, error) {
	change, err := merge.Diff(base, ours, g.format, g.Policy()) // before any lock
	if err != nil {
		return Result{}, g.fail("import", err, "")
	}
	return g.foldOwn(ctx, ownChange{change: change, apply: func(d *merge.Document) ([]merge.Conflict, error) {
		outcome, err := d.Merge(change, g.Policy())
		return outcome.Conflicts, err
	}})
}

// Flush folds what this process journaled and everything else that is pending.
func (g *Guard) Flush(ctx context.Context) (Result, error) {
	return g.foldOwn(ctx, ownChange{kept: g.lastKept(), all: true})
}

func (g *Guard) foldOwn(ctx context.Context, own ownChange) (Result, error) {
	until := g.deadline()
	if err := g.enter(ctx, until); err != nil {
		return Result{}, err
	}
	defer g.turn.give()
	return g.fold(ctx, own, until)
}

// Apply does ops as one change (all or none) and returns when every reader sees it and it is on disk. Where somebody
// else holds the lock, the change waits in a sidecar and one fold serves everybody. ErrPending: it is still there, on
// disk, and will be folded: it must not be repeated.
func (g *Guard) Apply(ctx context.Context, ops ...merge.Op) (Result, error) {
	if err := checkOps(ops); err != nil {
		return Result{}, g.fail("apply", err, "")
	}
	if err := g.checkReentry(); err != nil {
		return Result{}, err
	}
	until := g.deadline()
	if !g.someoneFolds() && g.turn.try() {
		result, err := g.applyAtOnce(ctx, ops)
		if !errors.Is(err, lock.ErrTimeout) {
			if result.Folded > 0 { // others are at it
				g.serve()
			}
			return result, err
		}
	}
	// Not synced: if the power fails before the fold, it was never acknowledged, and the fold syncs it.
	c, err := g.keepPending(ops, false)
	if err != nil {
		return Result{}, g.fail("journal", err, "")
	}
	return g.foldKept(ctx, ownChange{kept: c}, until, g.keep)
}

// applyAtOnce does ops where the lock is free, else it is lock.ErrTimeout and nothing was done. It gives up the turn.
func (g *Guard) applyAtOnce(ctx context.Context, ops []merge.Op) (Result, error) {
	defer g.turn.give()
	return g.fold(ctx, ownChange{ops: ops}, notWaiting)
}

func checkOps(ops []merge.Op) error {
	for _, op := range ops {
		if err := op.Check(); err != nil {
			return err
		}
	}
	return nil
}

// foldKept waits for the lock, finds own.kept folded by then or folds it, and says how it fared. Where that fails, keep
// puts the change on disk so that it can be promised to be pending.
func (g *Guard) foldKept(ctx context.Context, own ownChange, until time.Time, keep func(change) error) (Result, error) {
	result, done, folder := g.awaitOrLead(ctx, own.kept, until)
	if done {
		return result, g.verdict(own.kept)
	}
	asked := folder.asked()
	err := g.enter(ctx, until)
	if err == nil {
		result, err = g.foldInTurn(ctx, own, until)
	}
	others := err == nil && (result.Folded > 1 || folder.asked() != asked)
	switch {
	case folder == nil && others:
		g.serve()
	case folder != nil && !(others && g.serveOn(folder)):
		folder.resign()
	}
	switch {
	case errors.Is(err, ErrNotDurable):
		return result, err
	case err != nil:
		// Nobody was told that it is done; but it is written down, and may be folded by anybody.
		if kerr := keep(own.kept); kerr != nil {
			return result, g.fail("journal", errors.Join(kerr, err), "do not repeat the change: it may be folded")
		}
		return result, g.fail("fold", pendingError{err}, "the change is in a sidecar; the next use of the file brings it in")
	}
	return result, g.verdict(own.kept)
}

// foldInTurn gives up the turn.
func (g *Guard) foldInTurn(ctx context.Context, own ownChange, until time.Time) (Result, error) {
	defer g.turn.give()
	return g.fold(ctx, own, until)
}

// pendingError is ErrPending with why; the failed fold's own path and operation are said once.
type pendingError struct{ cause error }

func (e pendingError) Error() string {
	cause := e.cause
	var dressed *Error
	if errors.As(cause, &dressed) {
		cause = dressed.Err
	}
	return fmt.Sprintf("%v: %v", ErrPending, cause)
}

func (e pendingError) Unwrap() []error { return []error{ErrPending, e.cause} }

// keepPending appends ops to this process's sidecar.
func (g *Guard) keepPending(ops []merge.Op, sync bool) (change, error) {
	g.yield()
	missing, err := g.mayChange("journal") // who may not write it leaves nothing for others to fold
	if err != nil {
		return change{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.needJournal(); err != nil {
		return change{}, err
	}
	if sync {
		if err := g.syncEntry(); err != nil {
			return change{}, err
		}
	}
	j := g.journal
	j.turn = g.store.board.turn()
	seq, err := j.append(line{Generation: g.store.seenGeneration(), Monotonic: monotonic(), New: missing, Ops: encodeOps(ops)}, sync)
	if err == nil {
		err = g.findable()
	}
	if err != nil && seq > 0 { // the line is there, but nothing is known of it
		g.abandon()
		err = maybeThere(err)
	}
	return change{j.id, seq}, err
}

// maybeThere makes err one that says that the change may be folded all the same.
func maybeThere(err error) error {
	if errors.Is(err, ErrNotDurable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotDurable, err)
}

// keep puts an unsynced line of the own sidecar on disk, so that it can be promised.
func (g *Guard) keep(c change) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.journal == nil || g.journal.id != c.sidecar {
		return fmt.Errorf("%w: its sidecar was given up", ErrNotDurable)
	}
	if err := g.journal.file.SyncData(); err != nil {
		g.abandon()
		return fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	err := g.syncEntry()
	if err == nil {
		err = g.findable()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotDurable, err)
	}
	return nil
}

// lastKept is the last change in the own sidecar.
func (g *Guard) lastKept() change {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.journal == nil {
		return change{}
	}
	return change{g.journal.id, g.journal.seq}
}

// needJournal makes the sidecar where there is none. Under g.mu.
func (g *Guard) needJournal() (err error) {
	if g.journal == nil {
		_, g.journal, err = g.createJournal(false)
	}
	return err
}

// newJournal makes a sidecar that is not this process's own.
func (g *Guard) newJournal(view bool) (*store, *journal, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.createJournal(view)
}

// createJournal makes a sidecar in the guard directory, which is made where it is missing. Under g.mu.
func (g *Guard) createJournal(view bool) (*store, *journal, error) {
	for {
		s, err := g.needStore(true)
		if err != nil {
			return nil, nil, err
		}
		j, err := s.createJournal(g.options.Command, view)
		if !isMissing(err) {
			return s, j, err
		}
		g.replaced, g.store = append(g.replaced, s), nil // it was cleaned away since it was opened
	}
}

// syncEntry puts the name of the own sidecar on disk, and the way to it. Under g.mu.
func (g *Guard) syncEntry() error {
	if g.journal.entrySynced {
		return nil
	}
	if err := errors.Join(g.store.pending.Sync(), g.store.root(g.parent)); err != nil {
		return err
	}
	g.journal.entrySynced = true
	return nil
}

// findable: what was written to the own sidecar will be folded, because the way of the next fold leads to it. It costs
// one call where all is well. Under g.mu.
func (g *Guard) findable() error {
	j := g.journal
	inode, err := g.parent.Inode(g.guardName() + "/" + pendingName + "/" + j.id)
	if err == nil && inode == j.inode {
		return nil
	}
	if err := j.linked(); err != nil {
		return err
	}
	return g.stillLinked()
}

// stillLinked: a guard directory that was moved away is folded by nobody. Under g.mu.
func (g *Guard) stillLinked() error {
	there, err := g.store.stillThere(g)
	if err != nil || there {
		return err
	}
	g.replaced, g.store = append(g.replaced, g.store), nil
	return fmt.Errorf("%w: guard directory was removed", ErrDamaged)
}

// Journal appends ops as one change to the process's own sidecar and returns when that is on disk: it waits for no
// lock. Readers see the change within VisibleWithin while the Guard is open, and with the next use after that.
func (g *Guard) Journal(ctx context.Context, ops ...merge.Op) error {
	err := ctx.Err()
	if err == nil {
		err = checkOps(ops)
	}
	if err == nil {
		_, err = g.keepPending(ops, true)
	}
	if err != nil {
		return g.fail("journal", err, "")
	}
	g.foldSoon()
	return nil
}
