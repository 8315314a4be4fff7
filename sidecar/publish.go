package sidecar

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"syscall"
	"time"

	"jsonguard/internal/vfs"
)

// errNeedsRecord: this step is only safe with a commit record, so that the fold has to start again with one.
var errNeedsRecord = errors.New("needs a commit record")

// publish makes the outcome durable and visible. Every fsync here was removed once to see a change lost.
func (f *fold) publish() (changed bool, err error) {
	switch {
	case f.whole != nil:
		same, err := f.whole.isIn(f.target)
		if err != nil {
			return false, err
		}
		changed = !same
	case f.doc != nil:
		f.content = f.doc.Parts()
		changed = !f.target.is(f.content)
	default:
		changed = len(f.block) > 0
	}
	if !changed && maps.Equal(f.marks, f.after) && len(f.conflicts) == 0 {
		return false, nil // a change that equals what is there writes nothing
	}
	if changed {
		if _, err := f.g.mayChange("fold"); err != nil {
			return false, err
		}
	}
	if f.s == nil && (len(f.conflicts) > 0 || f.keepsHistory()) {
		return false, errNeedsRecord // there is no log and no history without a guard directory
	}
	if f.s == nil {
		return true, f.replace()
	}
	if err := f.keepRejected(); err != nil {
		return false, fmt.Errorf("quarantine: %w", err)
	}
	if err := f.logConflicts(); err != nil {
		return false, fmt.Errorf("conflict log: %w", err)
	}
	from, err := f.target.identity()
	if err != nil {
		return false, err
	}
	next := &commit{Generation: f.last.Generation + 1, Kind: kindNone, Before: f.marks, After: f.after, From: from, To: from}
	next.MovedBefore, next.MovedAfter = f.moved, f.stillMoved()
	for _, r := range f.rejected {
		next.Rejected = append(next.Rejected, r.summary())
	}
	switch {
	case !changed:
		err = f.record(next)
	case f.doc == nil && f.whole == nil:
		err = f.appendBlock(next)
	default:
		err = f.replaceRecorded(next)
	}
	if err != nil {
		return false, err
	}
	f.last, f.marks, f.moved, f.settled = next, f.after, next.MovedAfter, true
	if f.doc != nil && next.Kind != kindOverwrite {
		f.remember(next.To.Hash)
	}
	f.published = f.versionIn(next)
	// Unsynced, but for an overwrite: its record makes whoever finds it unsettled write the target again, which would undo
	// what others wrote since.
	return changed, f.s.writeSettled(next, next.Kind == kindOverwrite)
}

// versionIn says whose whole version a commit has published.
func (f *fold) versionIn(c *commit) *Published {
	if c.Kind != kindReplace || len(f.pending) == 0 || !f.own.empty() {
		return nil
	}
	last := f.pending[len(f.pending)-1].from
	x := last.scratch
	if x == nil || f.whole != nil && !f.whole.isVersion() || f.whole == nil && !f.content.equal(pieces{x.content}) {
		return nil
	}
	return &Published{last.name, c.To.Inode, c.To.Size, time.Unix(0, c.To.MTime)}
}

// record writes a commit record. Whoever lost the lock meanwhile must not write over the record of its successor.
func (f *fold) record(c *commit) error {
	if err := f.lock.check(); err != nil {
		return err
	}
	return f.s.writeCommit(c)
}

// recordRedo writes a record that whoever finds it carries out. One that may be on disk or not is taken back, in its own
// file: the other one holds the last good record.
func (f *fold) recordRedo(c *commit) error {
	if err := f.lock.check(); err != nil {
		return err
	}
	err := f.s.writeCommit(c)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("commit record: %w", err)
	back := &commit{Generation: c.Generation, Kind: kindNone, Before: c.Before, After: c.Before, From: c.From, To: c.From}
	back.MovedBefore, back.MovedAfter = c.MovedBefore, c.MovedBefore
	if berr := f.s.writeCommit(back); berr != nil {
		return fmt.Errorf("%w: %w", ErrNotDurable, errors.Join(err, berr))
	}
	return err
}

// replace is the durable replace alone, for a change that only this call knows: killed anywhere, it is there or not.
//
// <target>.lock excludes all but those who have borrowed it from us. They fold in a guard directory, which was not there when we
// looked, and take our temporary file away before they read the target: so either we see that directory now, or the
// rename fails, or they read what we made.
func (f *fold) replace() error {
	temp, _, err := f.createTemp(f.outcome())
	if err != nil {
		return err
	}
	if f.g.guarded() {
		err = errNeedsRecord
	} else {
		err = f.rename(temp)
	}
	if err == nil {
		f.remember("") // nobody has asked for its hash yet
		return nil
	}
	if !errors.Is(err, ErrNotDurable) {
		_ = f.g.parent.Remove(temp)
	}
	if isMissing(err) || errors.Is(err, syscall.EBUSY) {
		return errNeedsRecord
	}
	return err
}

// guarded says whether there is a guard directory in which somebody may fold.
func (g *Guard) guarded() bool {
	_, err := g.parent.Stat(g.guardName() + "/" + pendingName)
	return !isMissing(err)
}

