//go:build linux

package session

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// target is one file that is guarded, or that may be: what was read of it counts once somebody writes it.
type target struct {
	tree  *Tree
	key   place
	path  string // as we see it
	named bool   // by a pattern; else it is guessed and guarded gently

	events struct {
		sync.Mutex
		closed   []*writer
		modified []*writer
	}
	wake chan struct{} // asks the folder for a fold

	mu      sync.Mutex       // see unlock
	session *sidecar.Session // nil until something of it has to be kept
	format  merge.Format
	heads   *Heads[*intercept.Process, *version]
	latest  *version // the target as it was opened last
	touched stamp    // of the target as it was when the tree began, if a program of it has changed its attributes since
	valid   stamp    // of the target when it was found to be JSON; of one that was named it is not asked

	pending   []*ownVersion // closed, and maybe not folded
	published *version      // of those, what a fold published last
	kept      []*version    // those with an open file
	writers   []*writer
	remade    bool      // a program of the tree made it anew, unguarded
	robbed    bool      // a program removed what was kept beside the target, maybe with all that is there
	gone      bool      // a program of the tree removed it, and nobody made it again; it is still there for others
	goneAt    *version  // what it was then
	ours      *version  // what a program of the tree wrote last
	emptied   *version  // a program emptied it: what it was before
	partial   []*writer // closed and incomplete: their program may go on
	links     links
	flocks    []*programLock
	waits     []*lockWait

	wrote, folded int                // changes, and how many of them are in the target
	tried         int                // the change for which a lock was waited for a moment: see foldNow
	folding       bool               // fold is under way: the file that it makes has the attributes that the target had when it began
	again         []func()           // what is done to the target then, and has to be done to that, too
	once          []func()           // what is done to the target as soon as all that was written is in it: see giveAttributes
	lastBy        *intercept.Process // the last change
	due           bool               // counted in the tree's due
	counted       bool               // in the tree's sessions
	shown         map[*intercept.Process]*shown

	stats   Stats
	failure error
}

// unlock ends what mu was locked for, does what waited for a fold, and keeps count of the targets that stat(2) may not show as a program
// left them, and of those that may be replaced.
func (t *target) unlock() {
	if t.wrote == t.folded {
		for _, do := range t.once {
			do()
		}
		t.once = nil
	}
	due := len(t.writers) > 0 || len(t.partial) > 0 || t.gone || t.wrote > t.folded
	if due != t.due {
		t.due = due
		if due {
			t.tree.due.Add(1)
		} else {
			t.tree.due.Add(-1)
		}
	}
	if used := t.session != nil; used != t.counted {
		t.counted = used
		if used {
			t.tree.sessions.Add(1)
		} else {
			t.tree.sessions.Add(-1)
		}
	}
	t.mu.Unlock()
}

// lockThere locks t for a call that is about the file itself, with all that was closed by then taken up. It fails, and has not
// locked, where a program of the tree removed the file.
func (t *target) lockThere() error {
	t.mu.Lock()
	t.settle()
	if t.gone {
		t.unlock()
		return unix.ENOENT
	}
	return nil
}

// changed: something is to be folded.
func (t *target) changed() {
	t.stats.Writes++
	t.wrote++
	t.foldSoon()
}

// Stats are told at the end.
type Stats struct {
	Path      string
	Named     bool
	Writes    int // complete versions that programs wrote
	Conflicts []sidecar.Conflict
	Rejected  []sidecar.Rejected
	Torn      []string // names in quarantine
	Err       error    // of the last fold: what is pending then is on disk
}

func (t *target) add(v *version) *version {
	if v.file != nil {
		t.kept = append(t.kept, v)
	}
	return v
}

// keptVersions is how many descriptors of old versions may be open before it is looked which are still needed.
const keptVersions = 64

func (t *target) sweep() {
	needed := map[*version]bool{t.latest: true, t.goneAt: true, t.emptied: true, t.published: true, t.ours: true}
	for _, o := range t.pending {
		needed[o.version], needed[o.base] = true, true
	}
	t.heads.Versions(func(v *version) { needed[v] = true })
	for _, w := range t.writers {
		for _, v := range w.bases {
			needed[v] = true
		}
	}
	t.kept = slices.DeleteFunc(t.kept, func(v *version) bool {
		if !needed[v] {
			v.close()
		}
		return !needed[v]
	})
}

