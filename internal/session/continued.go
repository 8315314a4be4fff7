//go:build linux

package session

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
)

// continued is the version that was left incomplete last, by a program of the tree that was not killed, where one that is opened with
// flags goes on with it: { printf '[1,' > f; printf '2]' >> f; }
func (t *target) continued(flags int) *writer {
	if t.gone || flags&(unix.O_TRUNC|unix.O_EXCL) != 0 || flags&unix.O_APPEND == 0 && flags&unix.O_ACCMODE != unix.O_RDWR {
		return nil
	}
	for i := len(t.partial) - 1; i >= 0; i-- {
		if !t.partial[i].superseded {
			return t.partial[i]
		}
	}
	return nil
}

// supersede is told that a process has closed a complete version: the file is not what it left incomplete before any more.
func (t *target) supersede(by *intercept.Process) {
	for _, w := range t.partial {
		w.superseded = w.superseded || w.process == by
	}
}

// goOn gives w the scratch file of what was left incomplete. That it leaves it as it is, is no reason to take it away: initial is nil.
func (t *target) goOn(w, before *writer, flags int) (*os.File, error) {
	f, err := before.scratch.Reopen(context.Background(), w.who(), flags)
	if err != nil {
		return nil, t.refuse(err)
	}
	w.scratch, w.bases, w.likely, w.skip = before.scratch, before.bases, before.likely, before.skip
	w.opened, w.began, w.made = time.Now(), modified(f), before.made
	t.drop(before)
	if err := t.watch(w, f); err != nil {
		_ = f.Close()
		t.failed(w, err) // it stays on disk
		return nil, t.refuse(err)
	}
	t.writers = append(t.writers, w)
	return f, nil
}