// replaceRecorded writes the commit record between the temporary file and the rename.
func (f *fold) replaceRecorded(next *commit) error {
	hash := inBackground(f.outcome().hash)
	temp, info, err := f.createTemp(f.outcome())
	to := identify(info, hash())
	if err != nil {
		return err
	}
	// The temporary file is the evidence that the rename did not happen: its entry has to be there after a power
	// cut if the record is. From the record on, nobody removes it, error paths included.
	if err := f.g.parent.Sync(); err != nil {
		_ = f.g.parent.Remove(temp)
		return err
	}
	next.Kind, next.Temp, next.To = kindReplace, temp, to
	if err := f.record(next); err != nil {
		return fmt.Errorf("commit record: %w", err)
	}
	if err := f.keepReplaced(next); err != nil {
		return err
	}
	err = f.rename(temp)
	if !errors.Is(err, syscall.EBUSY) {
		return err
	}
	// A bind-mounted single file cannot be replaced (rename(2), EBUSY). With its new content and a record on disk
	// it can be overwritten: whoever comes after a crash does it again.
	f.g.warn("%s is a mount point and cannot be replaced by rename: it is overwritten in place, a reader may see a part", f.g.Target())
	content := f.outcome()
	if f.whole != nil { // it may be put together of parts of the very file that is overwritten
		text, err := f.whole.read()
		if err != nil {
			return err
		}
		content = pieces{text}
	}
	next.Generation++
	next.Kind = kindOverwrite
	if err := f.keepBeforeOverwrite(next); err != nil {
		return err
	}
	if err := f.recordRedo(next); err != nil {
		return err
	}
	if err := f.overwriteTarget(content); err != nil {
		return fmt.Errorf("%w: overwrite: %w", ErrNotDurable, err)
	}
	f.g.swept = false // the temporary file has served
	return nil
}

// rename publishes temp, unless the target is not the version any more that was read.
func (f *fold) rename(temp string) error {
	info, err := f.g.parent.Stat(f.g.name)
	switch {
	case isMissing(err) && f.target.missing:
	case err != nil && !isMissing(err):
		return err
	case err != nil, f.target.missing, !identify(info, "").sameFile(identify(f.target.info, "")):
		return errMoved
	}
	if err := f.lock.check(); err != nil {
		return err
	}
	if err := f.g.parent.Rename(temp, f.g.name); err != nil {
		return err
	}
	if err := f.g.parent.Sync(); err != nil {
		return fmt.Errorf("%w: sync directory: %w", ErrNotDurable, err)
	}
	return nil
}

const (
	tempPrefix = "."
	tempSuffix = ".jsonguard-tmp"
)

func (g *Guard) isTemp(name string) bool {
	id, ok := strings.CutPrefix(name, tempPrefix+g.name+".")
	if ok {
		id, ok = strings.CutSuffix(id, tempSuffix)
	}
	return ok && len(id) == 16
}

func (g *Guard) newTempName() string { return tempPrefix + g.name + "." + newID() + tempSuffix }

// inBackground computes while something else is waited for; what it returns waits for it.
func inBackground[T any](compute func() T) func() T {
	done := make(chan T, 1)
	go func() { done <- compute() }()
	return func() T { return <-done }
}

// createTemp writes content to a synced temporary file with a name that was never used, as the target in mode,
// owner and attributes.
func (f *fold) createTemp(content versionText) (string, vfs.Info, error) {
	name := f.g.newTempName()
	file, err := f.g.parent.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", vfs.Info{}, err
	}
	info, err := f.fillTemp(file, content)
	// A network filesystem may report a failed write as late as here (close(2), ENOSPC, EDQUOT, EIO).
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = f.g.parent.Remove(name)
		return "", vfs.Info{}, fmt.Errorf("temporary file: %w", err)
	}
	return name, info, nil
}

func (f *fold) fillTemp(file vfs.File, content versionText) (vfs.Info, error) {
	if err := content.writeTo(file); err != nil {
		return vfs.Info{}, err
	}
	if f.target.missing && f.maker != nil {
		if err := f.copyMakersMeta(file); err != nil {
			return vfs.Info{}, err
		}
	} else if f.target.missing && f.own.restore != nil && f.own.restore.file != "" {
		if err := f.copyVersionsMeta(file); err != nil {
			return vfs.Info{}, err
		}
	} else if f.target.missing {
		if err := file.SetMode(0o666 &^ umask()); err != nil {
			return vfs.Info{}, err
		}
	} else {
		for _, lost := range file.CopyMeta(f.target.file) {
			f.g.warn("%s: not kept: %s", f.g.Target(), lost)
		}
	}
	if err := file.Sync(); err != nil {
		return vfs.Info{}, err
	}
	return file.Stat()
}

// tempFile is the temporary file that a record names, as it is found.
type tempFile struct {
	id      identity
	content []byte
}

func (f *fold) readTemp(name string) (*tempFile, error) {
	file, err := f.g.parent.OpenFile(name, os.O_RDONLY, 0)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, info, err := readAll(file)
	if err != nil {
		return nil, err
	}
	return &tempFile{identify(info, contentHash(content)), content}, nil
}

func (f *fold) overwriteTarget(content versionText) error {
	file, err := f.g.parent.OpenFile(f.g.name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = content.writeTo(file)
	if err == nil {
		err = file.Truncate(content.size())
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}
