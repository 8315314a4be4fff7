package sidecar

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"jsonguard/internal/vfs"
)

// store is the guard directory, held open: it stays this directory even when its path comes to name another.
//
//	lock                      excludes folds from each other
//	commit.0, commit.1        see commit
//	settled                   see settledHint
//	board                     see board
//	pending/<host>.<pid>.<id> one sidecar for each process, see journal
//	views/<id>/               private copies of exec and edit, see View
//	quarantine/               what was refused or could not be parsed
//	history/                  versions that folds replaced, see History; made when one is kept
//	conflicts.jsonl           values that lost
type store struct {
	guard        vfs.Dir
	pending      vfs.Dir
	views        vfs.Dir
	quarantine   vfs.Dir
	history      vfs.Dir // nil until it was opened
	inode        uint64
	pendingInode uint64
	perm         fs.FileMode // of files: the target's bits
	flockless    bool        // see flockless.go
	rooted       bool        // the way from the target's directory to pending/ is on disk
	boot         string      // for the headers of sidecars
	board        *board      // nil: this system has none

	settled settledReader
}

const (
	pendingName    = "pending"
	viewsName      = "views"
	quarantineName = "quarantine"
	guardLockName  = "lock"
)

func (s *store) close() {
	for _, d := range []vfs.Dir{s.pending, s.views, s.quarantine, s.history, s.guard} {
		if d != nil {
			d.Close()
		}
	}
	s.settled.close()
	s.board.close()
}

// dirPerm lets those search the guard directory who may read the target.
func dirPerm(perm fs.FileMode) fs.FileMode { return 0o700 | perm | perm&0o444>>2 }

// openStore opens the guard directory of g. Without create, a missing one is fs.ErrNotExist.
func (g *Guard) openStore(create bool) (s *store, err error) {
	const attempts = 100 // each needs somebody who cleans in the same moment
	for range attempts {
		if s, err = g.tryOpenStore(create); !create || !isMissing(err) {
			break
		}
	}
	return s, err
}

