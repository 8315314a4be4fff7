package sidecar

import (
	"bytes"
	"context"
)

// overlay is a fold that publishes nothing.
func (g *Guard) overlay(ctx context.Context) (content []byte, overlay bool, err error) {
	held := &heldLocks{}
	if err := g.lockStore(ctx, held, true, g.deadline()); err != nil {
		return nil, false, err
	}
	defer held.release()
	f := &fold{g: g, s: held.store, lock: held}
	defer f.close()
	for _, step := range []func() error{f.settle, f.collect} {
		if err := step(); err != nil {
			return nil, false, err
		}
	}
	if len(f.pending) == 0 {
		return nil, false, nil
	}
	if err := f.apply(); err != nil {
		return nil, false, err
	}
	if f.whole != nil {
		content, err = f.whole.read()
		return content, true, err
	}
	if f.doc != nil {
		if f.doc.Missing() {
			return nil, true, nil
		}
		return f.doc.Bytes(), true, nil
	}
	content, err = f.target.read()
	return append(bytes.Clone(content), f.block...), true, err
}

// Settled runs fn while nobody folds and nothing that a fold appends is there in part: whoever was killed while it appended, that was made
// whole before.
func (s *Session) Settled(ctx context.Context, fn func() error) error {
	g := s.reader
	if err := g.enter(ctx, g.deadline()); err != nil {
		return g.fail("settle", err, "")
	}
	defer g.turn.give()
	held := &heldLocks{}
	if err := g.lockStore(ctx, held, true, g.deadline()); err != nil {
		return g.fail("settle", err, "")
	}
	defer held.release()
	f := &fold{g: g, s: held.store, lock: held}
	defer f.close()
	if err := f.settle(); err != nil {
		return g.fail("settle", err, hintFor(err))
	}
	return fn()
}
