package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// appendOnly prepares the cheap way of JSON Lines: whole lines at the end, the file is neither read nor rewritten.
func (f *fold) appendOnly() bool {
	if f.g.format != merge.Lines || f.target.missing || f.s == nil || f.own.apply != nil || f.own.restore != nil {
		return false
	}
	var block []byte
	add := func(ops []merge.Op) bool {
		for _, op := range ops {
			if op.Kind != "append" || op.At != "" {
				return false
			}
			block = append(merge.Compact(block, op.Value), '\n')
		}
		return true
	}
	lines := newLineReader(f)
	defer lines.close()
	for _, p := range f.pending {
		if p.from.scratch != nil {
			if p.from.scratch.about.Skip == 0 {
				return false
			}
			block = appendLines(block, p.from.scratch.content)
			continue
		}
		if l, err := lines.read(p); err != nil || len(l.decoded) == 0 || !add(l.decoded) {
			return false
		}
	}
	if !add(f.own.ops) || !f.target.endsWithNewline() || f.g.Policy().TouchesNewLines() {
		return false
	}
	f.block = block
	for _, p := range f.pending {
		f.after[p.from.name] = p.Seq
		f.folded++
	}
	return true
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
	if err := f.recordRedo(next); err != nil {
		return err
	}
	if err := f.keepReplaced(next); err != nil {
		return f.cancel(next, err)
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
		if cut := cutBack(file, f.block[:n]); cut != nil { // the next fold completes it, if it can
			return fmt.Errorf("%w: %w", ErrNotDurable, errors.Join(err, cut))
		}
		return f.cancel(next, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("%w: sync: %w", ErrNotDurable, err)
	}
	return nil
}

// cutBack takes the beginning of a block off the end of the target again, on disk. Where somebody without a lock has
// appended behind it, it is not ours to cut.
func cutBack(file vfs.File, piece []byte) error {
	if len(piece) == 0 {
		return nil
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	at := info.Size - int64(len(piece))
	there := make([]byte, len(piece))
	if _, err := file.ReadAt(there, max(0, at)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(there, piece) {
		return errors.New("cut back: somebody without a lock appended at the same time")
	}
	return errors.Join(file.Truncate(at), file.Sync())
}

// cancel takes back a record whose append did not happen, so that nobody completes it.
func (f *fold) cancel(c *commit, cause error) error {
	back := &commit{Generation: c.Generation + 1, Kind: kindNone, Before: c.Before, After: c.Before, From: c.From, To: c.From}
	back.MovedBefore, back.MovedAfter = c.MovedBefore, c.MovedBefore
	if err := f.s.writeCommit(back); err != nil {
		return fmt.Errorf("%w: %w", ErrNotDurable, errors.Join(cause, err))
	}
	return cause
}

// redoAppend judges whether an append happened: where anything is there of its block, it is made whole and put on disk,
// whatever a crash left of it. The block is written again even
// where it is found whole: the fsync behind it may have failed, which leaves the pages clean without being on disk, and
// the same bytes in place give this fsync something to do.
func (f *fold) redoAppend() (happened bool, err error) {
	last := f.last
	if f.target.missing {
		return false, nil // with the block or without: it is for the policy of removed targets to say
	}
	if f.target.info.Inode != last.From.Inode {
		now, err := f.target.identity()
		if err != nil {
			return false, err
		}
		if !now.same(last.From) && !now.same(last.To) {
			// Replaced since, by somebody who had read it with the block or without.
			content, err := f.target.read()
			return bytes.HasPrefix(content, last.Block) || bytes.Contains(content, append([]byte{'\n'}, last.Block...)), err
		}
	}
	file, err := f.g.parent.OpenFile(f.g.name, os.O_RDWR, 0)
	if err != nil {
		return false, err
	}
	defer file.Close()
	// Shorter than before the append: cut by somebody, or a power cut took what others had appended without an fsync.
	from, size := min(last.From.Size, f.target.info.Size), f.target.info.Size
	window := make([]byte, min(size-from, int64(len(last.Block)+othersAtMost)))
	if _, err := file.ReadAt(window, from); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	at := placeOf(last.Block, window, from+int64(len(window)) == size)
	if at < 0 {
		// Nothing of it is there. Appended now, under this record, it would not be found again where the target has become
		// shorter: what is pending is appended under a record of its own.
		return false, nil
	}
	if err := writeWhole(file, last.Block, from+int64(at)); err != nil {
		return false, fmt.Errorf("append again: %w", err)
	}
	if err := file.Sync(); err != nil {
		return false, fmt.Errorf("sync: %w", err)
	}
	return true, f.readTarget()
}

// othersAtMost is how much of other programs' lines can come between the look at the target's length and the append, in
// bytes: what they append after a crash may be of any size.
const othersAtMost = 1 << 20

// placeOf finds where in tail the block is or was going to be: others may have appended lines before and behind it. What
// a crash left of it ends early, with the file (whole: tail reaches to its end), or has zeros where a sector did not reach
// the disk, which no JSON has. Negative: nothing of it is there.
func placeOf(block, tail []byte, whole bool) int {
	if bytes.HasPrefix(tail, block) {
		return 0
	}
	if at := bytes.Index(tail, append([]byte{'\n'}, block...)); at >= 0 {
		return at + 1
	}
	for at := 0; at < len(tail); at++ {
		if !whole && len(tail)-at < len(block) {
			break
		}
		if (at == 0 || tail[at-1] == '\n') && isRemainder(tail[at:], block) {
			return at
		}
	}
	return -1
}

func isRemainder(there, block []byte) bool {
	for i := range min(len(there), len(block)) {
		if there[i] != block[i] && there[i] != 0 {
			return false
		}
	}
	return true
}
