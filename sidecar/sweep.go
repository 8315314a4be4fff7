package sidecar

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"jsonguard/internal/vfs"
)

// sweep removes what nobody needs any more. It runs when the last record is known durable or is known not to have
// happened: then the temporary file that it names is the evidence and stays.
func (f *fold) sweep() error {
	if f.s == nil {
		return nil
	}
	if err := f.sweepSidecars(); err != nil {
		return err
	}
	if err := f.sweepSessions(); err != nil {
		return err
	}
	if err := f.pruneHistory(); err != nil {
		return err
	}
	f.truncateOwn()
	if f.g.swept {
		return nil
	}
	if err := f.sweepUnborn(); err != nil {
		return err
	}
	if err := f.sweepUnbornSessions(); err != nil {
		return err
	}
	evidence := ""
	if !f.settled {
		evidence = f.last.Temp
	}
	f.g.swept = true
	_ = f.removeTemps(evidence) // what could not go is for the next process that folds
	return nil
}

// removeTemps removes what a fold leaves beside the target, but for the file that is evidence.
func (f *fold) removeTemps(evidence string) error {
	names, err := f.g.parent.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if f.g.isTemp(name) && name != evidence {
			err = errors.Join(err, ignoreMissing(vfs.RemoveAll(f.g.parent, name)))
		}
	}
	return err
}

// stopDirectReplaces keeps who holds the lock that this fold has borrowed from publishing by rename what it made of the version
// that is there now, see replace: it does it again.
func (f *fold) stopDirectReplaces() error {
	last, err := f.s.newestCommit()
	if err != nil {
		return err
	}
	err = f.removeTemps(last.Temp)
	if errors.Is(err, fs.ErrPermission) {
		return nil // another user's in a sticky directory: if its owner may replace our target, the look before that is all there is
	}
	return err
}

func (f *fold) sweepSidecars() error {
	removed := false
	for _, sc := range f.sidecars {
		if !sc.dead || sc.keep || f.after[sc.name] < sc.lastSeq() {
			continue
		}
		if sc.header.View {
			if !sc.final {
				continue // what its program wrote since this fold looked would be lost
			}
			// Before the sidecar: a copy without its sidecar would look like one that was never submitted.
			if gone, err := f.s.removeView(sc.name); err != nil || !gone {
				continue // its runner lives; or the next sweep tries again
			}
		}
		if err := f.s.finishSalvage(sc.name); err != nil {
			continue // the next sweep tries again
		}
		if f.s.pending.Remove(sc.name) == nil {
			removed = true
			sc.release() // a power cut may have left it a second, hidden name, which goes next
		}
	}
	if removed {
		return f.s.pending.Sync()
	}
	return nil
}

// sweepUnborn removes sidecars whose process died before they got their name. One that is being made in this very
// moment may go as well: its process makes another.
func (f *fold) sweepUnborn() error {
	names, err := f.s.pending.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, ".") {
			continue
		}
		file, err := f.s.pending.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if dead, err := file.TryLock(); err == nil && dead {
			_ = f.s.pending.Remove(name)
		}
		_ = file.Close()
	}
	return nil
}

// lastSeq is the seq of the last change above the watermark that was read, 0 if there is none.
func (sc *sidecarFile) lastSeq() uint64 {
	if len(sc.lines) == 0 {
		return 0
	}
	return sc.lines[len(sc.lines)-1].Seq
}

// journalLimit is the size from which a process cuts its own sidecar back to the header, in bytes.
const journalLimit = 64 << 10

// truncateOwn cuts this process's sidecar when all of it is in the target for good. Seqs go on.
func (f *fold) truncateOwn() {
	f.g.mu.Lock() // nothing is appended meanwhile
	defer f.g.mu.Unlock()
	j := f.g.journal
	if j == nil || j.size < f.g.cutFrom || f.after[j.id] < j.seq || j.seq == 0 {
		return
	}
	if j.file.Truncate(j.headerSize) == nil {
		j.size, j.allocated = j.headerSize, j.headerSize
	}
}