func (g *Guard) tryOpenStore(create bool) (*store, error) {
	dir, inode, err := g.openGuard()
	if errors.Is(err, fs.ErrNotExist) && create {
		if err = g.makeGuardDir(); err == nil {
			dir, inode, err = g.openGuard()
		}
	}
	if err == nil && g.seams.checkGuard != nil {
		if err = g.seams.checkGuard(); err != nil {
			dir.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	flockless := g.seams.flockless != nil && g.seams.flockless()
	if flockless {
		dir = vfs.WithoutFlock(dir)
	}
	s := &store{guard: dir, inode: inode, perm: g.guardPerm(), boot: g.boot, flockless: flockless}
	s.pending, err = dir.OpenDir(pendingName)
	if errors.Is(err, fs.ErrNotExist) && create {
		err = g.initStore(s)
	}
	if err == nil {
		var info vfs.Info
		info, err = dir.Stat(pendingName)
		s.pendingInode = info.Inode
	}
	if err == nil {
		err = s.openRooms()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// openGuard opens the guard directory and says which one that is. Its name must lead to the same one before and after: who cleans may
// move it out of the way, and another make a new one, just when it was opened.
func (g *Guard) openGuard() (dir vfs.Dir, inode uint64, err error) {
	for {
		before, err := g.parent.Stat(g.guardName())
		if err != nil {
			return nil, 0, err
		}
		if dir, err = g.parent.OpenDir(g.guardName()); err != nil {
			return nil, 0, err
		}
		after, err := g.parent.Stat(g.guardName())
		if err == nil && after.Inode == before.Inode {
			return dir, after.Inode, nil
		}
		dir.Close()
		if err != nil {
			return nil, 0, err
		}
	}
}

// stillThere says whether s is what its names lead to: it may have been removed, or moved away, by Clean or by hand.
func (s *store) stillThere(g *Guard) (bool, error) {
	guard, err := g.parent.Stat(g.guardName())
	if err != nil || guard.Inode != s.inode {
		return false, ignoreMissing(err)
	}
	pending, err := s.guard.Stat(pendingName)
	return err == nil && pending.Inode == s.pendingInode, ignoreMissing(err)
}

// openRooms opens the directories beside pending/, made again if somebody removed them.
func (s *store) openRooms() (err error) {
	if s.views == nil {
		if s.views, err = openOrMakeDir(s.guard, viewsName, dirPerm(s.perm)); err != nil {
			return err
		}
	}
	if s.quarantine == nil {
		s.quarantine, err = openOrMakeDir(s.guard, quarantineName, dirPerm(s.perm))
	}
	return err
}

// initStore fills a new guard directory. pending/ comes last: where it exists, valid commit records existed,
// on disk, before anything could be pending, so that their absence is damage and not youth.
func (g *Guard) initStore(s *store) error {
	l, err := s.openGuardLock()
	if err != nil {
		return err
	}
	if err := waitLock(context.Background(), l, g.patience()); err != nil {
		return err
	}
	defer l.Close()
	// Cleaned away while we waited: everything in here would be lost.
	if info, err := g.parent.Stat(g.guardName()); err != nil {
		return err
	} else if info.Inode != s.inode {
		return fs.ErrNotExist
	}
	if s.pending, err = s.guard.OpenDir(pendingName); !errors.Is(err, fs.ErrNotExist) {
		return err // another process was first
	}
	// What an earlier guard in this directory left says nothing about this one. Its pending/ may be gone in memory only, and
	// must not be there again with the records of this one.
	if err := s.guard.Remove(settledName); err != nil && !isMissing(err) {
		return err
	}
	if _, err := s.guard.Stat("commit.0"); err == nil {
		if err := s.guard.Sync(); err != nil {
			return err
		}
	} else if !isMissing(err) {
		return err
	}
	// Versions that are still here are of other generations.
	files, err := s.keptIfAny()
	if err != nil {
		return err
	}
	first := uint64(0)
	if len(files) > 0 {
		first = files[len(files)-1].generation + 1
	}
	for _, generation := range []uint64{first + 1, first} {
		c := commit{Generation: generation, Kind: kindNone, Before: watermarks{}, After: watermarks{}}
		if err := s.writeCommit(&c); err != nil {
			return err
		}
	}
	if err := s.openRooms(); err != nil {
		return err
	}
	if err := s.guard.Sync(); err != nil {
		return err
	}
	if s.pending, err = openOrMakeDir(s.guard, pendingName, dirPerm(s.perm)); err != nil {
		return err
	}
	if err := s.guard.Sync(); err != nil {
		return err
	}
	if err := g.parent.Sync(); err != nil {
		return err
	}
	s.rooted = true
	return s.writeSettled(&commit{Generation: first + 1}, false)
}

// root makes sure that the way from the target's directory to pending/ is on disk before a change in there is promised:
// whoever is making it may not be that far yet. A hint in settled says that it was.
func (s *store) root(parent vfs.Dir) error {
	if !s.rooted && s.readSettled() == 0 {
		if err := errors.Join(s.guard.Sync(), parent.Sync()); err != nil {
			return err
		}
	}
	s.rooted = true
	return nil
}

// openGuardLock opens the file whose flock excludes folds. Nobody deletes it while the guard directory is in use.
func (s *store) openGuardLock() (vfs.File, error) {
	f, err := s.openOrCreate(guardLockName, os.O_RDWR)
	if err == nil && s.flockless {
		f = &leasedFile{File: f, path: filepath.Join(s.guard.Path(), guardLockName)}
	}
	return f, err
}

// openOrCreate opens a file of the guard directory, made with the target's bits where it is missing.
func (s *store) openOrCreate(name string, flag int) (vfs.File, error) {
	for {
		f, err := s.guard.OpenFile(name, flag, 0)
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		f, err = s.guard.OpenFile(name, flag|os.O_CREATE|os.O_EXCL, s.perm)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

// overwrite puts content into a file of the guard directory, in place: its entry never changes, so that one
// fsync of the file is enough.
func (s *store) overwrite(name string, content []byte, sync bool) error {
	f, err := s.openOrCreate(name, os.O_RDWR)
	if err != nil {
		return err
	}
	err = writeWhole(f, content, 0)
	if err == nil {
		err = cutTo(f, int64(len(content)))
	}
	if err == nil && sync {
		err = f.SyncData()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
