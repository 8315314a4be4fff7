package sidecar

import (
	"os"
	"slices"
	"strings"

	"jsonguard/internal/vfs"
)

// removeScratch removes the file itself last: as long as it is there, its watermark is kept.
func removeScratch(dir vfs.Dir, n string) {
	names, err := dir.Names()
	if err != nil {
		return
	}
	for _, name := range names {
		if strings.HasPrefix(name, n+".") && name != n+scratchSuffix {
			_ = dir.Remove(name)
		}
	}
	_ = dir.Remove(n + scratchSuffix)
}

// sweepSessions removes scratch files that are in the target for good, and the directories of dead supervisors when
// nothing in them is pending.
func (f *fold) sweepSessions() error {
	for _, p := range f.pending {
		if p.from.scratch == nil || p.from.stuck {
			continue
		}
		for _, sd := range f.sessions {
			if sd.dir == p.from.scratch.dir {
				sd.spent = append(sd.spent, p.from.scratch.n)
			}
		}
	}
	for _, sd := range f.sessions {
		for _, n := range sd.spent {
			removeScratch(sd.dir, n) // not synced: its watermark is kept until that is, see syncRemovals
			f.g.session.forget(sd.id + "." + n)
		}
		if sd.live {
			continue
		}
		names, err := sd.dir.Names()
		if isMissing(err) {
			continue
		}
		if err != nil {
			return err
		}
		pending := false
		for _, name := range names {
			pending = pending || strings.HasSuffix(name, scratchSuffix)
		}
		if pending { // a program outlives its supervisor, or who may not write the target wrote
			continue
		}
		if err := vfs.RemoveAll(f.s.views, sd.id); err != nil {
			return err
		}
		if err := f.s.views.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// sweepUnbornSessions removes directories whose supervisor died before they got their name.
func (f *fold) sweepUnbornSessions() error {
	names, err := f.s.views.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "."+sessionPrefix) {
			continue
		}
		f.removeUnborn(name)
	}
	return nil
}

// removeUnborn holds the owner's lock until the directory is gone: its supervisor may be about to take it, and makes another then. One
// that had it later would have a directory that is taken to pieces.
func (f *fold) removeUnborn(name string) {
	dir, err := f.s.views.OpenDir(name)
	if err != nil {
		return
	}
	defer dir.Close()
	owner, err := dir.OpenFile(ownerName, os.O_RDONLY, 0)
	if isMissing(err) {
		// The owner is the first that is in it: it is empty, or being made, or a power cut took the owner and left others.
		if names, err := dir.Names(); err == nil && len(names) > 0 && !slices.Contains(names, ownerName) {
			_ = vfs.RemoveAll(f.s.views, name)
		}
		_ = f.s.views.Remove(name)
		return
	}
	if err != nil {
		return
	}
	defer owner.Close()
	if free, err := owner.TryLock(); err == nil && free {
		_ = vfs.RemoveAll(f.s.views, name)
	}
}

// forgetAtOnce is how many scratch files that were removed keep their watermark, until all of these are forgotten: to sync
// the directories of many sessions for each fold costs more than the fold does.
const forgetAtOnce = 64

// syncRemovals makes the removal of sidecars durable whose watermark is about to be forgotten: one that a power cut
// brought back without its watermark would be applied again.
func (f *fold) syncRemovals() error {
	var removed []string
	for id := range f.marks {
		if _, _, scratch := sessionOf(id); scratch && f.after[id] == 0 {
			removed = append(removed, id)
		}
	}
	if len(removed) < f.g.forgetFrom {
		for _, id := range removed {
			f.after[id] = f.marks[id]
		}
	}
	synced := map[string]bool{}
	for id := range f.marks {
		if _, kept := f.after[id]; kept {
			continue
		}
		place, dir := pendingName, f.s.pending
		if session, _, ok := sessionOf(id); ok {
			place, dir = viewsName, f.s.views
			if i := f.sessionDir(session); i != nil {
				place, dir = session, i.dir
			}
		}
		if synced[place] {
			continue
		}
		synced[place] = true
		if err := dir.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func (f *fold) sessionDir(id string) *sessionDir {
	for _, sd := range f.sessions {
		if sd.id == id {
			return sd
		}
	}
	return nil
}
