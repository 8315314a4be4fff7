package sidecar

import (
	"context"
	"fmt"
	"time"
)

// Where several processes change one target at once, one of them folds for all: the others put their change into their
// sidecar, say so on the board, and sleep until it is settled. One rewrite serves everybody, nobody queues for a lock,
// and the process that folds knows the current version without reading it again.

const (
	// folderPatience is how long waiters sleep before they ask whether the folder still lives.
	folderPatience = 20 * time.Millisecond
	// folderSilence is how long they trust one that settles nothing. It may have been stopped (SIGSTOP) between two folds,
	// when it holds no lock: then nobody needs to wait for it.
	folderSilence = time.Second
	// foldsAtMost is how many folds they see go by without their change. One may have been under way, and one can settle
	// twice; after that, it cannot see the change: a sidecar that is not its to read, a filesystem that shows it late.
	foldsAtMost = 4
)

// awaitFolder waits for another's fold to bring c in, as long as there is somebody who folds. done is false where the
// caller has to see to it itself.
func (g *Guard) awaitFolder(ctx context.Context, c change, until time.Time) (result Result, done bool) {
	s, err := g.openedStore(false)
	if err != nil || s.board == nil || c.seq == 0 {
		return Result{}, false
	}
	s.board.ask()
	first, heard := s.board.turn(), time.Now()
	appended, fresh := g.turnBefore(c)
	for s.board.folding() {
		turn := s.board.turn()
		if !fresh || turn != appended {
			if generation, covered := s.settledCovers(c); covered {
				return Result{Generation: generation, Changed: true}, true
			}
		}
		fresh = false
		if time.Since(heard) > folderSilence {
			s.board.distrust()
		}
		if ctx.Err() != nil || time.Now().After(until) || turn-first > foldsAtMost {
			return Result{}, false
		}
		s.board.awaitTurn(turn, folderPatience)
		if s.board.turn() == turn {
			s.board.checkFolder()
		} else {
			heard = time.Now()
		}
	}
	generation, covered := s.settledCovers(c)
	return Result{Generation: generation, Changed: true}, covered
}

// turnBefore is the turn of the board before c was appended, if it is the last change of this process: as long as it lasts, nobody
// has folded c, and who looks for it the first time need not read what is settled.
func (g *Guard) turnBefore(c change) (turn uint32, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if j := g.journal; j != nil && j.id == c.sidecar && j.seq == c.seq {
		return j.turn, true
	}
	return 0, false
}

// awaitOrLead is awaitFolder, where somebody folds for everybody. Where nobody does, the first of those who want a fold
// does it for them, and gets the board: without that each of them would queue for a lock, to learn that there is nothing
// left to do.
func (g *Guard) awaitOrLead(ctx context.Context, c change, until time.Time) (result Result, done bool, lead *board) {
	s, err := g.openedStore(false)
	if err != nil || s.board == nil {
		return Result{}, false, nil
	}
	if !s.board.folding() && s.board.becomeFolder() {
		return Result{}, false, s.board
	}
	result, done = g.awaitFolder(ctx, c, until)
	if !done && !s.board.folding() && s.board.becomeFolder() { // who folded does not any more
		lead = s.board
	}
	return result, done, lead
}

// someoneFolds says whether to leave a change to a process that folds, for everybody or just now.
func (g *Guard) someoneFolds() bool {
	s, err := g.openedStore(false)
	return err == nil && (s.board.folding() || s.board.underWay())
}

// serve makes this process the one that folds for everybody, after a fold that found changes of others, until nobody
// asks any more.
func (g *Guard) serve() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.store == nil || g.closed || !g.store.board.becomeFolder() {
		return
	}
	g.serveInBackground(g.store.board)
}

// serveOn is serve for who has become the folder; false: this Guard is being closed.
func (g *Guard) serveOn(b *board) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.serveInBackground(b)
	return true
}

// serveInBackground is under g.mu.
func (g *Guard) serveInBackground(b *board) {
	ctx := g.backgroundContext()
	g.background.Go(func() { g.serveAll(ctx, b) })
}

// serveAll is the life of the folder.
func (g *Guard) serveAll(ctx context.Context, b *board) {
	for {
		seen := g.foldForAll(ctx, b)
		b.resign()
		// Somebody may have asked between our last look and the resignation, and have trusted it.
		if ctx.Err() != nil || b.asked() == seen || !b.becomeFolder() {
			return
		}
	}
}

const (
	// gatherAtMost bounds how long a fold is put off for those that the last one served: they come back with their next
	// change, and one rewrite for all of them is cheaper than one for the first and one for the others.
	gatherAtMost = 2 * time.Millisecond
	gatherStep   = 50 * time.Microsecond
	// serveIdle is how long a folder waits for work.
	serveIdle = 20 * time.Millisecond
)

