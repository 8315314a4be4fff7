package sidecar

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
	"jsonguard/merge"
)

// turn is a mutex that obeys a context.
type turn chan struct{}

func (t turn) try() bool {
	select {
	case t <- struct{}{}:
		return true
	default:
		return false
	}
}

func (t turn) take(ctx context.Context, wait time.Duration) error {
	if t.try() {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return lock.ErrTimeout
	}
}

func (t turn) give() { <-t }

// heldLocks are the locks of one fold, in the order they were taken.
type heldLocks struct {
	borrowed bool // <target>.lock is not ours: who holds it may be replacing the target itself, see stopDirectReplaces
	targets  []targetLock
	guard    vfs.File
	store    *store
	replaced []vfs.File // versions that the fold had open; to close the last descriptor of one frees what it takes on disk
}

// unlock gives the guard's back last: who waits for that, because a fold is under way, finds the target's free then.
func (h *heldLocks) unlock() {
	for _, l := range slices.Backward(h.targets) {
		_ = l.Release()
	}
	if h.guard != nil {
		_ = h.guard.Close() // closing the only descriptor releases its flock (flock(2))
	}
}

// begin says on the board that a fold has its locks.
func (h *heldLocks) begin() (number uint32) {
	if h.store == nil {
		return 0
	}
	return h.store.board.begin()
}

// end gives them up, and says so on the board. What takes time and nobody has to wait for comes behind that.
func (h *heldLocks) end(number uint32, whole bool) {
	if h.store != nil {
		h.store.board.end(number, whole)
	}
	h.unlock()
	if h.store != nil {
		h.store.board.tellNews()
	}
	h.closeReplaced()
}

// release is end for what was no fold for others to hear of.
func (h *heldLocks) release() {
	h.unlock()
	h.closeReplaced()
}

func (h *heldLocks) closeReplaced() {
	for _, file := range h.replaced {
		_ = file.Close()
	}
	h.replaced = nil
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
	h := &heldLocks{borrowed: len(g.lockNames) == 0}
	for _, name := range g.lockNames {
		l, err := g.lockTarget(ctx, name, until)
		if err != nil {
			h.release()
			return nil, err
		}
		h.targets = append(h.targets, l)
		h.borrowed = h.borrowed || l.Inherited()
	}
	// Under somebody else's hold <target>.lock does not exclude them, nor anybody of the same tree: guard/lock has to.
	// JSON Lines are appended in place, and only a record tells a torn append from a whole one.
	if err := g.lockStore(ctx, h, needStore || h.borrowed || g.format == merge.Lines || g.Keeps() != nil, until); err != nil {
		h.release()
		return nil, err
	}
	return h, nil
}

// notWaiting is until when a caller waits who has something else to do where a lock is not to be had.
var notWaiting = time.Unix(0, 0)

func (g *Guard) lockTarget(ctx context.Context, name string, until time.Time) (targetLock, error) {
	if until.Equal(notWaiting) && g.seams.tryTarget != nil {
		return g.seams.tryTarget(name)
	}
	return g.seams.lockTarget(ctx, name, left(until))
}

func (g *Guard) lockStore(ctx context.Context, h *heldLocks, create bool, until time.Time) error {
	for {
		s, err := g.openedStore(create)
		if isMissing(err) && !create {
			if create = g.cleanedUnder(); !create {
				return nil
			}
			continue
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

// alone does something that is no fold while nobody folds; s is nil where there is no guard directory.
func (g *Guard) alone(ctx context.Context, op string, do func(s *store) error) error {
	until := g.deadline()
	if err := g.enter(ctx, until); err != nil {
		return err
	}
	defer g.turn.give()
	return g.underLocks(ctx, op, until, do)
}

// underLocks is alone for who has g.turn.
func (g *Guard) underLocks(ctx context.Context, op string, until time.Time, do func(s *store) error) error {
	held, err := g.lockAll(ctx, false, until)
	if err != nil {
		return g.fail(op, err, "")
	}
	defer held.release()
	return g.fail(op, do(held.store), "")
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

// waitLock takes file's flock, or closes file.
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
	ctx, cancel := context.WithTimeoutCause(ctx, wait, timedOut)
	defer cancel()
	return lock.WaitInKernel(ctx, file.TryLock, file.Lock, file.Close)
}
