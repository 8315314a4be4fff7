package sidecar

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
)

// Clean folds what is pending and removes what dead processes left; a guard directory in which nothing is worth
// keeping (no conflict, nothing in quarantine, no live process) goes too.
func (g *Guard) Clean(ctx context.Context) (removed []string, err error) {
	until := g.deadline()
	if err := g.enter(ctx, until); err != nil {
		return nil, err
	}
	defer g.turn.give()
	_, unfolded := g.fold(ctx, ownChange{}, until)
	if unfolded != nil && !errors.Is(unfolded, ErrTarget) { // a target that cannot be replaced, by now, may have nothing pending
		return nil, unfolded
	}
	err = g.underLocks(ctx, "clean", until, func(s *store) (err error) {
		if s != nil {
			err = s.removeOrphans()
			if err == nil {
				err = g.cleanHistory(s)
			}
		}
		if err == nil {
			removed, err = g.removeGuard(s)
		}
		return err
	})
	if err == nil && len(removed) == 0 {
		err = unfolded
	}
	return removed, err
}

// removeGuard removes the guard directory if nothing in it is worth keeping: no sidecar (live ones included), no
// view, no conflict, nothing in quarantine. pending/ goes first, on disk: a directory without it is a new one. Then
// nothing is pending, and no temporary file is evidence of anything: they go too.
func (g *Guard) removeGuard(s *store) (removed []string, err error) {
	guard, err := g.parent.OpenDir(g.guardName())
	switch {
	case err == nil:
		defer guard.Close()
		if s == nil { // without pending/: left by a dead process, or being made
			making, err := g.lockUnfinished(guard)
			if making == nil {
				return nil, err
			}
			defer making.Close()
		}
		if disposable, err := isDisposable(guard); err != nil || !disposable {
			return nil, err
		}
		if g.seams.lockPlaces != nil { // their holders would not know of those who come after
			release, ok, err := g.seams.lockPlaces()
			if err != nil || !ok {
				return nil, err
			}
			defer release()
		}
		if s != nil { // what was folded is not there again without its watermark
			if err := s.views.Sync(); err != nil {
				return nil, err
			}
		}
		if err := guard.Remove(pendingName); err != nil && !isMissing(err) {
			if errors.Is(err, fs.ErrExist) {
				err = nil // somebody just started
			}
			return nil, err
		}
		if err := guard.Sync(); err != nil {
			return nil, err
		}
		// A session looks for pending/ when it has its name: either it misses it, or is seen here.
		if disposable, err := isDisposable(guard); err != nil || !disposable {
			if s != nil { // else there was none
				err = errors.Join(err, g.restorePending(guard))
			}
			return nil, err // somebody just started
		}
	case !isMissing(err):
		return nil, err
	}
	names, err := g.parent.Names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if g.isTemp(name) {
			if err := vfs.RemoveAll(g.parent, name); err != nil {
				return removed, err
			}
			removed = append(removed, filepath.Join(g.dirPath, name))
		}
	}
	if guard != nil {
		// Out of the way in one step: whoever makes the next one must not find it half removed.
		grave := g.newTempName()
		if err := g.parent.Rename(g.guardName(), grave); err != nil {
			return removed, err
		}
		removed = append(removed, g.GuardDir())
		if err := g.parent.Sync(); err != nil {
			return removed, err
		}
		_ = vfs.RemoveAll(g.parent, grave) // the next sweep tries again: somebody may have been about to use it
		if s != nil {
			if err := g.forget(s); err != nil {
				return removed, err
			}
		}
	}
	if len(removed) == 0 {
		return nil, nil
	}
	return removed, g.parent.Sync()
}

// restorePending makes pending/ again, beside the commit records that are still there.
func (g *Guard) restorePending(guard vfs.Dir) error {
	pending, err := openOrMakeDir(guard, pendingName, dirPerm(g.guardPerm()))
	if err != nil {
		return err
	}
	pending.Close()
	return guard.Sync()
}

// cleanedUnder says whether a session has something in a guard directory without pending/: who cleans it away has not come to
// restorePending, or was killed before.
func (g *Guard) cleanedUnder() bool {
	guard, err := g.parent.OpenDir(g.guardName())
	if err != nil {
		return false
	}
	defer guard.Close()
	views, err := guard.OpenDir(viewsName)
	if err != nil {
		return false
	}
	defer views.Close()
	return (&store{views: views}).anyScratch()
}

// lockUnfinished takes guard/lock, which initStore holds while it fills the directory; nil where somebody does, or has removed it
// meanwhile.
func (g *Guard) lockUnfinished(guard vfs.Dir) (vfs.File, error) {
	file, err := (&store{guard: guard, perm: g.guardPerm()}).openGuardLock()
	if err != nil {
		return nil, ignoreMissing(err)
	}
	if free, err := file.TryLock(); err != nil || !free {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// isDisposable: there is nothing in the guard directory but what a new one has.
func isDisposable(guard vfs.Dir) (bool, error) {
	names, err := guard.Names()
	if err != nil {
		return false, err
	}
	for _, n := range names {
		switch n {
		case pendingName, viewsName, quarantineName, historyName:
			room, err := guard.OpenDir(n)
			if err != nil {
				return false, err
			}
			inside, err := room.Names()
			_ = room.Close()
			if err != nil || len(inside) > 0 {
				return false, err
			}
		default:
			if !isDisposableName(n) {
				return false, nil
			}
		}
	}
	return true, nil
}

// isDisposableName: what is by that name in a guard directory can be made again.
func isDisposableName(name string) bool {
	switch name {
	case guardLockName, settledName, boardName, programLockName, "commit.0", "commit.1", ".gitignore", "holders", "pointers":
		return true
	}
	return isLeaseName(name) || strings.HasPrefix(name, lock.ProbePrefix)
}

// removeOrphans removes views without a sidecar: a view is handed out only when its sidecar is on disk.
func (s *store) removeOrphans() error {
	names, err := s.views.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(strings.TrimPrefix(name, "."), sessionPrefix) {
			continue
		}
		if _, err := s.pending.Stat(name); !isMissing(err) {
			continue
		}
		if _, err := s.removeView(name); err != nil {
			return err
		}
	}
	return nil
}