// foldForAll folds until nobody has asked for a while, ctx ends, or folding fails: those who wait then try it
// themselves, and get to know why. It returns what it last saw on the board.
func (g *Guard) foldForAll(ctx context.Context, b *board) (asked uint32) {
	expected := 0 // how many come back: as many as the largest of the last folds served
	for {
		b.announce()
		asked = b.asked()
		began := time.Now()
		result, err := g.foldOwn(ctx, ownChange{all: true})
		if err != nil || ctx.Err() != nil {
			return asked
		}
		expected = max(result.Folded, expected*7/8)
		patience := min(gatherAtMost, time.Since(began)/2)
		for gathered := time.Now(); int(b.asked()-asked) < expected && time.Since(gathered) < patience; {
			time.Sleep(gatherStep)
		}
		if b.asked() == asked {
			b.awaitAsked(asked, serveIdle)
		}
		if b.asked() == asked {
			return asked
		}
	}
}

// backgroundContext is what goroutines of this Guard live under, until Close. Under g.mu.
func (g *Guard) backgroundContext() context.Context {
	if g.life == nil {
		g.life, g.stop = context.WithCancel(context.Background())
	}
	return g.life
}

// Journal's changes are folded within VisibleWithin by whoever looks first.

// foldSoon has a background goroutine see to it that what was journaled so far is folded within VisibleWithin; many
// changes, of many processes, share one fold.
func (g *Guard) foldSoon() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wake == nil {
		g.wake = make(chan struct{}, 1)
		ctx := g.backgroundContext()
		g.background.Go(func() { g.foldInBackground(ctx, g.wake) })
	}
	select {
	case g.wake <- struct{}{}:
	default: // asked already
	}
}

// foldInBackground tries again what failed, less and less often.
func (g *Guard) foldInBackground(ctx context.Context, wake <-chan struct{}) {
	// A change may come just after the look at the last one, and then waits twice. A fifth is left for the fold, and for one that is
	// under way.
	const gather = VisibleWithin * 2 / 5
	var again <-chan time.Time
	delay := VisibleWithin
	for {
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-again:
		}
		kept := g.lastKept()
		select {
		case <-ctx.Done():
			return
		case <-time.After(gather):
		}
		again = nil
		if g.covered(kept) { // another process looked first
			continue
		}
		err := g.foldOrAwait(ctx, kept)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			delay = VisibleWithin
			continue
		}
		g.warn("pending changes not folded yet: %v", err)
		delay = min(2*delay, time.Minute)
		again = time.After(delay)
	}
}

// foldOrAwait sees to it that c is folded. The first process that wants to fold does it for all, and the others wait for
// that: each of them would else queue for a lock to learn that there is nothing left to do.
func (g *Guard) foldOrAwait(ctx context.Context, c change) error {
	s, err := g.openedStore(false)
	if err != nil || s.board == nil {
		_, err := g.foldOwn(ctx, ownChange{kept: c})
		return err
	}
	b := s.board
	lead := b.becomeFolder()
	if !lead {
		var done bool
		if done, lead = g.awaitFold(ctx, b, c); done {
			return nil
		}
	}
	asked := b.asked()
	_, err = g.foldOwn(ctx, ownChange{kept: c})
	if !lead {
		return err
	}
	b.resign()
	if err == nil && b.asked() != asked && b.becomeFolder() { // some wait, who took us for the one that serves them
		g.serveAll(ctx, b)
	}
	return err
}

// awaitFold waits for the fold that is under way, which most often has c in it, and only then asks for another. lead: there
// is nobody to ask. Nobody waits for this, so that it sleeps in a timer: on the board it would take a processor of the runtime's
// with it, which the monitor then looks for, every 20 µs, while changes go on.
func (g *Guard) awaitFold(ctx context.Context, b *board, c change) (done, lead bool) {
	if b.folding() && !g.covered(c) {
		select {
		case <-ctx.Done():
		case <-time.After(folderPatience):
		}
	}
	if g.covered(c) {
		return true, false
	}
	_, done, folder := g.awaitOrLead(ctx, c, time.Now().Add(VisibleWithin))
	return done, folder != nil
}

// covered says whether c is in the target for good, as far as that is known without a lock.
func (g *Guard) covered(c change) bool {
	s, err := g.openedStore(false)
	if err != nil || c.seq == 0 {
		return err == nil
	}
	_, covered := s.settledCovers(c)
	return covered
}

// verdict says how a change fared that somebody folded.
func (g *Guard) verdict(c change) error {
	s, err := g.openedStore(false)
	if err != nil {
		return g.fail("fold", err, "")
	}
	if reason, yes := s.wasRejected(c.sidecar, c.seq); yes {
		return g.fail("fold", fmt.Errorf("%w: %s", ErrRejected, reason), "it is in quarantine: "+g.quarantined(rejectedName(c.sidecar, c.seq)))
	}
	return nil
}
