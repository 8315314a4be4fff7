package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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

	closed atomic.Bool
}

// preparedScratch is what was found out about a scratch file before any lock was taken: its diff, or that it is whole.
type preparedScratch struct {
	change *merge.Change
	isNew  bool // made from a missing document
	wholeText
}

const (
	sessionPrefix = "@" // no host name has it (fileSafe), so that no journal has such an id
	scratchSuffix = ".scratch"
	aboutSuffix   = ".about"
	baseSuffix    = ".base"
	unbornSuffix  = ".new"
)

// Writer says who writes a scratch file, for the conflict log.
type Writer struct {
	PID     int
	Command string
}

// Bases are the versions that a program may have made its own from, the newest first; nil is a missing document. Likely is
// the one that its thread was given last: see merge.MadeFrom.
type Bases struct {
	Versions [][]byte
	Likely   int
	Files    []io.ReaderAt // for Create: where not nil, it holds the version with this index, and does not change
}

// madeFrom is the index of the one that content was made from.
func (b Bases) madeFrom(content []byte, g *Guard) int {
	return merge.MadeFrom(content, b.Versions, b.Likely, g.format, g.Policy())
}

// about is what stands beside a scratch file.
type about struct {
	header
	Generation uint64   `json:"generation"`
	Monotonic  int64    `json:"monotonic"`           // when it was opened
	Bases      []string `json:"bases"`               // the newest first; "" is a missing document; a name ends in the hash of its content
	Likely     int      `json:"likely,omitempty"`    // which of them, if content says nothing else: see merge.MadeFrom
	Hash       string   `json:"hash,omitempty"`      // of the content, where it was known from the start
	Skip       int64    `json:"skip,omitempty"`      // JSON Lines: it begins with a hole as long as the target was, and only appends
	Finished   bool     `json:"finished,omitempty"`  // JSON Lines: the writer was not killed, what is missing is deleted
	Additions  bool     `json:"additions,omitempty"` // its writer goes on: nothing is deleted yet
	Publishes  string   `json:"publishes,omitempty"` // a part of it that was taken out: its name may still be missing
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
var errFlockless = fmt.Errorf("flock does not exclude on this filesystem, and nothing else tells when a program is done: %w", errors.ErrUnsupported)

// errMountPoint: a version that a program has read is a descriptor, and its content must stay as it was.
var errMountPoint = fmt.Errorf("the file is a mount point, which is overwritten in place under whoever reads it: %w", errors.ErrUnsupported)

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
		err = errFlockless
	case isMountPoint(g.Target()):
		err = errMountPoint
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
	if _, err := checkWhole(file); !errors.Is(err, ErrTorn) {
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
		return errFlockless
	case isMountPoint(s.g.Target()):
		return errMountPoint
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
	return err
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

// programLockName is the file whose flock stands for the one that programs take on the target itself.
const programLockName = "flock"

// ProgramLock is the path of the file to lock for a program that locks the target itself: what it has open there is a file
// of its own, whose lock keeps nobody out.
func (s *Session) ProgramLock() string { return filepath.Join(s.g.GuardDir(), programLockName) }

// FoldLock is the path of the file whose flock a process holds while it folds.
func (s *Session) FoldLock() string { return filepath.Join(s.g.GuardDir(), guardLockName) }

// Dir is the path of the session's directory.
func (s *Session) Dir() string { return s.path }

// Scratch is a scratch file as its supervisor knows it.
type Scratch struct {
	s     *Session
	n     string
	about about
	// Lines that a descriptor appends, behind a hole as long as the target was.
	skip int64
}

// Create makes a scratch file with content for a program that opens the target for writing. flags are the access mode
// and O_APPEND. bases are what the program may have made its version from; with skip, which only a JSON Lines target may have, the file is a hole of that length to append to, and has no base.
//
// The returned file is the program's: it must be closed here once the program has its own descriptor of it, because its
// last close, by whomever, is what says that the version in it is complete. mode is what the program finds it has.
func (s *Session) Create(w Writer, flags int, mode fs.FileMode, content []byte, bases Bases, skip int64) (*Scratch, *os.File, error) {
	x, err := s.begin(w, bases, skip, false)
	if err != nil {
		return nil, nil, s.g.fail("make scratch file", err, "")
	}
	file, err := s.open(x, flags, mode, content)
	if err != nil {
		x.Discard()
		return nil, nil, s.g.fail("make scratch file", err, "")
	}
	return x, file, nil
}

// begin writes everything but the scratch file itself.
func (s *Session) begin(w Writer, bases Bases, skip int64, additions bool) (*Scratch, error) {
	host, _ := os.Hostname()
	x := &Scratch{s: s, n: newID(), skip: skip}
	x.about = about{
		header:     header{Version: journalVersion, Host: host, Boot: s.g.boot, PID: w.PID, Command: w.Command, Since: time.Now().UTC()},
		Generation: s.generation(), Monotonic: monotonic(), Bases: []string{}, Likely: bases.Likely, Skip: skip, Additions: additions,
	}
	x.about.ID = s.sidecar(x.n)
	for i, base := range bases.Versions {
		name, err := "", error(nil)
		prefix := fmt.Sprintf("%s%s%d", x.n, baseSuffix, i)
		if i < len(bases.Files) && bases.Files[i] != nil {
			name, err = s.copyBase(prefix, bases.Files[i])
		} else if base != nil {
			name = prefix + "." + contentHash(base)
			err = s.write(name, base)
		}
		if err != nil {
			return nil, err
		}
		x.about.Bases = append(x.about.Bases, name)
	}
	return x, s.writeAbout(x)
}

// generation is the last one known durable, as far as can be seen without a lock: never less than was seen before, and what
// is made now comes behind what it was made from.
func (s *Session) generation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = max(s.seen, s.store.seenGeneration())
	return s.seen
}

func (s *Session) sidecar(n string) string { return s.id + "." + n }

// write fills a file that nothing refers to yet. It is not synced: until the fold, a change is as safe as the program
// itself made it, and the fold syncs what it makes of it.
func (s *Session) write(name string, content []byte) error { return s.writeBehind(name, 0, content) }

// writeBehind puts content behind a hole.
func (s *Session) writeBehind(name string, hole int64, content []byte) error {
	f, err := s.dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, s.store.perm)
	if err != nil {
		return err
	}
	if err = f.Truncate(hole); err == nil {
		err = writeWhole(f, content, hole)
	}
	return errors.Join(err, f.Close())
}

