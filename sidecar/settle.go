package sidecar

import (
	"errors"
	"fmt"
	"os"
)

// settle finds out whether the last commit's step happened, which decides which watermarks count.
func (f *fold) settle() error {
	if err := f.readTarget(); err != nil {
		return err
	}
	f.recall()
	f.marks = watermarks{}
	if f.s == nil {
		return nil
	}
	last, err := f.s.newestCommit()
	if err != nil {
		return err
	}
	f.last = last
	f.target.knownAs(last.To)
	settled := f.s.readSettled()
	if settled == last.Generation {
		f.marks, f.moved, f.settled = last.After, last.MovedAfter, true
		return nil
	}
	if settled > last.Generation {
		// It is written after its record is on disk. Going on with an older one would apply changes again.
		return fmt.Errorf("%w: generation %d was settled, the newest valid commit record is %d", ErrDamaged, settled, last.Generation)
	}
	f.g.swept = false // somebody died in a fold: look for what it left
	// A record that was written but not synced may vanish with the next power cut, and its neighbour is older.
	if err := f.s.resyncCommit(last); err != nil {
		return fmt.Errorf("sync commit record: %w", err)
	}
	happened, err := f.happened()
	if err != nil {
		return err
	}
	if !happened {
		f.marks, f.moved = last.Before, last.MovedBefore
		return f.forgetKept()
	}
	// The rename may be in memory only: nothing may be built on it before it is on disk.
	if err := f.g.resyncParent(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if last.initial() {
		// Whoever made the guard directory may have been killed before pending/ was on disk in it, and a hint in
		// settled says that it is, see root.
		if err := f.s.guard.Sync(); err != nil {
			return fmt.Errorf("sync guard directory: %w", err)
		}
	}
	f.marks, f.moved, f.settled = last.After, last.MovedAfter, true
	return f.s.writeSettled(last, last.Kind == kindOverwrite)
}

// forgetKept takes back what the last fold kept, which did not come to replace it.
func (f *fold) forgetKept() error {
	if err := f.s.forgetKept(f.last.Generation); err != nil || f.target.missing {
		return err
	}
	info, err := f.target.file.Stat() // it has a name less
	f.target.info.Links = info.Links
	return err
}

// resyncParent syncs the target's directory after a fold that may have failed to: where that leaves the directory clean
// and not on disk, a new entry gives this fsync something to do.
func (g *Guard) resyncParent() error {
	name := g.newTempName()
	file, err := g.parent.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(file.Close(), g.parent.Sync())
	_ = g.parent.Remove(name) // else the next sweep does
	return err
}

// happened judges by what is there: the new version, or the temporary file that would have become it. Content counts
// only where no file tells (a target that was copied together with its guard has new inodes): somebody without a lock
// may have written the very bytes that the fold was about to.
func (f *fold) happened() (bool, error) {
	last := f.last
	switch last.Kind {
	case kindNone:
		return true, nil
	case kindAppend:
		return f.redoAppend()
	}
	now, err := f.target.identity()
	if err != nil {
		return false, err
	}
	if now.sameFile(last.To) {
		return true, nil
	}
	temp, err := f.readTemp(last.Temp)
	if err != nil {
		return false, err
	}
	intact := temp != nil && temp.id.same(last.To)
	switch {
	case last.Kind == kindOverwrite && intact:
		// The target may be torn, or whole in memory only; its new content is safe in the temporary file: do it again.
		if err := f.overwriteTarget(pieces{temp.content}); err != nil {
			return false, err
		}
		return true, f.readTarget()
	case intact:
		return false, nil
	case now.same(last.To):
		return true, nil
	case now.same(last.From):
		return false, nil
	default:
		return true, nil // replaced by somebody after us
	}
}
