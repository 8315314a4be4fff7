package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"syscall"

	"jsonguard/internal/vfs"
)

// errNeedsRecord: this step is only safe with a commit record, so that the fold has to start again with one.
var errNeedsRecord = errors.New("needs a commit record")

// publish makes the outcome durable and visible. Every fsync here was removed once to see a change lost.
func (f *fold) publish() (changed bool, err error) {
	if f.doc == nil {
		changed = len(f.block) > 0
	} else {
		changed = !bytes.Equal(f.doc.Bytes(), f.target.content)
	}
	if !changed && maps.Equal(f.marks, f.after) {
		return false, nil // a change that equals what is there writes nothing
	}
	if changed {
		if err := f.g.checkWritable("fold"); err != nil {
			return false, err
		}
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
	for _, r := range f.rejected {
		next.Rejected = append(next.Rejected, r.summary())
	}
	switch {
	case !changed:
		err = f.s.writeCommit(next)
	case f.doc == nil:
		err = f.appendBlock(next)
	default:
		err = f.replaceRecorded(next)
	}
	if err != nil {
		return false, err
	}
	f.last, f.marks = next, f.after
	return changed, f.s.writeSettled(next.Generation)
}

// replace is the durable replace alone, for a change that only this call knows: killed anywhere, it is there or not.
func (f *fold) replace() error {
	temp, _, err := f.createTemp(f.doc.Bytes())
	if err != nil {
		return err
	}
	err = f.rename(temp)
	if err != nil && !errors.Is(err, ErrNotDurable) {
		_ = f.g.parent.Remove(temp)
	}
	if errors.Is(err, syscall.EBUSY) {
		return errNeedsRecord
	}
	return err
}

// replaceRecorded writes the commit record between the temporary file and the rename.
func (f *fold) replaceRecorded(next *commit) error {
	temp, to, err := f.createTemp(f.doc.Bytes())
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
	if err := f.s.writeCommit(next); err != nil {
		return fmt.Errorf("commit record: %w", err)
	}
	err = f.rename(temp)
	if !errors.Is(err, syscall.EBUSY) {
		return err
	}
	// A bind-mounted single file cannot be replaced (rename(2), EBUSY). With its new content and a record on disk
	// it can be overwritten: whoever comes after a crash does it again.
	f.g.warn("%s is a mount point and cannot be replaced by rename: it is overwritten in place, a reader may see a part", f.g.Target())
	next.Generation++
	next.Kind = kindOverwrite
	if err := f.s.writeCommit(next); err != nil {
		return fmt.Errorf("commit record: %w", err)
	}
	if err := f.overwriteTarget(f.doc.Bytes()); err != nil {
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

// createTemp writes content to a synced temporary file with a name that was never used, as the target in mode,
// owner and attributes.
func (f *fold) createTemp(content []byte) (string, identity, error) {
	name := tempPrefix + f.g.name + "." + newID() + tempSuffix
	file, err := f.g.parent.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", identity{}, err
	}
	info, err := f.fillTemp(file, content)
	// A network filesystem may report a failed write as late as here (close(2), ENOSPC, EDQUOT, EIO).
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = f.g.parent.Remove(name)
		return "", identity{}, fmt.Errorf("temporary file: %w", err)
	}
	return name, identify(info, contentHash(content)), nil
}

func (f *fold) fillTemp(file vfs.File, content []byte) (vfs.Info, error) {
	if n, err := file.Write(content); err != nil {
		return vfs.Info{}, err
	} else if n < len(content) {
		return vfs.Info{}, io.ErrShortWrite
	}
	if f.target.missing {
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

func (f *fold) overwriteTarget(content []byte) error {
	file, err := f.g.parent.OpenFile(f.g.name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(content, 0)
	if err == nil {
		err = file.Truncate(int64(len(content)))
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// appendBlock appends whole lines in place. The record carries them, so that a torn append is completed.
func (f *fold) appendBlock(next *commit) error {
	h, ok := resumeHash(next.From.Hash)
	if !ok {
		return fmt.Errorf("%w: hash of the target", ErrDamaged)
	}
	h.add(f.block)
	next.Kind, next.Block = kindAppend, f.block
	next.To = identity{Inode: next.From.Inode, Size: next.From.Size + int64(len(f.block)), Hash: h.String()}
	if err := f.s.writeCommit(next); err != nil {
		return fmt.Errorf("commit record: %w", err)
	}
	file, err := f.g.parent.OpenFile(f.g.name, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return f.cancel(next, err)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !identify(info, "").sameFile(identify(f.target.info, "")) {
		return f.cancel(next, errors.Join(err, errMoved))
	}
	n, err := file.Write(f.block)
	if err == nil && n < len(f.block) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return f.cancel(next, errors.Join(err, file.Truncate(next.From.Size)))
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("%w: sync: %w", ErrNotDurable, err)
	}
	return nil
}

// cancel takes back a record whose append did not happen, so that nobody completes it.
func (f *fold) cancel(c *commit, cause error) error {
	back := &commit{Generation: c.Generation + 1, Kind: kindNone, Before: c.Before, After: c.Before, From: c.From, To: c.From}
	if err := f.s.writeCommit(back); err != nil {
		return fmt.Errorf("%w: %w", ErrNotDurable, errors.Join(cause, err))
	}
	return cause
}

// redoAppend completes an append that a crash may have cut anywhere.
func (f *fold) redoAppend() error {
	last := f.last
	if f.target.missing {
		return nil // removed since
	}
	if f.target.info.Inode != last.From.Inode {
		now, err := f.target.identity()
		if err != nil || !now.same(last.From) {
			return err // replaced since
		}
	}
	file, err := f.g.parent.OpenFile(f.g.name, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	size := f.target.info.Size
	if size < last.From.Size {
		return nil // cut by somebody since
	}
	tail := make([]byte, size-last.From.Size)
	if _, err := file.ReadAt(tail, last.From.Size); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Contains(tail, last.Block) {
		if torn := tornSuffix(tail, last.Block); torn > 0 {
			if err := file.Truncate(size - int64(torn)); err != nil {
				return err
			}
		}
		if n, err := file.Write(last.Block); err != nil || n < len(last.Block) {
			return errors.Join(err, file.Truncate(last.From.Size), fmt.Errorf("append again: wrote %d of %d bytes", n, len(last.Block)))
		}
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("%w: sync: %w", ErrNotDurable, err)
	}
	return f.readTarget()
}

// tornSuffix is the length of the longest end of tail that is a beginning of block and starts at a line.
func tornSuffix(tail, block []byte) int {
	for start := max(0, len(tail)-len(block)+1); start < len(tail); start++ {
		if (start == 0 || tail[start-1] == '\n') && bytes.HasPrefix(block, tail[start:]) {
			return len(tail) - start
		}
	}
	return 0
}
