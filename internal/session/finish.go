//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// finish is called when no process of the tree is left.
func (t *target) finish(ctx context.Context) {
	t.mu.Lock()
	defer t.unlock()
	for _, w := range t.writers {
		if !w.exited {
			w.exited, w.signal = true, intercept.UnknownEnd
		}
	}
	t.events.Lock()
	t.events.closed = append(t.events.closed, t.writers...)
	t.events.Unlock()
	t.checkSession()
	t.settle()
	for _, w := range slices.Clone(t.partial) {
		content, err := readAll(w.file)
		switch {
		case err != nil:
			t.failed(w, err)
		case w.skip > 0:
			t.giveUpLines(w, content[w.skip:])
		default:
			t.quarantine(w, content)
		}
	}
	if t.session == nil {
		return
	}
	pending := slices.Clone(t.pending)
	result, err := t.session.Fold(ctx, t.own())
	if err != nil {
		if t.checkSession(); t.session == nil { // all there was has been removed
			return
		}
		if !t.named && t.wrote == t.folded && len(t.writers) == 0 { // nobody waits for it: it may be a symlink by now, or have other names
			t.tree.note("%s: %v", t.path, err)
			return
		}
	}
	t.note(result, err)
	if err == nil {
		t.folded = t.wrote
		t.taken(pending, result.Published)
		err = t.withdraw(ctx)
		t.failure = err
	}
}

// withdraw carries out a removal, or an emptying, that nothing came after: if nobody changed the file since.
func (t *target) withdraw(ctx context.Context) error {
	v, remove := t.emptied, false
	if t.gone {
		v, remove = t.goneAt, true
	}
	if v == nil || v == missing {
		return nil
	}
	content, err := v.read()
	if err != nil {
		return err
	}
	done, err := t.session.Guard().Withdraw(ctx, content, remove)
	if err == nil && !done {
		what := "emptied"
		if remove {
			what = "removed"
		}
		t.tree.warn("%s was %s by a program, and changed by another since: it was kept", t.path, what)
	}
	return err
}

// close ends the session.
func (t *target) close() {
	t.mu.Lock()
	defer t.unlock()
	for _, v := range t.kept {
		v.close()
	}
	t.kept = nil
	t.stats.Path, t.stats.Named, t.stats.Err = t.path, t.named, t.failure
	if t.session == nil {
		return
	}
	all, err := t.session.Guard().Conflicts(context.Background())
	if err == nil {
		for _, c := range all {
			if t.tree.had(c.PID) && c.Time.After(t.tree.began) {
				t.stats.Conflicts = append(t.stats.Conflicts, c)
			}
		}
	}
	_, err = os.Lstat(t.path)
	err = t.session.Close(!t.named || errors.Is(err, fs.ErrNotExist))
	if err != nil && (t.stats.Err == nil || errors.Is(t.stats.Err, sidecar.ErrPending)) { // it is pending only if it is on disk
		t.stats.Err = fmt.Errorf("end session: %w", err)
	}
}
