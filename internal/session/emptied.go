//go:build linux

package session

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
)

// openEmptied: O_TRUNC with O_RDONLY empties the file, and nothing is written through it. What is only read has no last close that
// would be told, so it is no scratch file.
func (t *target) openEmptied(c *caller, p *intercept.Place, how intercept.OpenHow, exists bool) (*os.File, error) {
	if exists {
		v, _, err := t.whole(c, p)
		if err != nil {
			return nil, err
		}
		t.heads.Read(c.process, c.tid, v)
		t.empty(c.process, c.tid, v)
	}
	how.Flags &^= unix.O_TRUNC | unix.O_EXCL
	return t.openRead(c, p, how)
}

// empty is told that a program closed the target with nothing in it, or cut it to nothing: a deletion of all that is in
// it. Where nobody else has a hand on it that is done at once. Else only this tree sees it, until it is known what comes
// after it.
func (t *target) empty(by *intercept.Process, tid int, before *version) {
	if before == missing {
		return
	}
	if t.emptied == nil {
		t.emptied = before
	}
	alone, err := t.alone()
	if err != nil || !alone || !t.lastToKnow(by) {
		return
	}
	content, err := t.emptied.read()
	if err != nil {
		return
	}
	done, err := t.session.Empty(context.Background(), content)
	if err != nil {
		t.tree.note("%s: %v", t.path, err)
	}
	if !done {
		return
	}
	t.heads.Wrote(by, tid, t.emptied, missing) // there is no document
	t.emptied = nil
	t.stats.Writes++
}

// looksEmpty says whether the tree sees an empty file: one of its programs has emptied it, and nobody wrote it since.
func (t *target) looksEmpty() bool {
	if t.emptied == nil {
		return false
	}
	before, err := t.emptied.read()
	if err != nil {
		return false
	}
	now, err := t.onDisk().read()
	return err == nil && string(now) == string(before)
}
