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
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.somethingPending() {
		if held, err := g.tryLockAll(ctx); err == nil {
			_, err = g.foldUnder(ctx, held, ownChange{})
			held.release()
			if errors.Is(err, ErrDamaged) {
				g.warn("%v", err)
			}
		}
	}
	f := &fold{g: g}
	if err := f.readTarget(); err != nil {
		return nil, err
	}
	defer f.target.close()
	if f.target.missing {
		return nil, g.fail("read", fs.ErrNotExist, "")
	}
	content, err := f.target.read()
	return content, g.fail("read", err, "")
}

// somethingPending looks without a lock; being wrong costs a fold that finds nothing, or the next use.
func (g *Guard) somethingPending() bool {
	s, err := g.openStore(false)
	if err != nil {
		return false
	}
	defer s.close()
	names, err := s.pending.Names()
	return err == nil && len(names) > 0 || s.anyScratch()
}

// tryLockAll is lockAll for callers that would rather not wait.
func (g *Guard) tryLockAll(ctx context.Context) (*heldLocks, error) {
	patience := g.options.Timeout
	g.options.Timeout = -1
	defer func() { g.options.Timeout = patience }()
	return g.lockAll(ctx, false)
}

// Update folds everything pending, runs fn on the result under the lock, and publishes what fn made of it:
// a serializable read-check-write. It returns when that is on disk. When fn fails, nothing of fn is published.
// Calling Update for the same target inside fn waits for itself until the timeout.
func (g *Guard) Update(ctx context.Context, fn func(*merge.Document) error) (Result, error) {
	return g.foldOwn(ctx, ownChange{apply: func(d *merge.Document) ([]merge.Conflict, error) { return nil, fn(d) }})
}

// Import folds a base → ours change that was made elsewhere.
func (g *Guard) Import(ctx context.Context, base, ours []byte) (Result, error) {
	change, err := merge.Diff(base, ours, g.format, g.options.Policy) // before any lock
	if err != nil {
		return Result{}, g.fail("import", err, "")
	}
	return g.foldOwn(ctx, ownChange{apply: func(d *merge.Document) ([]merge.Conflict, error) {
		outcome, err := d.Merge(change, g.options.Policy)
		return outcome.Conflicts, err
	}})
}

func (g *Guard) foldOwn(ctx context.Context, own ownChange) (Result, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.fold(ctx, own, g.journal != nil)
}

// Apply does ops as one change (all or none) and returns when every reader sees it and it is on disk. Where another
// process holds the lock, the change waits in a sidecar and one fold serves everybody.
func (g *Guard) Apply(ctx context.Context, ops ...merge.Op) (Result, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if held, err := g.tryLockAll(ctx); err == nil {
		result, err := g.foldUnder(ctx, held, ownChange{ops: ops})
		held.release()
		if errors.Is(err, errNeedsRecord) {
			return g.fold(ctx, ownChange{ops: ops}, true)
		}
		return result, err
	} else if !errors.Is(err, lock.ErrTimeout) {
		return Result{}, g.fail("lock", err, "")
	}
	// Not synced: if the power fails before the fold, it was never acknowledged, and the fold syncs it.
	seq, err := g.keepPending(ops, false)
	if err != nil {
		return Result{}, g.fail("journal", err, "")
	}
	return g.foldPending(ctx, seq)
}

// foldPending waits for the lock, finds the change folded by then or folds it, and says how it fared.
func (g *Guard) foldPending(ctx context.Context, seq uint64) (Result, error) {
	result, err := g.fold(ctx, ownChange{}, true)
	if errors.Is(err, lock.ErrTimeout) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		// Nobody was told that it is done; but it is written down, and may be folded by anybody.
		if serr := g.syncJournal(); serr != nil {
			return result, g.fail("journal", errors.Join(err, serr), "")
		}
		return result, g.fail("fold", fmt.Errorf("%w: %w", ErrPending, err), "the change is in a sidecar; the next use of the file brings it in")
	}
	if err != nil {
		return result, err
	}
	if reason, yes := g.store.wasRejected(g.journal.id, seq); yes {
		return result, g.fail("fold", fmt.Errorf("%w: %s", ErrRejected, reason), "it is in quarantine: "+g.quarantined(rejectedName(g.journal.id, seq)))
	}
	return result, nil
}

// syncJournal puts this process's sidecar on disk, with its name.
func (g *Guard) syncJournal() error {
	if err := g.journal.file.Sync(); err != nil {
		return err
	}
	return g.needJournal(true)
}

// keepPending appends ops to this process's sidecar.
func (g *Guard) keepPending(ops []merge.Op, sync bool) (uint64, error) {
	if err := g.checkWritable("journal"); err != nil { // who may not write it leaves nothing for others to fold
		return 0, err
	}
	if err := g.needJournal(sync); err != nil {
		return 0, err
	}
	_, err := g.parent.Stat(g.name)
	return g.journal.append(line{Generation: g.generationSeen(), Monotonic: monotonic(), New: isMissing(err), Ops: encodeOps(ops)}, sync)
}

// generationSeen is what a writer without the lock knows: never more than is durable.
func (g *Guard) generationSeen() uint64 { return g.store.readSettled() }

// needJournal makes the sidecar; with durable its entry is on disk when it returns.
func (g *Guard) needJournal(durable bool) error {
	if g.store == nil {
		s, err := g.openStore(true)
		if err != nil {
			return err
		}
		g.store = s
	}
	if g.journal == nil {
		j, err := g.store.createJournal(g.options.Command, false)
		if err != nil {
			return err
		}
		g.journal = j
	}
	if durable && !g.journal.entrySynced {
		if err := g.store.pending.Sync(); err != nil {
			return err
		}
		g.journal.entrySynced = true
	}
	return nil
}

// Journal appends ops as one change to the process's own sidecar and returns when that is on disk. Readers see it
// within VisibleWithin while the process lives, and with the next use after it died.
func (g *Guard) Journal(ctx context.Context, ops ...merge.Op) error {
	if err := ctx.Err(); err != nil {
		return g.fail("journal", err, "")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := g.keepPending(ops, true); err != nil {
		if errors.Is(err, ErrNotDurable) {
			// Its pages may be marked clean without being on disk: never sync it again. The file stays for the fold.
			_ = g.journal.close(false)
			g.journal = nil
		}
		return g.fail("journal", err, "")
	}
	g.foldSoon()
	return nil
}

// foldSoon lets a background goroutine fold within VisibleWithin; many changes share one fold.
func (g *Guard) foldSoon() {
	if g.wake == nil {
		ctx, stop := context.WithCancel(context.Background())
		g.wake, g.stop = make(chan struct{}, 1), stop
		g.background.Go(func() { g.foldInBackground(ctx) })
	}
	select {
	case g.wake <- struct{}{}:
	default: // asked already
	}
}

func (g *Guard) foldInBackground(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(VisibleWithin / 2): // half for gathering, half for the fold
		}
		if _, err := g.foldOwn(ctx, ownChange{}); err != nil && ctx.Err() == nil {
			g.mu.Lock()
			g.warn("pending changes not folded yet: %v", err)
			g.mu.Unlock()
		}
	}
}

// Flush folds what this process journaled and everything else that is pending.
func (g *Guard) Flush(ctx context.Context) (Result, error) { return g.foldOwn(ctx, ownChange{}) }
