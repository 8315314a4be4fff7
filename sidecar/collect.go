package sidecar

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"jsonguard/internal/vfs"
)

// sidecarFile is one file of pending/, open.
type sidecarFile struct {
	readJournal
	name  string
	file  vfs.File // nil: released
	dead  bool     // its flock was to be had: it is ours now
	final bool     // a view that nobody used any more when it was adopted: its program may live longer than its wrapper
	keep  bool     // damaged, or not ours to fold: never removed
	stuck bool     // a version that a line names could not be read: that line and those behind it wait for the next fold
}

type pendingLine struct {
	line
	from    *sidecarFile
	scratch *scratchFile // of a Session: the line is made up
}

// release lets go of the file, and of its flock where that is ours.
func (sc *sidecarFile) release() {
	if sc.file != nil {
		_ = sc.file.Close()
		sc.file, sc.dead = nil, false
	}
}

// collect reads every sidecar, adopts what dead views left, and puts the changes into their order.
func (f *fold) collect() error {
	f.after = watermarks{}
	if f.s == nil {
		return nil
	}
	f.takeTorn()
	names, err := f.s.pending.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue // being made
		}
		sc, err := f.openSidecar(name)
		if isMissing(err) {
			continue // its owner just left
		}
		// What cannot be read is neither folded nor removed, and keeps its watermark: it may be readable next time.
		if mark := f.marks[name]; mark > 0 {
			f.after[name] = mark
		}
		if err != nil {
			f.passOver(name, err)
			continue
		}
		f.sidecars = append(f.sidecars, sc)
		for _, l := range sc.lines {
			f.pending = append(f.pending, pendingLine{line: l, from: sc})
		}
	}
	f.g.remembered.sidecars, f.seen = f.seen, nil
	if err := f.collectScratches(); err != nil {
		return err
	}
	if err := f.syncRemovals(); err != nil {
		return err
	}
	slices.SortStableFunc(f.pending, comparePending)
	return nil
}

// passOver leaves a sidecar, or the rest of it, to the next fold.
func (f *fold) passOver(name string, err error) {
	f.g.warn("%s/%s/%s was passed over: %v", f.g.GuardDir(), pendingName, name, err)
	if name == f.own.kept.sidecar {
		f.unread = err
	}
}

// comparePending: the generation a writer saw when it appended orders writers that knew of each other; within one
// boot the monotonic clock does.
func comparePending(a, b pendingLine) int {
	if a.from == b.from {
		return compare(a.Seq, b.Seq)
	}
	if c := compare(a.Generation, b.Generation); c != 0 {
		return c
	}
	if c := strings.Compare(a.from.header.Boot, b.from.header.Boot); c != 0 {
		return c
	}
	if c := compare(a.Monotonic, b.Monotonic); c != 0 {
		return c
	}
	return strings.Compare(a.from.name, b.from.name)
}

func compare[T int64 | uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// descriptorLimit bounds how many sidecars of dead processes one fold keeps open, and so removes: the next fold goes on.
const descriptorLimit = 256

// openSidecar reads one file of pending/. What is no regular file is an error: nobody who could write the target put it
// there, and it is never followed nor waited for.
func (f *fold) openSidecar(name string) (*sidecarFile, error) {
	file, err := f.s.pending.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	sc := &sidecarFile{name: name, file: file}
	// Before reading: what a dead owner left is then final. Liveness decides removal only, never folding.
	sc.dead, _ = file.TryLock()
	if err := f.readSidecar(sc); err != nil {
		sc.release()
		return nil, err
	}
	if sc.dead && f.held < descriptorLimit {
		f.held++
	} else {
		sc.release()
	}
	return sc, nil
}

func (f *fold) readSidecar(sc *sidecarFile) error {
	path := func() string { return filepath.Join(f.g.GuardDir(), pendingName, sc.name) }
	if done, err := f.readOn(sc); done || err != nil {
		return err
	}
	info, err := sc.file.Stat()
	if err != nil {
		return err
	}
	if !f.mayWrite(info.UID) {
		sc.keep = true
		f.g.warn("%s belongs to user %d, who may not write the target: not folded", path(), info.UID)
		return nil
	}
	r, content, info, err := readJournalAbove(sc.file, f.marks[sc.name])
	if content == nil {
		return err
	}
	if sc.readJournal = r; err != nil {
		sc.readJournal = readJournal{}
		if sc.dead && unborn(content) {
			return nil
		}
		sc.keep = true
		f.g.warn("%s: %v: not folded", path(), err)
		return nil
	}
	if sc.damage != "" {
		sc.keep = true
		f.g.warn("%s is damaged (%s): folded up to there; jsonguard verify --repair moves it to quarantine", path(), sc.damage)
	}
	if !sc.header.View && !sc.keep {
		f.noteRead(sc, content, info.Inode)
	}
	if sc.header.View && sc.dead && !sc.keep {
		if err := f.adopt(sc); err != nil {
			sc.keep = true
			f.g.warn("%s: the copy of process %d (%s) was not taken in: %v", path(), sc.header.PID, sc.header.Command, err)
		}
	}
	return nil
}

// unborn: its process died before the header was on disk, so that nothing in it was ever promised. Anything behind the
// place of the header means that there was one.
func unborn(content []byte) bool {
	content = bytes.Trim(content, "\x00") // what a power cut may leave of unsynced blocks
	_, rest, _ := bytes.Cut(content, []byte("\n"))
	return len(rest) == 0
}

// mayWrite: a sidecar is folded only if its owner could have written the target.
func (f *fold) mayWrite(uid int) bool {
	if f.target.missing || uid <= 0 || uid == f.target.info.UID || uid == os.Getuid() {
		return true
	}
	return f.target.info.Mode.Perm()&0o022 != 0
}
