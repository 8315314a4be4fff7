package sidecar

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
	"jsonguard/merge"
)

// Salvaged is a torn document whose complete part was folded.
type Salvaged struct {
	File string `json:"file"` // name in quarantine/
	Kept int    `json:"kept"` // bytes of the torn document that were complete records; 0: there was none
	Cut  int    `json:"cut"`  // bytes behind them
}

// Recover folds everything that is pending, adopts what dead exec and edit runs left in their copies, and removes
// what is not needed any more. With salvage, torn documents in quarantine give their complete leading records, as
// additions only.
func (g *Guard) Recover(ctx context.Context, salvage bool) (Result, []Salvaged, error) {
	until := g.deadline()
	if err := g.enter(ctx, until); err != nil {
		return Result{}, nil, err
	}
	defer g.turn.give()
	// Before salvaging: adopting a dead view may bring a torn document into quarantine.
	result, err := g.fold(ctx, ownChange{}, until)
	if err != nil || !salvage {
		return result, nil, err
	}
	var salvaged []Salvaged
	err = g.underLocks(ctx, "salvage", until, func(s *store) error {
		salvaged, err = g.salvage(s)
		return err
	})
	if err != nil || len(salvaged) == 0 {
		return result, nil, err
	}
	torn := result.Torn
	result, err = g.fold(ctx, ownChange{}, until)
	result.Torn = torn
	return result, salvaged, err
}

// salvage turns each torn document into a sidecar of a dead process. The sidecar's name comes from the document's,
// and it is on disk before the document counts as salvaged: a kill between the two repeats only what is there.
func (g *Guard) salvage(s *store) ([]Salvaged, error) {
	if s == nil {
		return nil, nil
	}
	names, err := s.quarantine.Names()
	if err != nil {
		return nil, err
	}
	var all []Salvaged
	for _, name := range names {
		id, ok := strings.CutSuffix(name, tornSuffixName)
		if !ok {
			continue
		}
		one, err := g.salvageOne(s, id)
		if err != nil {
			return all, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (g *Guard) salvageOne(s *store, id string) (Salvaged, error) {
	name := id + tornSuffixName
	content, err := readFile(s.quarantine, name)
	if err != nil {
		return Salvaged{}, err
	}
	complete, cut, err := merge.Salvage(content, g.format)
	if err != nil { // nothing of it is complete: it stays, for a person to look at, and holds up no other
		return Salvaged{File: name, Cut: len(content)}, nil
	}
	base, err := readFile(s.quarantine, id+tornBaseSuffix)
	if err != nil && !isMissing(err) {
		return Salvaged{}, err
	}
	sidecar := "salvage." + id
	if _, err := s.pending.Stat(sidecar); isMissing(err) {
		if err := s.plantVersion(sidecar, base, complete, g.options.Command); err != nil {
			return Salvaged{}, err
		}
	} else if err != nil {
		return Salvaged{}, err
	}
	if err := s.quarantine.Rename(name, name+salvagedSuffix); err != nil {
		return Salvaged{}, err
	}
	return Salvaged{File: name + salvagedSuffix, Kept: len(content) - int(cut), Cut: int(cut)}, s.quarantine.Sync()
}

// plantVersion writes a sidecar with one change, base → ours, additions only, under a name that is given.
func (s *store) plantVersion(id string, base, ours []byte, command string) error {
	if err := vfs.RemoveAll(s.views, id); err != nil { // a try that was killed
		return err
	}
	if err := s.views.Mkdir(id, dirPerm(s.perm)); err != nil {
		return err
	}
	view, err := s.views.OpenDir(id)
	if err != nil {
		return err
	}
	defer view.Close()
	l := line{Monotonic: monotonic(), Additions: true, New: true}
	if base != nil {
		l.Base, l.New = baseName, false
		if err := writeNew(view, baseName, base, s.perm); err != nil {
			return err
		}
	}
	if err := s.views.Sync(); err != nil {
		return err
	}
	hidden := "." + id
	_ = s.pending.Remove(hidden)
	file, err := s.pending.OpenFile(hidden, os.O_RDWR|os.O_CREATE|os.O_EXCL, s.perm)
	if err != nil {
		return err
	}
	defer file.Close()
	host, _ := os.Hostname()
	head, err := header{Version: journalVersion, ID: id, Host: host, Boot: s.boot, PID: os.Getpid(), Command: command, Since: time.Now().UTC(), View: true}.marshal()
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	j := &journal{dir: s.pending, file: file, id: hidden, inode: info.Inode}
	if err := j.write(head); err != nil {
		return err
	}
	if _, err := j.appendVersion(view, l, ours, s.perm); err != nil {
		return err
	}
	if err := s.pending.Rename(hidden, id); err != nil {
		return err
	}
	return s.pending.Sync()
}

// Clean folds what is pending and removes what dead processes left; a guard directory in which nothing is worth
// keeping (no conflict, nothing in quarantine, no live process) goes too.
func (g *Guard) Clean(ctx context.Context) (removed []string, err error) {
	until := g.deadline()
	if err := g.enter(ctx, until); err != nil {
		return nil, err
	}
	defer g.turn.give()
	if _, err := g.fold(ctx, ownChange{}, until); err != nil {
		return nil, err
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
