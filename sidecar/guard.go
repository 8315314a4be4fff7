package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
	"jsonguard/merge"
)

// Guard keeps one target. It may be used by several goroutines.
type Guard struct {
	options    Options
	parent     vfs.Dir
	dirPath    string // of parent, resolved
	name       string // of the target in parent
	format     merge.Format
	boot       string // of the machine: what was written in an earlier one may have been lost in between
	cutFrom    int64  // size of the own sidecar, in bytes, from which it is cut back
	forgetFrom int    // number of removed scratch files from which their watermarks are forgotten

	lockNames []string // whose <name>.lock is taken: a symbolic link's own, then the target's
	seams     seams

	session *Session // whose scratch files this process made; nil if none

	policy        atomic.Pointer[merge.Policy] // what it folds by; changed under turn
	history       atomic.Pointer[History]      // which versions are kept, nil: none; likewise
	policyStamp   string                       // under turn: of the files that it was read from
	tornAdditions bool                         // under turn: the policy says to fold what is complete of a torn write

	seen    atomic.Pointer[identity] // of the version that was looked at last, nil: none
	yielded atomic.Int64             // when yield had another goroutine run, ns since the process began

	turn       turn            // to fold: one goroutine of this Guard at a time, also while it waits for locks
	swept      bool            // under turn: this Guard looked for temporary files of dead folds
	hopeless   map[string]bool // under turn: torn documents of which nothing is complete
	remembered remembered      // under turn
	pruning    sync.WaitGroup  // under turn: versions that are kept are being looked through

	// mu guards what follows. Nobody waits for another process while holding it, so that a journaled change never does: but
	// for the one that is just making the guard directory.
	mu       sync.Mutex
	store    *store   // nil until a guard directory is there
	replaced []*store // guard directories that were removed under us; a fold may still be using one
	journal  *journal // nil until a change had to be kept
	hurried  func()   // has what is under pruning not rest any more; nil: it does not

	warning sync.Mutex // one at a time, and each once
	warned  map[string]bool

	background sync.WaitGroup
	wake       chan struct{}   // asks for a fold of what was journaled; nil until Journal is used
	life       context.Context // of the background; nil until there is one
	stop       context.CancelFunc
	closed     bool
}

// seams are what a test replaces to run the fold on a filesystem that forgets.
type seams struct {
	// lockTarget waits that long for <name>.lock; 0: it tries once.
	lockTarget func(ctx context.Context, name string, wait time.Duration) (targetLock, error)
	// tryTarget is lockTarget that does not wait, and does not ask whether an ancestor holds it. nil: lockTarget that tries once.
	tryTarget    func(name string) (targetLock, error)
	makeGuardDir func() error
	checkGuard   func() error // refuses a guard directory of somebody who may not write the target; nil: none
	writable     func() error
	flockless    func() bool // nil: flock excludes
	// lockPlaces takes the lock of every pointer, if nobody holds one. nil: there are none.
	lockPlaces func() (release func() error, ok bool, err error)
	// later does what no caller waits for, before Close returns. nil: at once.
	later func(do func())
}

// targetLock is what the fold needs of a *lock.Lock.
type targetLock interface {
	Release() error
	Check() error
	Inherited() bool
}

// heldByTree is the hold of a process that waits for us.
type heldByTree struct{}

func (heldByTree) Release() error { return nil }

func (heldByTree) Check() error { return nil }

func (heldByTree) Inherited() bool { return true }

