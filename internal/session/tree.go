//go:build linux

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// Options of a Tree.
type Options struct {
	Dir            string   // the working directory, absolute
	Files          []string // patterns of what is guarded; none: what is written below Dir and looks like JSON
	Sidecar        sidecar.Options
	Base           Base
	AllowUnguarded bool         // let programs go on that cannot be inspected
	Warn           func(string) // what somebody has to know
	Note           func(string) // what -v tells
}

// Base says from what a program writes, where that is known better than by looking.
type Base int

const (
	BaseInferred Base = iota // see Heads
	BaseLastRead             // what it read last
	BaseMemory               // what it read first, or wrote last
)

// Tree is the tree of processes of one supervisor and what it does to JSON files: an intercept.Handler.
type Tree struct {
	options Options
	match   atomic.Pointer[matcher]
	began   time.Time
	super   atomic.Pointer[intercept.Supervisor] // known from the first call on

	ctx     context.Context
	stop    context.CancelFunc
	closing chan struct{}
	folders sync.WaitGroup
	peers   sync.Map     // processes that fold themselves, by pid
	due     atomic.Int32 // targets of which something is open, or not yet in the file
	// sessions are the targets that have one, disguises the descriptors that pass for another object: see shown.go.
	sessions, disguises atomic.Int32

	mu      sync.Mutex
	targets map[place]*target
	pids    map[int]bool // every process there was

	objects *objects
	temps   temps
}

// place is a name in a directory.
type place struct {
	dir  intercept.ID
	name string
}

var _ intercept.Handler = (*Tree)(nil)

