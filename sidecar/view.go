package sidecar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// View is a private copy of the target, for a program that reads and writes a file: exec and edit. The copy, its
// base and every version that was submitted are on disk, so that whoever is killed, the next use folds them:
//
//	views/<id>/owner      its flock says that somebody uses the view: held by us and, inherited, by the program
//	views/<id>/base       the version the copy was made from; missing if there was none
//	views/<id>/copy/NAME  the program's
//	views/<id>/<n>.ours   the version submitted as change n of the sidecar <id>
type View struct {
	g        *Guard
	store    *store
	mu       sync.Mutex // guards what follows: one Submit at a time
	journal  *journal
	broken   error // the journal's fsync failed: nothing may follow in it
	unfolded bool  // what was submitted last is not known to be in the target
	dir      vfs.Dir
	owner    vfs.File
	path     string
	base     string // name of what the next submission is based on; "" missing
	content  []byte // of base
	killed   bool
}

const (
	ownerName = "owner"
	baseName  = "base"
	copyName  = "copy"
)

const oursSuffix = ".ours"

func oursName(seq uint64) string { return strconv.FormatUint(seq, 10) + oursSuffix }

// View makes a private copy of the current version.
func (g *Guard) View(ctx context.Context) (*View, error) {
	v, err := g.makeView(ctx)
	return v, g.fail("copy", err, "")
}

func (g *Guard) makeView(ctx context.Context) (*View, error) {
	content, err := g.Read(ctx)
	missing := isMissing(err)
	if err != nil && !missing {
		return nil, err
	}
	if err := merge.Valid(content, g.format); err != nil {
		return nil, err
	}
	v := &View{g: g}
	// The sidecar first: a view without one is what a removal left.
	if v.store, v.journal, err = g.newJournal(true); err != nil {
		return nil, err
	}
	if err := v.fill(content, missing); err != nil {
		v.abandon()
		return nil, err
	}
	return v, nil
}

func (v *View) fill(content []byte, missing bool) error {
	s := v.store
	if err := s.views.Mkdir(v.journal.id, dirPerm(s.perm)); err != nil {
		return err
	}
	var err error
	if v.dir, err = s.views.OpenDir(v.journal.id); err != nil {
		return err
	}
	if v.owner, err = v.dir.OpenFile(ownerName, os.O_RDWR|os.O_CREATE|os.O_EXCL, s.perm); err != nil {
		return err
	}
	if free, err := v.owner.TryLock(); err != nil || !free {
		return errors.Join(err, fmt.Errorf("%w: a new view is in use", ErrDamaged))
	}
	if err := v.dir.Mkdir(copyName, dirPerm(s.perm)); err != nil {
		return err
	}
	v.path = filepath.Join(v.g.GuardDir(), viewsName, v.journal.id, copyName, v.g.name)
	if !missing {
		copies, err := v.dir.OpenDir(copyName)
		if err != nil {
			return err
		}
		defer copies.Close()
		if err := writeNew(v.dir, baseName, content, s.perm); err != nil {
			return err
		}
		if err := writeNew(copies, v.g.name, content, v.copyPerm()); err != nil {
			return err
		}
		v.base, v.content = baseName, content
	}
	for _, d := range []vfs.Dir{v.dir, s.views, s.pending} {
		if err := d.Sync(); err != nil {
			return err
		}
	}
	return s.root(v.g.parent)
}

// copyPerm: the program finds its file with the bits it knows.
func (v *View) copyPerm() fs.FileMode {
	info, err := v.g.parent.Stat(v.g.name)
	if err != nil {
		return 0o666 &^ umask()
	}
	return info.Mode.Perm()
}

// Path of the copy: same base name as the target, alone in its directory.
func (v *View) Path() string { return v.path }

// Owner is the open file whose lock says that the view is in use: give it to the program (exec.Cmd.ExtraFiles), so
// that the view counts as live as long as any of its processes lives.
func (v *View) Owner() *os.File { return vfs.OSFile(v.owner) }

// Killed says that the program died by a signal: what it left of a JSON Lines file may be the beginning of a
// rewrite, and deletes nothing.
func (v *View) Killed() { v.killed = true }

// Submit takes what the copy holds now and, when it is complete and differs from what was submitted before,
// journals and folds it. ErrTorn: it is not complete (nothing is done, it may be in the middle of a write).
// ErrPending: it is journaled, but the lock was not to be had.
func (v *View) Submit(ctx context.Context) (Result, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	content, err := v.read()
	if err != nil {
		return Result{}, v.g.fail("read copy", err, "")
	}
	if v.g.format == merge.Lines && !bytes.HasPrefix(content, v.content) {
		return Result{}, nil // a rewrite under way deletes nothing yet: Close takes it
	}
	return v.submit(ctx, content, false)
}

// errCopyGone: the program removed its copy.
var errCopyGone = errors.New("the copy was removed")

// read returns what the copy holds, when it is a complete document.
func (v *View) read() ([]byte, error) {
	content, err := readCopy(v.dir, v.g.name)
	if err != nil {
		return nil, err
	}
	return content, checkComplete(content, v.content, v.g.format)
}