// Open names a target. It resolves symbolic links, refuses what cannot be guarded, and makes nothing.
// The target need not exist; its directory must.
func Open(target string, o Options) (*Guard, error) {
	resolved, err := resolve(target)
	if err != nil {
		return nil, &Error{Op: "open", Path: target, Err: err}
	}
	asked, err := filepath.Abs(target)
	if err != nil {
		return nil, &Error{Op: "open", Path: target, Err: err}
	}
	parent, err := vfs.OS.OpenDir(filepath.Dir(resolved))
	if err != nil {
		hint := ""
		if isMissing(err) {
			hint = "its directory must exist"
		}
		return nil, &Error{Op: "open", Path: target, Err: err, Hint: hint}
	}
	stamp := o.policyStamp(resolved)
	found, warnings, err := o.findPolicy(resolved)
	if err != nil {
		_ = parent.Close()
		return nil, err
	}
	if found != nil {
		o.LockInside = o.LockInside || found.LockInside
	}
	g := newGuard(parent, filepath.Base(resolved), o)
	for _, w := range warnings {
		g.warn("%s", w)
	}
	g.dirPath = filepath.Dir(resolved)
	g.policyStamp = stamp
	if found != nil {
		g.takePolicy(found)
	}
	g.lockNames = []string{resolved}
	if filepath.Base(asked) != g.name || !sameDir(filepath.Dir(asked), g.dirPath) {
		g.lockNames = []string{asked, resolved}
	}
	if o.LockInside {
		g.lockNames = nil
	}
	// Held asks the kernel for all locks there are, and everybody who locks a file waits for that: where the lock is free, nobody asks.
	g.seams.lockTarget = func(ctx context.Context, name string, wait time.Duration) (targetLock, error) {
		if o.Held != nil {
			if l, err := g.seams.tryTarget(name); !errors.Is(err, lock.ErrTimeout) {
				return l, err
			}
		}
		l, err := lock.Acquire(ctx, name, lock.Timeout(wait), lock.Inherit())
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	g.seams.tryTarget = func(name string) (targetLock, error) {
		l, ok, err := lock.Try(name)
		switch {
		case err != nil:
			return nil, err
		case ok:
			return l, nil
		case o.Held != nil && o.Held(lock.LockPath(name)):
			return heldByTree{}, nil
		}
		return nil, lock.ErrTimeout
	}
	g.seams.makeGuardDir = func() error {
		_, err := lock.MakeGuardDir(resolved)
		return err
	}
	g.seams.checkGuard = func() error { return lock.CheckGuardDir(resolved) }
	g.seams.lockPlaces = func() (func() error, bool, error) {
		l, ok, err := lock.Try(resolved, lock.At(""))
		if !ok || err != nil {
			return nil, false, err
		}
		return l.Release, true, nil
	}
	g.seams.later = g.inBackground
	g.seams.flockless = func() bool { return !lock.Excludes(resolved) }
	g.seams.writable = func() error { return writable(resolved) }
	if _, err := g.checkTarget(); err != nil && !isMissing(err) {
		_ = parent.Close()
		return nil, err
	}
	return g, nil
}

func newGuard(parent vfs.Dir, name string, o Options) *Guard {
	g := &Guard{options: o, parent: parent, name: name, dirPath: parent.Path(), boot: bootID(), cutFrom: journalLimit, forgetFrom: forgetAtOnce, turn: make(turn, 1), warned: map[string]bool{}}
	if g.options.Command == "" {
		g.options.Command = commandLine()
	}
	g.policy.Store(o.Policy)
	g.history.Store(o.History)
	g.format = FormatOf(name, o)
	return g
}

// FormatOf is the format that a target of this name has.
func FormatOf(name string, o Options) merge.Format {
	switch ext := strings.ToLower(filepath.Ext(name)); {
	case o.Format != nil:
		return *o.Format
	case ext == ".jsonl" || ext == ".ndjson":
		return merge.Lines
	}
	return merge.JSON
}

// Target is the resolved path.
func (g *Guard) Target() string { return filepath.Join(g.dirPath, g.name) }

// Format of the target.
func (g *Guard) Format() merge.Format { return g.format }

func (g *Guard) guardName() string { return "." + g.name + ".guard" }

// GuardDir is the guard directory of a target that is no symbolic link.
func GuardDir(target string) string { return lock.GuardDir(target) }

// GuardDir is the path of the guard directory, whether it exists or not.
func (g *Guard) GuardDir() string { return filepath.Join(g.dirPath, g.guardName()) }

func (g *Guard) makeGuardDir() error { return g.seams.makeGuardDir() }

// guardPerm: files of the guard are as readable as the target, never more.
func (g *Guard) guardPerm() fs.FileMode {
	info, err := g.parent.Stat(g.name)
	if err != nil {
		return 0o600
	}
	return info.Mode.Perm()&0o666 | 0o600
}

// fail dresses err with operation and path, unless it is dressed already.
func (g *Guard) fail(op string, err error, hint string) error {
	if err == nil {
		return nil
	}
	var dressed *Error
	if errors.As(err, &dressed) {
		return err
	}
	return &Error{Op: op, Path: g.Target(), Hint: hint, Err: err}
}

// warn says once that a promise is weaker here.
func (g *Guard) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	g.warning.Lock()
	defer g.warning.Unlock()
	if g.options.Warn != nil && !g.warned[text] {
		g.warned[text] = true
		g.options.Warn(text)
	}
}

