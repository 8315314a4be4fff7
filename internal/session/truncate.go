//go:build linux

package session

import (
	"context"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// Truncate by name is a version that was cut.
func (t *Tree) Truncate(c *intercept.Call, p *intercept.Place, size int64) error {
	return t.truncate(t.callerOf(c), p, size)
}

func (t *Tree) truncate(c *caller, p *intercept.Place, size int64) error {
	if again := t.meant(p); again != nil {
		defer again.Close()
		p = &again.Place
	}
	x := t.target(p)
	if x == nil || p.Object != nil && !isRegular(p) {
		return intercept.Continue
	}
	if err := x.lockThere(); err != nil {
		return err
	}
	defer x.unlock()
	if now := x.there(p); now != nil {
		defer now.Close()
		p = &now.Place
	}
	if p.Object == nil {
		return intercept.Continue
	}
	if !x.shared() && !x.named || x.otherNames(p) && !x.tree.options.Sidecar.FollowLinks {
		return intercept.Continue
	}
	if err := permitted(c, p, true); err != nil {
		return err
	}
	x.lookForOtherWrites(p)
	if err := x.begin(c); err != nil {
		return err
	}
	if err := x.need(); err != nil {
		return x.refuse(err)
	}
	v, _, err := x.whole(c, p)
	if err != nil {
		return err
	}
	content, err := v.read()
	if err != nil {
		return err
	}
	if size == 0 {
		x.heads.Read(c.process, c.tid, v)
		x.empty(c.process, c.tid, v)
		return nil
	}
	if size > max(int64(len(content)), guessLimit) {
		return unix.EFBIG // it would be in memory, and is no document
	}
	cut := make([]byte, size)
	copy(cut, content)
	if !x.named && sidecar.Complete(cut, x.format) != nil {
		if err := x.session.Guard().Overwrite(context.Background(), cut); err != nil { // no JSON: as it is
			return x.refuse(err)
		}
		return nil
	}
	x.heads.Read(c.process, c.tid, v)
	return x.publish(c, cut, false, 0, unix.Timespec{})
}