func readCopy(view vfs.Dir, name string) ([]byte, error) {
	copies, err := view.OpenDir(copyName)
	if isMissing(err) {
		return nil, errCopyGone
	}
	if err != nil {
		return nil, err
	}
	defer copies.Close()
	content, err := readFile(copies, name)
	if isMissing(err) {
		return nil, errCopyGone
	}
	return content, err
}

// checkComplete: an empty JSON file where there was a document is the first half of a rewrite (open for writing
// truncates), never a wish.
func checkComplete(content, before []byte, format merge.Format) error {
	if format == merge.JSON && len(bytes.TrimSpace(content)) == 0 && len(bytes.TrimSpace(before)) > 0 {
		return fmt.Errorf("%w: the copy is empty", ErrTorn)
	}
	if err := merge.Valid(content, format); err != nil {
		return fmt.Errorf("%w: %w", ErrTorn, err)
	}
	return nil
}

// submit journals content, unless it was submitted already, and folds.
func (v *View) submit(ctx context.Context, content []byte, additions bool) (Result, error) {
	if v.broken != nil {
		return Result{}, v.g.fail("journal", v.broken, "")
	}
	until := v.g.deadline()
	own := ownChange{}
	if !bytes.Equal(content, v.content) {
		// Before any lock: only the fold itself is under it.
		diff, err := prepare(v.content, content, additions, v.g)
		if err != nil {
			return Result{}, v.g.fail("diff", err, "")
		}
		l := line{Generation: v.store.seenGeneration(), Monotonic: monotonic(), New: v.base == "", Base: v.base, Additions: additions}
		seq, err := v.journal.appendVersion(v.dir, l, content, v.store.perm)
		if err != nil {
			if seq > 0 {
				v.broken = err
			}
			return Result{}, v.g.fail("journal", err, "")
		}
		v.base, v.content = oursName(seq), content
		own.prepared = preparedChange{change{v.journal.id, seq}, diff}
		v.unfolded = true
	}
	last := change{v.journal.id, v.journal.seq}
	if !v.unfolded {
		result, err := v.g.foldOwn(ctx, ownChange{})
		if err == nil && last.seq > 0 {
			err = v.g.verdict(last)
		}
		return result, err
	}
	own.kept = last
	result, err := v.g.foldKept(ctx, own, until, func(change) error { return nil }) // it is on disk already
	v.unfolded = err != nil && !errors.Is(err, ErrRejected)
	return result, err
}

// appendVersion puts content beside the base, on disk, and then the line that names it.
func (j *journal) appendVersion(view vfs.Dir, l line, content []byte, perm fs.FileMode) (uint64, error) {
	name := oursName(j.seq + 1)
	if err := view.Remove(name); err != nil && !isMissing(err) { // left by an adoption that was killed here
		return 0, err
	}
	if err := writeNew(view, name, content, perm); err != nil {
		return 0, err
	}
	if err := view.Sync(); err != nil {
		return 0, err
	}
	l.Ours = name
	seq, err := j.append(l, true)
	if err == nil {
		err = j.linked()
	}
	return seq, err
}

// Close submits once more and removes the view when nothing of it is pending. A copy that does not parse goes to
// quarantine (ErrTorn). One that was removed leaves the target as it is, which the conflict log says.
func (v *View) Close(ctx context.Context) (Result, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var result Result
	content, err := v.read()
	switch {
	case err == nil:
		result, err = v.submit(ctx, content, v.killed && v.g.format == merge.Lines)
	case errors.Is(err, ErrTorn):
		err = v.quarantineTorn(err)
	case errors.Is(err, errCopyGone) && v.base == "":
		err = nil // there was none, there is none
	case errors.Is(err, errCopyGone):
		result, err = v.reportRemoval()
	}
	if s := v.store; s.folded(v.journal) && (err == nil || errors.Is(err, ErrTorn) || errors.Is(err, ErrRejected)) {
		_ = v.owner.Close()
		if gone, rerr := s.removeView(v.journal.id); rerr == nil && gone {
			_ = v.dir.Close()
			return result, errors.Join(err, v.journal.close(true))
		}
	}
	v.giveUp()
	return result, v.g.fail("close", err, "")
}

// giveUp leaves everything on disk to the next use.
func (v *View) giveUp() {
	_ = v.owner.Close()
	_ = v.dir.Close()
	_ = v.journal.close(false)
}

// abandon takes back a view that was never handed out.
func (v *View) abandon() {
	if v.owner != nil {
		_ = v.owner.Close()
	}
	if v.dir != nil {
		_ = v.dir.Close()
	}
	_, _ = v.store.removeView(v.journal.id)
	_ = v.journal.close(true)
}

func (v *View) quarantineTorn(cause error) error {
	name, err := v.store.keepTorn(v.dir, v.journal.id, v.g.name, v.base)
	if err != nil {
		return errors.Join(cause, err)
	}
	if name == "" {
		return v.g.fail("read copy", cause, "nothing of it could be kept; the target has the last complete version")
	}
	return v.g.fail("read copy", cause, "jsonguard recover --salvage takes its complete records out of quarantine: "+v.g.quarantined(name))
}

// reportRemoval: exec protects a file, it does not delete it for a program that may have meant its copy.
func (v *View) reportRemoval() (Result, error) {
	v.g.warn("the program removed its copy; %s was left as it is", v.g.Target())
	return Result{}, nil
}
