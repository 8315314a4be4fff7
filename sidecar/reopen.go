package sidecar

import (
	"context"
	"errors"
	"os"

	"jsonguard/internal/vfs"
)

// Reopen opens a scratch file that was closed with something incomplete in it for a program that goes on with that: w is its writer
// from now on. It is the same file, and not another one that begins with what is in this: of two, whoever is killed and whatever a power
// cut brings back, both might be there, and be salvaged.
//
// The returned file is as that of [Session.Create]. It waits for a fold that is under way. What an error leaves is as it was.
func (x *Scratch) Reopen(ctx context.Context, w Writer, flags int) (*os.File, error) {
	f, err := x.reopen(ctx, w, flags)
	if err != nil {
		return nil, err
	}
	file := vfs.OSFile(f)
	if file == nil {
		return nil, x.s.g.fail("open scratch file again", errors.Join(errors.ErrUnsupported, f.Close()), "")
	}
	return file, nil
}

// reopen is Reopen on any filesystem.
func (x *Scratch) reopen(ctx context.Context, w Writer, flags int) (f vfs.File, err error) {
	bases := x.about.Bases
	err = x.s.excluded(ctx, func() error { // a fold has the flock of what it looks at
		if f, err = x.s.openForWriter(x.n+scratchSuffix, flags); err != nil {
			return err
		}
		err := x.amend(nil, func(a *about) {
			a.PID, a.Command = w.PID, w.Command
			a.withoutUnread(f, x.s.g.boot) // while its times still tell
			a.Unread = 0
			a.goOn(x.s)
		})
		if err != nil {
			_ = f.Close()
		}
		return err
	})
	if err != nil {
		return nil, x.s.g.fail("open scratch file again", err, "")
	}
	x.s.removeNames(bases[:len(bases)-len(x.about.Bases)]) // withoutUnread leaves out the first
	return f, nil
}
