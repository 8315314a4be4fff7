package sidecar

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

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
	known *readSoFar

	made    *line        // the last line, where it is not in the text
	scratch *scratchFile // of a Session: its only line is made up
	applied uint64       // the last seq that this fold has brought in or refused
}

// pendingLine is one change, and whose.
type pendingLine struct {
	*entry
	from *sidecarFile
}

// makeUp adds a line that is not in the text.
func (sc *sidecarFile) makeUp(l line) {
	sc.made = &l
	sc.lines = append(sc.lines, entry{Seq: l.Seq, Generation: l.Generation, Monotonic: l.Monotonic})
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
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasPrefix(name, ".") }) // being made
	for some := range slices.Chunk(names, atOnce) {
		for i, r := range f.readSidecars(some) {
			f.take(some[i], r.sidecarFile, r.err)
		}
	}
	f.noteSeen()
	f.queue()
	if err := f.collectScratches(); err != nil {
		return err
	}
	if err := f.syncRemovals(); err != nil {
		return err
	}
	if !slices.IsSortedFunc(f.pending, comparePending) {
		slices.SortStableFunc(f.pending, comparePending)
	}
	return nil
}

// take adds what was read of a sidecar to what is pending.
func (f *fold) take(name string, sc *sidecarFile, err error) {
	if isMissing(err) {
		return // its owner just left
	}
	// What cannot be read is neither folded nor removed, and keeps its watermark: it may be readable next time.
	if mark := f.marks[name]; mark > 0 {
		f.after[name] = mark
	}
	if err != nil {
		f.passOver(name, err)
		return
	}
	if sc.header.View && sc.dead && !sc.keep {
		if err := f.adopt(sc); err != nil {
			sc.keep = true
			f.g.warn("%s: the copy of process %d (%s) was not taken in: %v", f.sidecarPath(name), sc.header.PID, sc.header.Command, err)
		}
	}
	if sc.dead && f.held < descriptorLimit {
		f.held++
	} else if !f.keepOpen(sc) {
		sc.release()
	}
	f.sidecars = append(f.sidecars, sc)
}

// queue puts the lines of all sidecars behind each other. Those of processes that did not live at the same time are in
// their order then.
func (f *fold) queue() {
	var some []*sidecarFile
	total := 0
	for _, sc := range f.sidecars {
		if len(sc.lines) > 0 {
			some = append(some, sc)
			total += len(sc.lines)
		}
	}
	slices.SortFunc(some, func(a, b *sidecarFile) int {
		return comparePending(pendingLine{&a.lines[0], a}, pendingLine{&b.lines[0], b})
	})
	f.pending = make([]pendingLine, 0, total)
	for _, sc := range some {
		for i := range sc.lines {
			f.pending = append(f.pending, pendingLine{&sc.lines[i], sc})
		}
	}
}

func (f *fold) sidecarPath(name string) string {
	return filepath.Join(f.g.GuardDir(), pendingName, name)
}

// passOver leaves a sidecar, or the rest of it, to the next fold.
func (f *fold) passOver(name string, err error) {
	f.g.warn("%s was passed over: %v", f.sidecarPath(name), err)
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

const (
	// atOnce bounds how many sidecars are open before it is known whether they are kept open.
	atOnce = 64
	// few are read one after the other: it is not worth the goroutines.
	few = 32
)

// opened is a sidecar, or why there is none.
type opened struct {
	*sidecarFile
	err error
}

// readSidecars reads several on all processors: what many dead processes left is much to parse.
func (f *fold) readSidecars(names []string) []opened {
	all := make([]opened, len(names))
	var next atomic.Int64
	read := func() {
		for i := int(next.Add(1)) - 1; i < len(names); i = int(next.Add(1)) - 1 {
			all[i].sidecarFile, all[i].err = f.openSidecar(names[i])
		}
	}
	if len(names) <= few {
		read()
		return all
	}
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(read)
	}
	workers.Wait()
	return all
}

// openSidecar reads one file of pending/, and changes nothing in f. What is no regular file is an error: nobody who could
// write the target put it there, and it is never followed nor waited for.
func (f *fold) openSidecar(name string) (*sidecarFile, error) {
	if err := f.own.without[name]; err != nil {
		return nil, err
	}
	file, err := f.g.remembered.sidecars[name].takeOpen(f.s.pending, name)
	if file == nil && err == nil {
		file, err = f.s.pending.OpenFile(name, os.O_RDWR, 0)
	}
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
	return sc, nil
}

// readBuffers hold one sidecar after the other while its lines are found: fresh memory for all of them costs more than to
// read them.
var readBuffers = sync.Pool{New: func() any { return new([]byte) }}

func (f *fold) readSidecar(sc *sidecarFile) error {
	if done, err := f.readOn(sc); done || err != nil {
		return err
	}
	info, err := sc.file.Stat()
	if err != nil {
		return err
	}
	if !f.mayWrite(info.UID) {
		sc.keep = true
		f.g.warn("%s belongs to user %d, who may not write the target: not folded", f.sidecarPath(sc.name), info.UID)
		return nil
	}
	buffer := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buffer)
	r, content, info, err := readJournalAbove(sc.file, f.marks[sc.name], *buffer)
	if cap(content) > cap(*buffer) {
		*buffer = content[:0]
	}
	if content == nil {
		return err
	}
	if sc.readJournal = r; err != nil {
		sc.readJournal = readJournal{}
		if sc.dead && unborn(content) {
			return nil
		}
		sc.keep = true
		f.g.warn("%s: %v: not folded", f.sidecarPath(sc.name), err)
		return nil
	}
	if sc.damage != "" {
		sc.keep = true
		f.g.warn("%s is damaged (%s): folded up to there; jsonguard verify --repair moves it to quarantine", f.sidecarPath(sc.name), sc.damage)
	}
	if !sc.header.View && !sc.keep {
		sc.noteRead(content, info.Inode)
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