// need makes the session: from now on there is something to keep.
func (t *target) need() error {
	t.checkSession()
	if t.session != nil {
		return nil
	}
	o := t.tree.options.Sidecar
	o.LockInside = o.LockInside || !t.named
	o.Held = t.tree.holds
	s, err := sidecar.NewSession(t.path, o)
	if err != nil {
		return err
	}
	t.session, t.robbed, t.format = s, false, s.Guard().Format()
	t.tree.knowGuard(s, t)
	if t.wake == nil {
		t.wake = make(chan struct{}, 1)
		t.tree.folders.Go(t.foldAsAsked)
	}
	return nil
}

// checkSession gives up a session whose directory a program has removed.
func (t *target) checkSession() {
	if t.session == nil {
		return
	}
	if _, err := os.Lstat(t.session.Dir()); errors.Is(err, fs.ErrNotExist) {
		_ = t.session.Close(false)
		t.session, t.robbed, t.folded = nil, true, t.wrote
		for _, w := range append(slices.Clone(t.writers), t.partial...) {
			t.drop(w) // its scratch file was removed with it
		}
	}
}

// leave ends the session early, and takes what is beside the target away if nothing of it is worth keeping.
func (t *target) leave() {
	if err := t.session.Close(true); err != nil {
		t.tree.note("%s: %v", t.path, err)
	}
	t.session = nil
}

// shared says whether the target has a guard directory, so that others may have something pending.
func (t *target) shared() bool {
	t.checkSession()
	if t.session != nil {
		return true
	}
	_, err := os.Lstat(sidecar.GuardDir(t.path))
	return err == nil
}

func (t *target) foldSoon() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// foldAsAsked brings what programs closed into the target, behind their backs. It may wait for locks.
func (t *target) foldAsAsked() {
	const again = 100 * time.Millisecond
	for {
		select {
		case <-t.tree.closing:
			return
		case <-t.wake:
		}
		err := t.fold()
		if err != nil {
			select {
			case <-t.tree.closing:
				return
			case <-time.After(again):
			}
		}
	}
}

func (t *target) fold() error {
	t.mu.Lock()
	t.settle()
	s, wrote, pending, own := t.session, t.wrote, slices.Clone(t.pending), t.own()
	t.folding = s != nil
	t.unlock()
	if s == nil {
		return nil
	}
	result, err := s.Fold(t.tree.ctx, own)
	t.mu.Lock()
	defer t.unlock()
	for _, do := range t.again {
		do()
	}
	t.folding, t.again = false, nil
	if t.session == s {
		t.note(result, err)
	}
	if err == nil {
		t.folded = max(t.folded, wrote)
		t.taken(pending, result.Published)
	}
	return err
}

// note keeps what a fold says for the end.
func (t *target) note(r sidecar.Result, err error) {
	t.failure = err
	t.stats.Rejected = append(t.stats.Rejected, r.Rejected...)
	t.stats.Torn = append(t.stats.Torn, r.Torn...)
}

// starting notes a process, as far as the target is concerned.
func (t *target) starting(p *intercept.Process) {
	if t.heads.Known(p) {
		return
	}
	// Its parent may never have come near the target, and yet be what connects jq . f > tmp with mv tmp f.
	if up := p.Parent; up != nil && !exiting(up.PID, up.Start) {
		t.starting(up)
	}
	start := t.onDisk()
	if !t.named && start != missing && !t.remade && !t.onlyTouched(start) && changedSince(t.path, p.Start, t.tree.began) {
		// Nobody looked when it started, and what it was then is gone: what it writes unread is added, and deletes nothing.
		start = missing
	}
	if p.Orphan {
		t.heads.StartOrphan(p, p.Parent, p.PID, start, func(gone *intercept.Process) bool { return gone.MayHaveForked(p) })
		return
	}
	t.heads.Start(p, p.Parent, p.PID, start)
}

// touches is told that a program is about to change the file's attributes, by which it would look like one that was written.
func (t *target) touches(p *intercept.Place) {
	var st unix.Stat_t
	if p.Object == nil || unix.Fstat(int(p.Object.Fd()), &st) != nil {
		return
	}
	t.mu.Lock()
	defer t.unlock()
	if st.Ctim.Nano() <= t.tree.began.UnixNano() {
		t.touched = stampOf(&st)
	}
}

// onlyTouched says that a version is the one that was there when the tree began, whose attributes were changed, times included.
func (t *target) onlyTouched(v *version) bool {
	return v.stamp.id == t.touched.id && v.stamp.size == t.touched.size && v.stamp.mtime.Nano() <= t.tree.began.UnixNano()
}

