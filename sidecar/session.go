package sidecar

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
	"jsonguard/merge"
)

// Session is where one supervisor of programs keeps what they write to the target: each descriptor that a program opens
// for writing is to a scratch file of its own. Everything that a fold needs is beside it, so that any process may fold
// a scratch file as soon as its writer has closed it:
//
//	views/@<id>/owner          its flock says that the supervisor lives
//	views/@<id>/<n>.scratch    the writer's; its open file description holds the flock of it until its last close
//	views/@<id>/<n>.about      who writes, when it was opened, and the names of its bases
//	views/@<id>/<n>.base0, …   what it may have been made from, the newest first
//
// A closed scratch file is a pending change like a line of a journal: <id>.<n> is its sidecar, and it has one change,
// number 1. So it is folded exactly once by the same watermarks.
type Session struct {
	g      *Guard // folds, and may wait for it
	reader *Guard // never waits for a program's lock
	store  *store
	id     string
	dir    vfs.Dir
	owner  vfs.File
	path   string

	mu       sync.Mutex
	prepared map[string]preparedScratch
	wholes   []wholeText
	seen     uint64 // generation
	tells    *bool  // reading a scratch file shows; nil: not tried

	closed atomic.Bool
}

const (
	sessionPrefix = "@" // no host name has it (fileSafe), so that no journal has such an id
	scratchSuffix = ".scratch"
	aboutSuffix   = ".about"
	baseSuffix    = ".base"
	unbornSuffix  = ".new"
	partInfix     = "-" // no newID has it
)

// about is what stands beside a scratch file.
type about struct {
	header
	Generation uint64   `json:"generation"`
	Monotonic  int64    `json:"monotonic"`           // when it was opened
	Bases      []string `json:"bases"`               // the newest first; "" is a missing document; a name ends in the hash of its content
	Likely     int      `json:"likely,omitempty"`    // which of them, if content says nothing else: see merge.MadeFrom
	Hash       string   `json:"hash,omitempty"`      // of the content, where it was known from the start
	Unread     int      `json:"unread,omitempty"`    // see Bases.Unread; 0 also where nobody can tell
	Skip       int64    `json:"skip,omitempty"`      // JSON Lines: it begins with a hole as long as the target was, and only appends
	Finished   bool     `json:"finished,omitempty"`  // JSON Lines: the writer was not killed, what is missing is deleted
	Additions  bool     `json:"additions,omitempty"` // its writer goes on: nothing is deleted yet
	Publishes  string   `json:"publishes,omitempty"` // the last part of it that was taken out: its name may still be missing
	Parts      int      `json:"parts,omitempty"`     // how many were
	Taken      []taken  `json:"taken,omitempty"`     // JSON Lines: those that no fold had brought in when the last one was taken out
}

// NewSession makes a directory for scratch files of target. It needs the guard directory, which is made.
func NewSession(target string, o Options) (*Session, error) {
	g, err := Open(target, o)
	if err != nil {
		return nil, err
	}
	reader, err := Open(target, o)
	if err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return newSession(g, reader)
}

// newSession is NewSession on any filesystem.
func newSession(g, reader *Guard) (*Session, error) {
	const attempts = 100
	for try := 1; ; try++ {
		s := &Session{g: g, reader: reader, prepared: map[string]preparedScratch{}}
		g.session, reader.session = s, s
		err := s.make()
		if err == nil {
			return s, nil
		}
		s.release()
		if !errors.Is(err, errSweptUnborn) && !isMissing(err) || try == attempts { // swept, or the guard directory was, by who saw nothing in it
			return nil, errors.Join(g.fail("make session", err, ""), g.Close(), reader.Close())
		}
	}
}

// errFlockless: a Session cannot be had where a lease stands for flock.
func errFlockless() error {
	return fmt.Errorf("flock does not exclude on this filesystem, and nothing else tells when a program is done: %w", errors.ErrUnsupported)
}

// errMountPoint: a version that a program has read is a descriptor, and its content must stay as it was.
func errMountPoint() error {
	return fmt.Errorf("the file is a mount point, which is overwritten in place under whoever reads it: %w", errors.ErrUnsupported)
}