// New makes a Tree for a command that is about to be started.
func New(o Options) *Tree {
	t := &Tree{
		options: o, began: time.Now(),
		closing: make(chan struct{}), targets: map[place]*target{}, pids: map[int]bool{}, objects: newObjects(),
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	match := newMatcher(o.Dir, o.Files)
	t.match.Store(&match)
	for _, file := range match.patterns {
		t.expect(file)
	}
	return t
}

// expect makes the target of a pattern that is a name, so that what is there when a process starts is known.
func (t *Tree) expect(file string) {
	var st unix.Stat_t
	if !isName(file) || unix.Stat(filepath.Dir(file), &st) != nil {
		return
	}
	key := place{intercept.ID{Dev: st.Dev, Ino: st.Ino}, filepath.Base(file)}
	if t.targets[key] == nil {
		t.targets[key] = t.newTarget(key, file)
	}
	t.targets[key].named = true
}

// isName: not a pattern.
func isName(file string) bool { return !strings.ContainsAny(file, "*?[\\") }

func (t *Tree) newTarget(key place, path string) *target {
	t.objects.Lock()
	t.objects.dirs[key.dir] = true
	t.objects.Unlock()
	return &target{
		tree: t, key: key, path: path, named: t.match.Load().names(path), heads: NewHeads[*intercept.Process, *version](),
		shown:  map[*intercept.Process]*shown{},
		format: sidecar.FormatOf(path, t.options.Sidecar),
	}
}

func (t *Tree) watch(f *os.File, w *writer) error {
	return t.super.Load().Watch(f, w)
}

func (t *Tree) warn(format string, args ...any) {
	if t.options.Warn != nil {
		t.options.Warn(fmt.Sprintf(format, args...))
	}
}

func (t *Tree) note(format string, args ...any) {
	if t.options.Note != nil {
		t.options.Note(fmt.Sprintf(format, args...))
	}
}

// Named: see intercept.Handler.
func (t *Tree) Named(name string) bool { return t.match.Load().named(name) }

// Exempt: a jsonguard in our own tree, or a program that is written for it. What it does to a target is by the protocol, and it
// may hold the lock of folds, which we wait for.
func (t *Tree) Exempt(pid int) bool {
	_, peer := t.peers.Load(pid)
	return peer
}

// find finds a target that somebody has come near already.
func (t *Tree) find(p *intercept.Place) *target {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.targets[place{p.DirID, p.Name}]
}

// target finds what is guarded, or may become so, at a place.
func (t *Tree) target(p *intercept.Place) *target {
	if p.Dir == nil || p.Name == "" {
		return nil
	}
	key := place{p.DirID, p.Name}
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.targets[key]; known != nil {
		return known
	}
	// Its path as we see it: the program may have another root.
	dir, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", p.Dir.Fd()))
	if err != nil || !filepath.IsAbs(dir) {
		return nil
	}
	path := filepath.Join(dir, p.Name)
	match := t.match.Load()
	through := slices.ContainsFunc(p.Via, match.names) // a symlink that was named
	if strings.Contains(path, ".guard/") || !through && !match.match(path) {
		return nil
	}
	made := t.newTarget(key, path)
	made.named = made.named || through
	t.targets[key] = made
	return made
}

func (t *Tree) all() []*target {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []*target
	for _, x := range t.targets {
		all = append(all, x)
	}
	return all
}

// Forked: a child knows what its parent knows, and what a file is when it starts.
func (t *Tree) Forked(parent, child *intercept.Process) {
	t.mu.Lock()
	t.pids[child.PID] = true
	t.mu.Unlock()
	for _, x := range t.all() {
		x.mu.Lock()
		// Of a file that was only guessed so far, and that no parent knows, nothing is kept for every process there is.
		if x.session != nil || x.named || parent != nil && x.heads.Known(parent) {
			x.settle()
			x.reap()
			x.starting(child)
		}
		x.unlock()
	}
}

// Exited passes on what a process knew, and says of what it left half-done how that came.
func (t *Tree) Exited(p *intercept.Process, signal syscall.Signal) {
	t.peers.Delete(p.PID)
	t.temps.pass(p)
	for _, x := range t.all() {
		x.mu.Lock()
		for _, w := range append(x.writers, x.partial...) {
			if w.process == p {
				w.exited, w.signal = true, signal
			}
		}
		x.settle()
		x.releaseLocksOf(p)
		x.exit(p)
		x.forgetShown(p)
		x.unlock()
	}
}

// Changed is told that a scratch file was closed, or written.
func (t *Tree) Changed(key any, what intercept.Change) {
	if key == nil { // events were dropped
		for _, x := range t.all() {
			x.mu.Lock()
			x.events.Lock()
			x.events.closed = append(x.events.closed, x.writers...)
			x.events.Unlock()
			x.unlock()
			x.foldSoon()
		}
		return
	}
	w, ok := key.(*writer)
	if !ok {
		return
	}
	if what&intercept.Closed != 0 {
		w.t.events.Lock()
		w.t.events.closed = append(w.t.events.closed, w)
		w.t.events.Unlock()
		w.t.foldSoon()
	}
	if what&intercept.Modified != 0 {
		w.touched()
	}
}

// Unguarded stops a program that cannot be inspected: running it unguarded in silence is what nobody asked for.
func (t *Tree) Unguarded(p *intercept.Process, why error) bool {
	if t.options.AllowUnguarded {
		t.note("process %d (%s) runs unguarded: %v", p.PID, p.Command, why)
		return true
	}
	t.warn("process %d (%s) cannot be guarded and was stopped: %v (--allow-unguarded lets it run)", p.PID, p.Command, why)
	return false
}

// Join asks the supervisor in whose tree this process runs to guard files, given as absolute patterns, like its own.
func Join(ctx context.Context, files []string) error {
	request, err := json.Marshal(files)
	if err != nil {
		return err
	}
	_, err = intercept.Ask(ctx, request)
	return err
}

// Asked is a nested jsonguard exec, which joins this one: its patterns are added.
func (t *Tree) Asked(_ *intercept.Process, request []byte) ([]byte, error) {
	var files []string
	if err := json.Unmarshal(request, &files); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	joined := t.match.Load().with(files)
	t.match.Store(&joined)
	for _, file := range files {
		t.expect(file)
	}
	return []byte("{}"), nil
}

// Prepare looks at the files that are named, before any program runs: one that cannot be guarded is an error then. It is
// errors.ErrUnsupported where the filesystem is the reason. Nothing is made until a program opens one, but what was left
// beside a file is folded.
func (t *Tree) Prepare() error {
	for _, file := range t.match.Load().patterns {
		// One that is missing may be made by the program.
		if _, err := os.Stat(filepath.Dir(file)); isName(file) && err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("guard %s: %w", file, err)
		}
	}
	for _, x := range t.all() {
		if err := x.prepare(); err != nil {
			return err
		}
	}
	return nil
}

func (t *target) prepare() error {
	t.mu.Lock()
	defer t.unlock()
	if err := sidecar.CheckSession(t.path, t.tree.options.Sidecar); err != nil {
		return err
	}
	if now, err := t.place(); err == nil {
		t.knowLinks(&now.Place)
		now.Close()
	}
	if !t.shared() {
		return nil
	}
	_, _, err := t.current()
	return err
}

func (t *Tree) had(pid int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pids[pid]
}

// Close folds what is left, once the supervisor is done, and says what happened to each file. Waiting for locks ends with
// ctx: what is pending then stays on disk.
func (t *Tree) Close(ctx context.Context) []Stats {
	t.stop()
	close(t.closing)
	t.folders.Wait()
	defer t.forgetLinks()
	defer t.temps.close()
	var all []Stats
	for _, x := range t.all() {
		x.finish(ctx)
		x.close()
		if x.named || x.session != nil || x.stats.Writes > 0 {
			all = append(all, x.stats)
		}
	}
	return all
}
