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
