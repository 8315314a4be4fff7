package sidecar

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"jsonguard/lock"
)

// Withdraw removes the target, or with remove false empties it, if what is there after everything pending was folded is
// still base. done says whether it was.
func (g *Guard) Withdraw(ctx context.Context, base []byte, remove bool) (done bool, err error) {
	return g.withdraw(ctx, base, remove, g.deadline())
}

// Empty is Withdraw without removal, at once: where a lock would have to be waited for it is not done.
func (s *Session) Empty(ctx context.Context, base []byte) (done bool, err error) {
	done, err = s.reader.withdraw(ctx, base, false, time.Time{})
	if errors.Is(err, lock.ErrTimeout) {
		return false, nil
	}
	return done, err
}

func (g *Guard) withdraw(ctx context.Context, base []byte, remove bool, until time.Time) (done bool, err error) {
	err = g.replaceWhole(ctx, until, func(f *fold) error {
		content, err := f.target.read()
		if err != nil || f.target.missing || !bytes.Equal(content, base) {
			return err
		}
		done = true
		if !remove {
			return f.replaceBy(nil)
		}
		if err := f.lock.check(); err != nil {
			return err
		}
		if err := f.g.parent.Remove(f.g.name); err != nil {
			return err
		}
		return f.g.parent.Sync()
	})
	return done, err
}

// Overwrite replaces the target by content, whatever is in it: for what is no JSON, and not to be merged.
func (g *Guard) Overwrite(ctx context.Context, content []byte) error {
	return g.replaceWhole(ctx, g.deadline(), func(f *fold) error { return f.replaceBy(content) })
}

// Append puts tail behind what is in the target, whatever both are: for what is no JSON Lines, and not to be merged.
func (g *Guard) Append(ctx context.Context, tail []byte) error {
	return g.replaceWhole(ctx, g.deadline(), func(f *fold) error {
		content, err := f.target.read()
		if err != nil {
			return err
		}
		return f.replaceBy(slices.Concat(content, tail))
	})
}

// replaceWhole runs step under the locks, after everything that is pending was folded.
func (g *Guard) replaceWhole(ctx context.Context, until time.Time, step func(*fold) error) error {
	if err := g.enter(ctx, until); err != nil {
		return err
	}
	defer g.turn.give()
	held, err := g.lockAll(ctx, true, until)
	if err != nil {
		return g.fail("lock", err, "")
	}
	defer held.end(held.begin(), false)
	if _, _, err := g.attempt(held, ownChange{all: true}); err != nil {
		return g.fail("fold", err, hintFor(err))
	}
	f := &fold{g: g, s: held.store, lock: held}
	defer f.close()
	if err := f.readTarget(); err != nil {
		return g.fail("replace", err, "")
	}
	return g.fail("replace", step(f), "")
}

func (f *fold) replaceBy(content []byte) error {
	temp, _, err := f.createTemp(pieces{content})
	if err != nil {
		return err
	}
	if err := f.rename(temp); err != nil {
		_ = f.g.parent.Remove(temp)
		return err
	}
	return nil
}