// Close folds what is pending where that is possible at once, and gives up the process's own sidecar: removed when
// nothing in it is pending, else left for the next use.
func (g *Guard) Close() error {
	g.mu.Lock()
	stop := g.stop
	g.closed = true
	g.hurryLocked()
	if stop != nil {
		stop()
		if g.store != nil {
			g.store.board.wakeAll(askedWord) // our own folder may be waiting for work
		}
	}
	g.mu.Unlock()
	g.background.Wait()
	g.turn <- struct{}{}
	defer g.turn.give()
	defer g.remembered.drop()
	if g.holdsPending() {
		_, _ = g.fold(context.Background(), ownChange{}, time.Time{}) // what it cannot do now, the next use does
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var err error
	if g.journal != nil {
		err = g.journal.close(g.store != nil && g.store.folded(g.journal))
		g.journal = nil
	}
	for _, s := range append(g.replaced, g.store) {
		if s != nil {
			s.close()
		}
	}
	g.store, g.replaced = nil, nil
	return errors.Join(err, g.parent.Close())
}

// later does what no caller waits for.
func (g *Guard) later(do func()) {
	if g.seams.later == nil {
		do()
		return
	}
	g.seams.later(do)
}

func (g *Guard) inBackground(do func()) {
	g.mu.Lock()
	closed := g.closed
	if !closed {
		g.background.Go(do)
	}
	g.mu.Unlock()
	if closed { // Close waits for nothing more
		do()
	}
}

// holdsPending says whether this process's sidecar holds changes that are not in the target for good.
func (g *Guard) holdsPending() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.journal != nil && g.store != nil && !g.store.folded(g.journal)
}

// openedStore returns the guard directory, opened once; errors.Is(err, fs.ErrNotExist) where there is none and none is
// to be made.
func (g *Guard) openedStore(create bool) (*store, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.needStore(create)
}

// needStore is openedStore under g.mu.
func (g *Guard) needStore(create bool) (*store, error) {
	if g.store == nil {
		s, err := g.openStore(create)
		if err != nil {
			return nil, err
		}
		s.board = s.openBoard()
		g.store = s
	}
	return g.store, nil
}

// forget lets go of a guard directory that was removed or replaced; the next use opens or makes another. Changes that
// this process's sidecar in it still held are gone: ErrDamaged.
func (g *Guard) forget(s *store) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.store != s {
		return nil
	}
	g.replaced = append(g.replaced, s)
	g.store = nil
	if j := g.journal; j != nil {
		g.abandon()
		if j.seq > j.folded {
			return fmt.Errorf("%w: %s was removed with changes in it", ErrDamaged, g.GuardDir())
		}
	}
	return nil
}

// abandon, under g.mu, gives up the own sidecar and leaves its file to the next fold: after a failed fsync its pages may
// be marked clean without being on disk, so that no later fsync says anything.
func (g *Guard) abandon() {
	_ = g.journal.close(false)
	g.journal = nil
}

// folded says whether everything in j is in the target for good.
func (s *store) folded(j *journal) bool {
	c, err := s.newestCommit()
	if err != nil || s.readSettled() != c.Generation {
		return false
	}
	seq, known := c.After[j.id]
	return known && seq >= j.seq || j.seq == 0
}