// lone: nobody outside this tree has a hand on the target, and nothing of ours is open.
func (t *target) lone() bool {
	return !t.shared() || t.session != nil && t.session.Alone() && len(t.writers) == 0
}

func (t *target) exit(p *intercept.Process) {
	if !t.heads.Known(p) {
		return
	}
	parent := 0
	if p.Parent != nil {
		parent = p.Parent.PID
	}
	t.heads.Exit(p, parent)
}

// reap passes on what processes knew that have ended and of which we are about to be told: a shell that waited for one
// child starts the next at once.
func (t *target) reap() {
	for _, p := range t.heads.Knowing() {
		if exiting(p.PID, p.Start) {
			t.exit(p)
		}
	}
}

// onDisk is the version that is there now, without anything that is pending.
func (t *target) onDisk() *version {
	var st unix.Stat_t
	if unix.Lstat(t.path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return missing
	}
	if t.latest != nil && t.latest.stamp == stampOf(&st) {
		return t.latest
	}
	if t.published != nil && t.published.is(stampOf(&st)) {
		return t.published
	}
	f, err := os.OpenFile(t.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return missing
	}
	defer f.Close()
	return t.opened(f, false)
}

// opened is the version behind a descriptor of the target, which stays the caller's. live: it is given to a program, and
// lines may be appended while that reads.
func (t *target) opened(f *os.File, live bool) *version {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return missing
	}
	live = live && t.format == merge.Lines
	if !live && t.latest != nil && t.latest.stamp == stampOf(&st) {
		return t.latest
	}
	if t.format == merge.JSON && t.published != nil && t.published.is(stampOf(&st)) {
		t.tree.know(stampOf(&st).id, t)
		return t.published
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return missing
	}
	v := t.add(&version{file: os.NewFile(uintptr(fd), t.path), stamp: stampOf(&st), live: live})
	if !live {
		t.latest = v
	}
	t.tree.know(v.stamp.id, t)
	return v
}

// passes says that a file which nobody named is left alone, with Continue: it is very large, or no JSON, as it may have become since
// it was guarded first.
func (t *target) passes(c *caller, p *intercept.Place) (bool, error) {
	if t.named || p.Object == nil || t.gone || t.wrote > t.folded || len(t.writers)+len(t.partial) > 0 {
		return false, nil
	}
	json, err := t.isJSON(c, p)
	if !json && err == nil && t.format == merge.Lines && t.shared() && t.need() == nil {
		// Another supervisor may be in the middle of an append.
		serr := t.session.Settled(context.Background(), func() error {
			json, err = t.isJSON(c, p)
			return nil
		})
		if serr != nil {
			return true, t.refuse(serr)
		}
	}
	if json || err != nil {
		return err != nil, err
	}
	if t.session != nil && t.lone() {
		t.beginAnew()
	}
	return true, intercept.Continue
}

// isJSON looks into a file that nobody named. It is Continue where it is to be left alone, whatever is in it.
func (t *target) isJSON(c *caller, p *intercept.Place) (bool, error) {
	// By its name: what was closed before may have been put there since the place was looked up.
	var st unix.Stat_t
	if err := unix.Fstatat(int(p.Dir.Fd()), p.Name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil || st.Size > guessLimit && t.session == nil {
		return false, intercept.Continue
	}
	if now := stampOf(&st); now == t.valid || t.published != nil && t.published.is(now) {
		return true, nil
	}
	f, err := openAt(c, p, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		defer f.Close()
		err = unix.Fstat(int(f.Fd()), &st) // it may have been replaced since
	}
	switch {
	case err != nil && t.session != nil: // it may write what it may not read
		return true, nil
	case err != nil:
		return false, intercept.Continue
	}
	now, from := stampOf(&st), int64(0)
	if t.format == merge.Lines && now.id == t.valid.id && now.size >= t.valid.size {
		from = t.valid.size // what was appended since it was looked at
	}
	valid := merge.Validator{Format: t.format}
	if _, err := io.Copy(&valid, io.NewSectionReader(f, from, now.size-from)); err != nil || valid.Close() != nil {
		return false, nil
	}
	t.valid = now
	return true, nil
}

// refuse says why a file that was named cannot be guarded; one that was not is left alone.
func (t *target) refuse(err error) error {
	if !t.named {
		t.tree.note("%s is not guarded: %v", t.path, err)
		return intercept.Continue
	}
	t.tree.warn("%s: %v", t.path, err)
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	if errors.Is(err, fs.ErrPermission) {
		return unix.EACCES
	}
	return unix.EIO
}