// CheckSession says why NewSession would fail, or why nothing could be merged into target, and makes nothing that stays.
func CheckSession(target string, o Options) error {
	g, err := Open(target, o)
	if err != nil {
		return err
	}
	defer g.Close()
	if err := g.checkContent(); err != nil {
		return g.fail("read", err, "")
	}
	found, err := lock.Probe(g.GuardDir())
	if isMissing(err) {
		found, err = lock.Probe(g.dirPath)
	}
	switch {
	case err != nil:
	case !found.Excludes:
		err = errFlockless()
	case isMountPoint(g.Target()):
		err = errMountPoint()
	}
	return g.fail("make session", err, "")
}

// checkContent: what is no JSON is never merged into. Lines are only appended to, and a log may be long.
func (g *Guard) checkContent() error {
	if g.format == merge.Lines {
		return nil
	}
	file, err := g.parent.OpenFile(g.name, os.O_RDONLY, 0)
	if err != nil {
		return ignoreMissing(err)
	}
	defer file.Close()
	if _, err := checkWhole(file, g.format); !errors.Is(err, ErrTorn) {
		return err
	}
	content, _, err := readAll(file) // which may be empty, and if not is said to be what it is
	if err != nil {
		return err
	}
	return merge.Valid(content, g.format)
}

// Guard folds what is pending, and may wait for the target's lock.
func (s *Session) Guard() *Guard { return s.g }

// make fills the directory under a hidden name, so that nobody ever sees it without its lock.
func (s *Session) make() (err error) {
	if s.store, err = s.g.openStore(true); err != nil {
		return err
	}
	st := s.store
	switch {
	case st.flockless:
		return errFlockless()
	case isMountPoint(s.g.Target()):
		return errMountPoint()
	}
	host, _ := os.Hostname()
	s.id = fmt.Sprintf("%s%s.%d.%s", sessionPrefix, fileSafe(host), os.Getpid(), newID())
	s.path = filepath.Join(s.g.GuardDir(), viewsName, s.id)
	hidden := "." + s.id
	if err := st.views.Mkdir(hidden, dirPerm(st.perm)); err != nil {
		return err
	}
	if s.dir, err = st.views.OpenDir(hidden); err != nil {
		return err
	}
	if s.owner, err = s.dir.OpenFile(ownerName, os.O_RDWR|os.O_CREATE|os.O_EXCL, st.perm); err != nil {
		return err
	}
	if free, err := s.owner.TryLock(); err != nil {
		return err
	} else if !free {
		return errSweptUnborn
	}
	head, err := header{Version: journalVersion, ID: s.id, Host: host, Boot: s.g.boot, PID: os.Getpid(), Command: s.g.options.Command, Since: time.Now().UTC()}.marshal()
	if err != nil {
		return err
	}
	if _, err := s.owner.Write(head); err != nil { // for who looks: nothing depends on it
		return err
	}
	err = st.views.Rename(hidden, s.id) // not synced, as nothing in it is
	if isMissing(err) {
		return errSweptUnborn
	}
	if err != nil {
		return err
	}
	if there, err := st.stillThere(s.g); err != nil || there {
		return err
	}
	_ = vfs.RemoveAll(st.views, s.id) // in a guard directory that is being cleaned away
	return errSweptUnborn
}

func (s *Session) release() {
	if s.owner != nil {
		_ = s.owner.Close()
	}
	if s.dir != nil {
		_ = s.dir.Close()
	}
	if s.store != nil {
		s.store.close()
	}
}

// Close ends the session, when every writer has closed its scratch file. What is pending in it stays for the next fold, on
// disk, and what is incomplete counts as torn from now on; an empty directory is removed. With clean the guard directory
// goes too, if nothing in it is worth keeping.
func (s *Session) Close(clean bool) error {
	s.closed.Store(true)
	names, err := s.dir.Names()
	switch {
	case err != nil:
	case len(names) == 1: // the owner
		err = errors.Join(s.dir.Remove(ownerName), s.store.views.Remove(s.id))
	default:
		err = s.keep(names)
	}
	s.release()
	s.g.session, s.reader.session = nil, nil
	if err == nil && clean {
		err = s.clean()
	}
	return errors.Join(ignoreMissing(err), s.g.Close(), s.reader.Close())
}

