package sidecar

import (
	"context"
	"errors"
	"time"

	"jsonguard/lock"
	"jsonguard/merge"
)

// Many sessions that write one target at once share their folds: who asks for one while another is under way waits for
// that to end, and the first who then gets the locks folds for all. Without that each read made the outcome of its own of
// everything pending, and each write had a fold of its own: seventeen programs cost seventeen times what they cost now.

// Closed are scratch files of a session that are closed, and so pending, as far as its supervisor knows.
type Closed struct {
	Files []*Scratch
	Diff  func() // calls Prepare for them: called if this process is to fold them, before it takes a lock for that
}

// Fold brings everything that is pending into the target, of anybody. Where nothing is, it touches nothing. ErrPending: its
// lock was not to be had.
func (s *Session) Fold(ctx context.Context, own Closed) (Result, error) {
	// Where there is nothing to wait for, under the turn of those who may not wait: they would take the lock of another
	// Guard of ours for a program's.
	done, result, err := s.Try(ctx, own, false)
	if !done && err == nil {
		result, err = s.foldWaiting(ctx)
	}
	if errors.Is(err, lock.ErrTimeout) || errors.Is(err, context.Canceled) {
		err = s.g.fail("fold", pendingError{err}, "")
	}
	return result, err
}

// Current returns what the target would be with everything folded that is pending now, whoever wrote it. overlay says
// that it is not the target itself, because its lock was not to be had: then content is that version, nil if it is
// missing. It waits for no lock of a program, at most for folds that are under way.
func (s *Session) Current(ctx context.Context, own Closed) (content []byte, overlay bool, result Result, err error) {
	done, result, err := s.Try(ctx, own, false)
	if done || err != nil {
		return nil, false, result, err
	}
	g := s.reader
	if err := g.enter(ctx, g.deadline()); err != nil {
		return nil, false, Result{}, err
	}
	defer g.turn.give()
	content, overlay, err = g.overlay(ctx)
	return content, overlay, Result{}, g.fail("read", err, hintFor(err))
}

// Try folds everything that is pending, whoever wrote it, or sees another process do it, unless a program has the target's lock
// (done is false). It waits for folds that are under way. patient: who holds the lock while nobody folds may be about to
// fold, and is given a moment to get there; it costs that moment where it is a program.
func (s *Session) Try(ctx context.Context, own Closed, patient bool) (done bool, result Result, err error) {
	// A folder needs microseconds from one lock to the other, but on a busy machine it may have to wait for a processor in
	// between. All in all an eighth of a second.
	const longest = 64 * time.Millisecond
	b := s.board()
	asked := b.begun()
	for pause := time.Duration(0); ; pause = max(time.Millisecond, 2*pause) {
		folder := b.awaitRole(func() bool { return ctx.Err() != nil || b.wholeSince(asked) })
		// The board may lie: what is still there was passed over, or is pending.
		done = b.wholeSince(asked) && s.gone(own.Files)
		if done {
			result = s.verdicts(own.Files)
		} else {
			done, result, err = s.foldNow(ctx, own)
		}
		if folder {
			b.resign()
		}
		if done || err != nil || pause > longest || !patient && pause > 0 {
			return done, result, err
		}
		if err = s.excluded(ctx, func() error { return nil }); err != nil { // a fold is no program
			return false, result, err
		}
		time.Sleep(pause)
	}
}

// awaitRole is becomeFolder, and waits for the one that there is as long as it folds, until enough says so. It returns false
// for that, and where the folder is silent: it waits for a program's lock, or was stopped, and the caller has to look
// for itself.
func (b *board) awaitRole(enough func() bool) bool {
	heard := time.Now()
	for b != nil && !enough() {
		news := b.news()
		mine := b.becomeFolder()
		if mine && !b.underWay() {
			return true
		}
		b.awaitNews(news, b.patience)
		switch silent := b.news() == news; {
		case !silent:
			heard = time.Now()
		case mine: // who began a fold was killed
			return true
		case !b.underWay() || time.Since(heard) > folderSilence:
			return false
		}
		if mine {
			b.resign()
		}
	}
	return false
}

// board is nil where there is none.
func (s *Session) board() *board {
	st, err := s.reader.openedStore(false)
	if err != nil {
		return nil
	}
	return st.board
}

// gone says whether none of these files is left: they were folded, or discarded.
func (s *Session) gone(own []*Scratch) bool {
	for _, x := range own {
		if _, err := s.dir.Stat(x.n + scratchSuffix); !isMissing(err) {
			return false
		}
	}
	return true
}

// verdicts says how changes fared that another process folded.
func (s *Session) verdicts(own []*Scratch) (r Result) {
	for _, x := range own {
		s.forget(x.Sidecar())
		if reason, yes := s.store.wasRejected(x.Sidecar(), 1); yes {
			r.Rejected = append(r.Rejected, Rejected{Sidecar: x.Sidecar(), Seq: 1, Reason: reason, File: rejectedName(x.Sidecar(), 1)})
		}
	}
	return r
}

// foldNow folds if no lock has to be waited for.
func (s *Session) foldNow(ctx context.Context, own Closed) (done bool, result Result, err error) {
	g := s.reader
	if err := g.enter(ctx, g.deadline()); err != nil {
		return false, Result{}, err
	}
	defer g.turn.give()
	if s.closed.Load() {
		return true, Result{}, nil
	}
	if !s.somethingPending() { // another process has folded it
		return true, s.verdicts(own.Files), nil
	}
	if own.Diff != nil {
		own.Diff()
	}
	result, err = g.fold(ctx, ownChange{}, time.Time{})
	if errors.Is(err, lock.ErrTimeout) {
		return false, Result{}, nil
	}
	return err == nil, result, err
}

// foldWaiting folds, and waits for the program that holds the lock.
func (s *Session) foldWaiting(ctx context.Context) (Result, error) {
	g := s.g
	until := g.deadline()
	if err := g.enter(ctx, until); err != nil {
		return Result{}, err
	}
	defer g.turn.give()
	if s.closed.Load() {
		return Result{}, nil
	}
	return g.fold(ctx, ownChange{}, until)
}

// somethingPending is the Guard's, of the guard directory that is open already.
func (s *Session) somethingPending() bool {
	g := s.reader
	st, err := g.openedStore(false)
	if err != nil {
		return g.pendingWithoutStore(err)
	}
	if there, err := st.stillThere(g); err != nil || !there {
		return g.somethingPending()
	}
	return st.anythingPending() || g.format == merge.Lines && st.unsettled() // who reads would see a torn append
}