// copyBase is write for a base that is not in memory.
func (s *Session) copyBase(prefix string, from io.ReaderAt) (name string, err error) {
	hidden := prefix + unbornSuffix
	f, err := s.dir.OpenFile(hidden, os.O_RDWR|os.O_CREATE|os.O_EXCL, s.store.perm)
	if err != nil {
		return "", err
	}
	var sum hasher
	w := writer{f: f}
	err = eachPart(from, func(p []byte) error {
		sum.add(p)
		return w.write(p)
	})
	name = prefix + "." + sum.String()
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.dir.Rename(hidden, name)
	}
	return name, err
}

func (s *Session) writeAbout(x *Scratch) error {
	object, err := json.Marshal(x.about)
	if err != nil {
		return err
	}
	name := x.n + aboutSuffix
	if err := s.write(name+unbornSuffix, sealed(object)); err != nil {
		return err
	}
	return s.dir.Rename(name+unbornSuffix, name)
}

func (s *Session) open(x *Scratch, flags int, mode fs.FileMode, content []byte) (*os.File, error) {
	hidden := x.n + unbornSuffix
	if err := s.writeBehind(hidden, x.skip, content); err != nil {
		return nil, err
	}
	const access = os.O_WRONLY | os.O_RDWR | os.O_APPEND
	f, err := s.dir.OpenFile(hidden, flags&access, 0)
	if err != nil {
		return nil, err
	}
	err = func() error {
		if free, err := f.TryLock(); err != nil || !free {
			return errors.Join(err, fmt.Errorf("%w: a new scratch file is in use", ErrDamaged))
		}
		_ = f.SetMode(mode) // for fstat(2); the program has its descriptor either way
		return s.dir.Rename(hidden, x.n+scratchSuffix)
	}()
	file := vfs.OSFile(f)
	if err == nil && file == nil {
		err = errors.ErrUnsupported
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return file, nil
}

// Publish takes content as a complete new version that a program wrote elsewhere. additions: its writer is not done, so
// that nothing is deleted.
func (s *Session) Publish(w Writer, content []byte, bases Bases, additions bool) (*Scratch, error) {
	x, err := s.publish(w, content, bases, 0, additions)
	return x, s.g.fail("publish", err, "")
}

func (s *Session) publish(w Writer, content []byte, bases Bases, skip int64, additions bool) (*Scratch, error) {
	x, err := s.stage(w, content, bases, skip, additions)
	if err != nil {
		return nil, err
	}
	if err = s.dir.Rename(x.n+unbornSuffix, x.n+scratchSuffix); err != nil {
		x.Discard()
	}
	return x, err
}

// stage writes all of a version but its name, by which a fold knows it.
func (s *Session) stage(w Writer, content []byte, bases Bases, skip int64, additions bool) (*Scratch, error) {
	x, err := s.begin(w, bases, skip, additions)
	if err != nil {
		return nil, err
	}
	x.about.Finished, x.about.Hash = true, contentHash(content)
	if err = s.writeAbout(x); err == nil {
		err = s.writeBehind(x.n+unbornSuffix, skip, content)
	}
	if err != nil {
		x.Discard()
		return nil, err
	}
	return x, nil
}

// publishFrom publishes a part of what x holds and, by commit, takes it out of what is left of x. The two are one step, that
// of writing what is known of x: if we are killed behind it, the next fold gives the part its name.
func (x *Scratch) publishFrom(part *Scratch, commit func() error) error {
	x.about.Publishes = part.n
	if err := commit(); err != nil {
		x.about.Publishes = ""
		part.Discard()
		return err
	}
	return x.s.dir.Rename(part.n+unbornSuffix, part.n+scratchSuffix)
}

// Submit publishes what an open scratch file holds, and makes it, or what was added of it, the base of what its writer
// does from now on. No fold comes in between. additions: the writer may not be done, so that nothing is deleted yet. It
// returns which of bases the version was made from, and the new base. ErrTorn: it is not complete.
func (x *Scratch) Submit(ctx context.Context, w Writer, content []byte, bases Bases, additions bool) (from int, base []byte, err error) {
	s := x.s
	if err := Complete(content, s.g.format); err != nil {
		return 0, nil, err
	}
	if len(bases.Versions) > 0 {
		from = bases.madeFrom(content, s.g)
		bases = Bases{Versions: bases.Versions[from : from+1]}
	}
	base = content
	if additions {
		var before []byte
		if len(bases.Versions) > 0 {
			before = bases.Versions[0]
		}
		if base, err = s.added(content, before); err != nil {
			return 0, nil, s.g.fail("submit", err, "")
		}
	}
	err = s.excluded(ctx, func() error {
		part, err := s.stage(w, content, bases, 0, additions)
		if err != nil {
			return err
		}
		return x.publishFrom(part, func() error { return x.rebase(base) })
	})
	return from, base, s.g.fail("submit", err, "")
}

// excluded runs fn while no fold is under way.
func (s *Session) excluded(ctx context.Context, fn func() error) error {
	held := &heldLocks{}
	if err := s.reader.lockStore(ctx, held, true, s.reader.deadline()); err != nil {
		return err
	}
	defer held.release()
	return fn()
}

// Appended publishes lines that a descriptor with a hole has appended, and moves the hole's end behind them: its writer
// goes on.
func (x *Scratch) Appended(ctx context.Context, w Writer, lines []byte) error {
	err := x.s.excluded(ctx, func() error {
		part, err := x.s.stage(w, lines, Bases{}, x.skip, false)
		if err != nil {
			return err
		}
		return x.publishFrom(part, func() error {
			x.skip += int64(len(lines))
			x.about.Skip = x.skip
			return x.s.writeAbout(x)
		})
	})
	return x.s.g.fail("publish", err, "")
}

// added is base with what content adds to it, and nothing of what it deletes or changes: what a fold of additions takes.
func (s *Session) added(content, base []byte) ([]byte, error) {
	change, err := prepare(base, content, true, s.g)
	if err != nil {
		return nil, err
	}
	doc, err := merge.Parse(base, s.g.format)
	if err != nil {
		return nil, err
	}
	_, err = doc.Merge(change, s.g.Policy())
	return doc.Bytes(), err
}

// Quarantine keeps what a program left and what cannot be merged, with the version it was made from, and returns its name.
func (s *Session) Quarantine(content, base []byte) (string, error) {
	id := s.sidecar(newID())
	err := func() error {
		if base != nil {
			if err := s.store.keep(id+tornBaseSuffix, base); err != nil {
				return err
			}
		}
		if err := s.store.keep(id+tornSuffixName, content); err != nil {
			return err
		}
		return s.store.quarantine.Sync()
	}()
	return id + tornSuffixName, s.g.fail("quarantine", err, "")
}

// OnlyPending says whether nothing is pending for the target, of anybody, but what x holds.
func (s *Session) OnlyPending(x *Scratch) bool {
	journals, err := s.store.pending.Names()
	if err != nil || len(journals) > 0 {
		return false
	}
	views, err := s.store.views.Names()
	if err != nil {
		return false
	}
	for _, id := range views {
		if !strings.HasPrefix(id, sessionPrefix) {
			return false // a copy, or a session that is being made
		}
		dir, err := s.store.views.OpenDir(id)
		if err != nil {
			return false
		}
		names, err := dir.Names()
		_ = dir.Close()
		if err != nil {
			return false
		}
		for _, name := range names {
			if n, ok := strings.CutSuffix(name, scratchSuffix); ok && (id != s.id || n != x.n) {
				return false
			}
		}
	}
	return true
}

// Alone says whether no other process has anything pending for the target, or is about to.
func (s *Session) Alone() bool {
	pending, err := s.store.pending.Names()
	if err != nil || len(pending) > 0 {
		return isMissing(err) // somebody is removing the guard directory
	}
	views, err := s.store.views.Names()
	return err == nil && len(views) == 1 || isMissing(err)
}

// Open opens the scratch file again, for reading. It is gone (fs.ErrNotExist) once it was folded.
func (x *Scratch) Open() (*os.File, error) {
	f, err := x.s.dir.OpenFile(x.n+scratchSuffix, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return vfs.OSFile(f), nil
}

// OpenBase opens what the scratch file is made from since Submit, for reading.
func (x *Scratch) OpenBase() (*os.File, error) {
	if len(x.about.Bases) != 1 || x.about.Bases[0] == "" {
		return nil, fs.ErrNotExist
	}
	f, err := x.s.dir.OpenFile(x.about.Bases[0], os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return vfs.OSFile(f), nil
}

// Sidecar is the name under which the change is known to the fold and in the conflict log.
func (x *Scratch) Sidecar() string { return x.s.sidecar(x.n) }

// Finish says that the writer closed its descriptor and was not killed. Until then a JSON Lines rewrite is not folded: it
// may be the beginning of one.
func (x *Scratch) Finish() error {
	x.about.Finished = true
	err := x.s.writeAbout(x)
	if isMissing(err) {
		return nil
	}
	return x.s.g.fail("finish", err, "")
}

// Refresh replaces what is in the scratch file, in place, and what it was made from: its program has a descriptor of it,
// and has not written yet.
func (x *Scratch) Refresh(ctx context.Context, content []byte) error {
	err := x.s.excluded(ctx, func() error {
		f, err := x.s.dir.OpenFile(x.n+scratchSuffix, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt(content, 0)
		}
		return errors.Join(err, f.Close(), x.rebase(content))
	})
	return x.s.g.fail("refresh scratch file", err, "")
}

func (x *Scratch) rebase(base []byte) error {
	name := fmt.Sprintf("%s%s%d.%s", x.n, baseSuffix, monotonic(), contentHash(base))
	err := x.s.write(name, base)
	old := x.about.Bases
	if err == nil {
		x.about.Bases, x.about.Likely = []string{name}, 0
		// What its writer does from now on comes behind what is in the target now.
		x.about.Generation, x.about.Monotonic = x.s.generation(), monotonic()
		err = x.s.writeAbout(x)
	}
	if err == nil {
		x.s.removeNames(old)
	}
	return err
}

// Discard removes the scratch file: it is not to be folded.
func (x *Scratch) Discard() {
	_ = x.s.dir.Remove(x.n + scratchSuffix)
	_ = x.s.dir.Remove(x.n + unbornSuffix)
	_ = x.s.dir.Remove(x.n + aboutSuffix)
	x.s.removeNames(x.about.Bases)
}

func (s *Session) removeNames(names []string) {
	for _, name := range names {
		if name != "" {
			_ = s.dir.Remove(name)
		}
	}
}

// Prepare diffs a version that the writer has closed, before any lock is taken, and returns which of bases, the ones of
// Create, it was made from. ErrTorn: the version is not complete.
func (x *Scratch) Prepare(content []byte, bases Bases) (int, error) {
	if err := Complete(content, x.s.g.format); err != nil {
		return 0, err
	}
	var base []byte
	i := 0
	if len(bases.Versions) > 0 {
		i = bases.madeFrom(content, x.s.g)
		base = bases.Versions[i]
	}
	made, err := x.s.g.prepareScratch(base, content, x.about.Additions)
	if err != nil {
		return 0, x.s.g.fail("diff", err, "")
	}
	x.s.note(x.Sidecar(), made)
	if _, err := x.s.dir.Stat(x.n + scratchSuffix); err != nil { // another has folded it meanwhile
		x.s.forget(x.Sidecar())
	}
	return i, nil
}

func (g *Guard) prepareScratch(base, ours []byte, additions bool) (preparedScratch, error) {
	change, err := prepare(base, ours, additions, g)
	return preparedScratch{change: change, isNew: base == nil}, err
}

func (s *Session) note(sidecar string, made preparedScratch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared[sidecar] = made
}

func (s *Session) preparedFor(sidecar string) preparedScratch {
	if s == nil {
		return preparedScratch{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prepared[sidecar]
}

// forget drops a diff that has served.
func (s *Session) forget(sidecar string) {
	if s != nil {
		s.mu.Lock()
		delete(s.prepared, sidecar)
		s.mu.Unlock()
	}
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

// overlay is a fold that publishes nothing.
func (g *Guard) overlay(ctx context.Context) (content []byte, overlay bool, err error) {
	held := &heldLocks{}
	if err := g.lockStore(ctx, held, true, g.deadline()); err != nil {
		return nil, false, err
	}
	defer held.release()
	f := &fold{g: g, s: held.store, lock: held}
	defer f.close()
	for _, step := range []func() error{f.settle, f.collect} {
		if err := step(); err != nil {
			return nil, false, err
		}
	}
	if len(f.pending) == 0 {
		return nil, false, nil
	}
	if err := f.apply(); err != nil {
		return nil, false, err
	}
	if f.whole != nil {
		content, _, err = readAll(f.whole.file)
		return content, true, err
	}
	if f.doc != nil {
		if f.doc.Missing() {
			return nil, true, nil
		}
		return f.doc.Bytes(), true, nil
	}
	content, err = f.target.read()
	return append(bytes.Clone(content), f.block...), true, err
}

// madeFrom returns the base of a scratch file, chosen by what is in it; nil is a missing document.
func (g *Guard) madeFrom(dir vfs.Dir, a *about, content []byte) ([]byte, error) {
	var versions [][]byte
	for _, name := range a.Bases {
		var base []byte
		if name != "" {
			if filepath.Base(name) != name {
				return nil, fmt.Errorf("%w: base named %q", ErrDamaged, name)
			}
			raw, err := readFile(dir, name)
			if isMissing(err) {
				return nil, fmt.Errorf("%w: base: %w", ErrDamaged, err)
			}
			if err != nil {
				return nil, fmt.Errorf("%w: base: %w", errUnreadable, err)
			}
			if base = raw; base == nil {
				base = []byte{} // empty is not missing
			}
		}
		versions = append(versions, base)
	}
	if len(versions) == 0 {
		return nil, nil
	}
	return versions[Bases{Versions: versions, Likely: a.Likely}.madeFrom(content, g)], nil
}

// sessionOf splits the name of a scratch file's sidecar.
func sessionOf(sidecar string) (session, n string, ok bool) {
	i := strings.LastIndexByte(sidecar, '.')
	if i < 0 || !strings.HasPrefix(sidecar, sessionPrefix) {
		return "", "", false
	}
	return sidecar[:i], sidecar[i+1:], true
}