// keep puts on disk what no fold has taken, with the hashes by which it is believed after a power cut.
func (s *Session) keep(names []string) error {
	for _, name := range names {
		n, ok := strings.CutSuffix(name, scratchSuffix)
		if !ok {
			continue
		}
		content, err := readFile(s.dir, name)
		if isMissing(err) {
			continue // folded by another meanwhile
		}
		if err != nil {
			return err
		}
		a, err := readAbout(s.dir, n)
		if errors.Is(err, errAboutLost) {
			continue
		}
		if err != nil {
			return err
		}
		if a.Hash == "" && a.Skip == 0 {
			a.Hash = contentHash(content)
			if err := s.writeAbout(&Scratch{s: s, n: n, about: a}); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		f, err := s.dir.OpenFile(name, os.O_RDWR, 0)
		if isMissing(err) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return errors.Join(s.dir.Sync(), s.store.views.Sync(), s.store.root(s.g.parent))
}

// clean removes the guard directory, and the lock file of a target that is not there any more: nobody is left who waits
// for it, and whoever comes next makes another.
func (s *Session) clean() error {
	removed, err := s.g.Clean(context.Background())
	if _, serr := s.g.parent.Stat(s.g.name); isMissing(serr) && len(removed) > 0 && !s.g.options.LockInside {
		_ = s.g.parent.Remove(filepath.Base(lock.LockPath(s.g.name)))
	}
	return err
}

// FoldLock is the path of the file whose flock a process holds while it folds.
func (s *Session) FoldLock() string { return filepath.Join(s.g.GuardDir(), guardLockName) }

// Dir is the path of the session's directory.
func (s *Session) Dir() string { return s.path }

// generation is the last one known durable, as far as can be seen without a lock: never less than was seen before, and what
// is made now comes behind what it was made from.
func (s *Session) generation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = max(s.seen, s.store.seenGeneration())
	return s.seen
}

func (s *Session) sidecar(n string) string { return s.id + "." + n }

// pendingNames are what is in pending/, which may have been made anew since the session began: see restorePending.
func (s *Session) pendingNames() ([]string, error) {
	pending, err := s.store.guard.OpenDir(pendingName)
	if err != nil {
		return nil, err
	}
	defer pending.Close()
	return pending.Names()
}

// OnlyPending says whether nothing is pending for the target, of anybody, but what x holds.
func (s *Session) OnlyPending(x *Scratch) bool {
	journals, err := s.pendingNames()
	if err != nil || len(journals) > 0 {
		return false
	}
	sidecars, err := s.store.scratches()
	return err == nil && !slices.ContainsFunc(sidecars, func(sidecar string) bool { return sidecar != x.Sidecar() })
}

// Alone says whether no other process has anything pending for the target, or is about to.
func (s *Session) Alone() bool {
	pending, err := s.pendingNames()
	if err != nil || len(pending) > 0 {
		return isMissing(err) // somebody is removing the guard directory
	}
	views, err := s.store.views.Names()
	return err == nil && len(views) == 1 || isMissing(err)
}

// Rest waits for a fold of this session that is under way.
func (s *Session) Rest(ctx context.Context) error {
	for _, g := range []*Guard{s.g, s.reader} {
		if err := g.enter(ctx, g.deadline()); err != nil {
			return err
		}
		g.turn.give()
	}
	return nil
}

// sessionOf splits the name of a scratch file's sidecar.
func sessionOf(sidecar string) (session, n string, ok bool) {
	i := strings.LastIndexByte(sidecar, '.')
	if i < 0 || !strings.HasPrefix(sidecar, sessionPrefix) {
		return "", "", false
	}
	return sidecar[:i], sidecar[i+1:], true
}
