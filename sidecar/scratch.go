package sidecar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// scratchFile is a closed scratch file as the fold sees it.
type scratchFile struct {
	about   about
	content []byte    // nil: not read yet
	whole   wholeText // zero: it was not looked at in parts
	dir     vfs.Dir   // open during the fold
	n       string
}

// read has its content in memory. errDiscarded: it is not there any more.
func (x *scratchFile) read() error {
	if x.content != nil {
		return nil
	}
	file, err := x.dir.OpenFile(x.n+scratchSuffix, os.O_RDONLY, 0)
	if isMissing(err) {
		return errDiscarded
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	defer file.Close()
	if x.content, err = readFrom(file, x.about.Skip); err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return nil
}

// sessionDir is one directory of views/ that belongs to a Session.
type sessionDir struct {
	id    string
	dir   vfs.Dir
	live  bool     // its supervisor holds the owner's flock
	spent []string // scratch files that are in the target
}

// collectScratches adds what the writers of all sessions have closed to what is pending. It runs under guard/lock, and
// nobody else tries the flock of a scratch file, so that one that is not to be had means a writer.
func (f *fold) collectScratches() error {
	names, err := f.s.views.Names()
	if err != nil {
		return err
	}
	for _, id := range names {
		if !strings.HasPrefix(id, sessionPrefix) {
			continue
		}
		dir, err := f.s.views.OpenDir(id)
		if isMissing(err) {
			continue
		}
		if err == nil {
			sd := &sessionDir{id: id, dir: dir}
			f.sessions = append(f.sessions, sd)
			err = f.collectSession(sd)
		}
		if isMissing(err) {
			continue // its supervisor ended it this very moment, empty
		}
		if err != nil {
			f.keepMarks(id)
			f.g.warn("%s was passed over: %v", filepath.Join(f.g.GuardDir(), viewsName, id), err)
		}
	}
	return nil
}

// keepMarks keeps the watermarks of a session that could not be read: its files may be readable next time.
func (f *fold) keepMarks(session string) {
	for sidecar, mark := range f.marks {
		if id, _, ok := sessionOf(sidecar); ok && id == session {
			f.after[sidecar] = mark
		}
	}
}

func (f *fold) collectSession(sd *sessionDir) error {
	used, err := inUse(sd.dir)
	sd.live = used || err != nil
	if err != nil {
		return err
	}
	names, err := sd.dir.Names()
	if err != nil {
		return err
	}
	if !sd.live {
		names = append(names, finishPublishing(sd.dir, names)...)
	}
	for _, name := range names {
		n, ok := strings.CutSuffix(name, scratchSuffix)
		if !ok {
			continue
		}
		sidecar := sd.id + "." + n
		if mark := f.marks[sidecar]; mark > 0 {
			f.after[sidecar] = mark // until it is gone
			sd.spent = append(sd.spent, n)
			continue
		}
		if err := f.collectScratch(sd, n, names); err != nil {
			f.g.warn("%s was passed over: %v", filepath.Join(f.g.GuardDir(), viewsName, sd.id, name), err)
		}
	}
	return nil
}

// finishPublishing gives a part of a scratch file its name, where a supervisor was killed just before it did, and returns
// those names.
func finishPublishing(dir vfs.Dir, names []string) (added []string) {
	for _, name := range names {
		n, ok := strings.CutSuffix(name, aboutSuffix)
		if !ok {
			continue
		}
		a, err := readAbout(dir, n)
		if err != nil || a.Publishes == "" || filepath.Base(a.Publishes) != a.Publishes {
			continue
		}
		if slices.Contains(names, a.Publishes+scratchSuffix) {
			continue // a power cut may leave a file both names
		}
		if dir.Rename(a.Publishes+unbornSuffix, a.Publishes+scratchSuffix) == nil {
			added = append(added, a.Publishes+scratchSuffix)
		}
	}
	return added
}

func (f *fold) collectScratch(sd *sessionDir, n string, names []string) error {
	file, err := sd.dir.OpenFile(n+scratchSuffix, os.O_RDONLY, 0)
	if err != nil {
		return ignoreMissing(err)
	}
	defer file.Close()
	if closed, err := file.TryLock(); err != nil || !closed {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !f.mayWrite(info.UID) {
		f.g.warn("%s.%s belongs to user %d, who may not write the target: not folded", sd.id, n, info.UID)
		return nil
	}
	x := &scratchFile{dir: sd.dir, n: n}
	x.about, err = readAbout(sd.dir, n)
	if errors.Is(err, errAboutLost) && !sd.live {
		// A power cut took what is known of it: from what its content was made, nobody can say any more.
		if x.content, err = readFrom(file, 0); err != nil {
			return err
		}
		x.content = bytes.Trim(x.content, "\x00")
		return f.keepTornScratch(sd, x)
	}
	if err != nil {
		return err
	}
	sc := &sidecarFile{name: sd.id + "." + n, readJournal: readJournal{header: x.about.header}, scratch: x}
	torn, err := f.look(x, file, info.Size, f.g.session.preparedFor(sc.name))
	if err != nil {
		return err
	}
	l := line{Seq: 1, Generation: x.about.Generation, Monotonic: max(x.about.Monotonic, monotonicOf(info.MTime)), Additions: x.about.Additions}
	rewrite := f.g.format == merge.Lines && x.about.Skip == 0 && !x.about.Finished
	if x.about.Boot != f.g.boot {
		survived, err := f.survived(sc.name, x, names)
		if err != nil {
			return err
		}
		torn = torn || !survived
	}
	switch {
	case sd.live && (torn || rewrite):
		return nil // its supervisor knows whether there is more to come
	case torn:
		return f.keepTornScratch(sd, x)
	}
	l.Additions = l.Additions || rewrite
	sc.makeUp(l)
	f.pending = append(f.pending, pendingLine{&sc.lines[0], sc})
	return nil
}

// look finds out whether a closed scratch file is torn. What was closed does not change any more: what was made of it, or
// seen in it, counts.
func (f *fold) look(x *scratchFile, file vfs.File, size int64, made preparedScratch) (torn bool, err error) {
	switch {
	case made.change != nil && !x.about.Additions && int64(len(made.change.Ours())) == size:
		x.content = made.change.Ours()
	case made.hash != "" && made.size == size:
		x.whole = made.wholeText
	case f.g.format == merge.JSON && x.about.Skip == 0:
		if x.whole, err = checkWhole(file); errors.Is(err, ErrTorn) {
			return true, nil
		}
		return false, err
	default:
		if x.content, err = readFrom(file, x.about.Skip); err != nil {
			return false, err
		}
		return Complete(x.content, f.g.format) != nil, nil
	}
	return false, nil
}

// Complete says why content is not a whole document (ErrTorn). An empty one never is: that is what opening for writing
// leaves.
func Complete(content []byte, f merge.Format) error {
	if f == merge.JSON && len(bytes.TrimSpace(content)) == 0 {
		return fmt.Errorf("%w: it is empty", ErrTorn)
	}
	if err := merge.Valid(content, f); err != nil {
		return fmt.Errorf("%w: %w", ErrTorn, err)
	}
	return nil
}

// readFrom reads what a scratch file holds behind its hole.
func readFrom(file vfs.File, skip int64) ([]byte, error) {
	content, _, err := readAll(file)
	if err != nil || skip == 0 {
		return content, err
	}
	return content[min(skip, int64(len(content))):], nil
}

// errAboutLost: what stands beside a scratch file is not there, or torn.
var errAboutLost = errors.New("nothing is known of it")

func readAbout(dir vfs.Dir, n string) (about, error) {
	var a about
	raw, err := readFile(dir, n+aboutSuffix)
	if isMissing(err) {
		return a, fmt.Errorf("%w: %w: scratch file %s", ErrDamaged, errAboutLost, n)
	}
	if err != nil {
		return a, fmt.Errorf("scratch file %s: %w", n, err)
	}
	object, ok := unsealed(bytes.TrimSuffix(raw, []byte("\n")))
	if !ok {
		return a, fmt.Errorf("%w: %w: scratch file %s: checksum", ErrDamaged, errAboutLost, n)
	}
	if err := json.Unmarshal(object, &a); err != nil {
		return a, fmt.Errorf("%w: scratch file %s: %w", ErrDamaged, n, err)
	}
	if a.Version > journalVersion {
		return a, fmt.Errorf("%w: scratch file %s: written by a newer jsonguard", ErrDamaged, n)
	}
	return a, nil
}

// monotonicOf puts the time of a last write, by the wall clock, on the monotonic one: never later than it was, so
// that who opens after a close is behind it.
func monotonicOf(written time.Time) int64 {
	now := monotonic()
	return now - max(0, time.Since(written).Nanoseconds())
}

// errDiscarded: its supervisor found since that there is nothing in it.
var errDiscarded = errors.New("scratch file was discarded")

// applyScratch merges what a writer closed.
func (f *fold) applyScratch(p *pendingLine) ([]merge.Conflict, error) {
	x := p.from.scratch
	made := f.g.session.preparedFor(p.from.name)
	if made.change == nil {
		f.makeRoom()
		if err := x.read(); err != nil {
			return nil, err
		}
		base, err := f.g.madeFrom(x.dir, &x.about, x.content)
		if err != nil {
			if _, serr := x.dir.Stat(x.n + scratchSuffix); isMissing(serr) {
				return nil, errDiscarded
			}
			return nil, err
		}
		f.makeRoom() // of what it might have been made from, and was not
		if made, err = f.g.prepareScratch(base, x.content, p.from.made.Additions); err != nil {
			return nil, err
		}
	}
	if f.target.missing && f.doc.Missing() && !made.isNew {
		return nil, errRemoved()
	}
	if f.target.missing && f.maker == nil {
		f.maker = p.from.scratch
	}
	conflicts, err := f.mergeVersion(writerOf(p), made.change)
	if err == nil && f.isTight(x) { // what is refused goes to quarantine
		x.content = nil
		f.g.session.forget(p.from.name)
	}
	return conflicts, err
}

// tight is from how many bytes on one version at a time is in memory, with what it was made from.
const tight = 4 << 20

// isTight says whether x is to be in memory while it is merged, and no longer. One that is alone is looked at again: see
// versionIn.
func (f *fold) isTight(x *scratchFile) bool {
	return f.g.session != nil && f.g.format == merge.JSON && len(f.pending) > 1 && int64(len(x.content)) >= tight
}

// oneAtATime lets go of the target and of large versions whose turn comes later in this fold: they are read again then. Two of
// them, each with what it was made from, were four times the document beside the target.
func (f *fold) oneAtATime() {
	if len(f.pending) < 2 || f.g.session == nil {
		return
	}
	if !f.target.missing && f.target.info.Size >= tight {
		f.target.content, f.target.loaded = nil, false // it is compared, and its hash made, through a window
	}
	for _, p := range f.pending[1:] {
		if x := p.from.scratch; x != nil && f.isTight(x) {
			x.content = nil
			f.g.session.forget(p.from.name)
		}
	}
}

// makeRoom is MakeRoom for a version of the target.
func (f *fold) makeRoom() {
	if f.g.session != nil {
		MakeRoom(f.target.info.Size)
	}
}

// copyMakersMeta gives a file that is made new the mode and the owner that its maker's had.
func (f *fold) copyMakersMeta(file vfs.File) error {
	made, err := f.maker.dir.OpenFile(f.maker.n+scratchSuffix, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer made.Close()
	file.CopyMeta(made)
	return nil
}

// keepTornScratch puts what a dead writer left into quarantine, on disk, before it goes from views/.
func (f *fold) keepTornScratch(sd *sessionDir, x *scratchFile) error {
	if err := x.read(); err != nil {
		return err
	}
	name := ""
	if len(bytes.TrimSpace(x.content)) > 0 {
		id := sd.id + "." + x.n
		name = id + tornSuffixName
		base, missing, err := f.likelyBase(x)
		if err != nil {
			return err
		}
		if !missing {
			if err := f.s.keep(id+tornBaseSuffix, base); err != nil {
				return err
			}
		}
		if err := f.s.keep(name, x.content); err != nil {
			return err
		}
		if err := f.s.quarantine.Sync(); err != nil {
			return err
		}
		f.torn = append(f.torn, name)
		f.g.warn("process %d (%s) was stopped in the middle of a write: its incomplete version is in quarantine: %s",
			x.about.PID, x.about.Command, f.g.quarantined(name))
	}
	removeScratch(sd.dir, x.n)
	return sd.dir.Sync()
}

// survived looks at a scratch file that was written before the machine was started again. Nothing of it was synced: its
// content may be an earlier one, or sectors of several, what it was made from may be lost, and what is known of it may be what was
// known before a part was taken out, which is in the target by now or about to be. Lines behind a hole are whole or not there.
func (f *fold) survived(sidecar string, x *scratchFile, names []string) (bool, error) {
	if x.about.Skip > 0 {
		return !f.isStale(sidecar, x, names), nil
	}
	for _, name := range x.about.Bases {
		if name == "" {
			continue
		}
		if _, intact, err := readBase(x.dir, name); err != nil || !intact {
			return false, err
		}
	}
	if x.whole.hash != "" {
		return x.whole.hash == x.about.Hash, nil
	}
	return contentHash(x.content) == x.about.Hash, nil
}

// isStale: more parts were taken out than are known of. A part keeps its watermark until the directory was synced after it was
// removed, and with it the entry of what was known of x by then.
func (f *fold) isStale(sidecar string, x *scratchFile, names []string) bool {
	later := func(name, whole string) bool {
		number, ok := strings.CutPrefix(name, whole+partInfix)
		k, err := strconv.Atoi(number)
		return ok && err == nil && k > x.about.Parts
	}
	for id := range f.marks {
		if later(id, sidecar) {
			return true
		}
	}
	return slices.ContainsFunc(names, func(name string) bool {
		n, ok := strings.CutSuffix(name, scratchSuffix)
		return ok && later(n, x.n)
	})
}

// readBase reads what a scratch file was made from; not intact: a power cut took it, or a part of it.
func readBase(dir vfs.Dir, name string) (base []byte, intact bool, err error) {
	base, err = readFile(dir, name)
	return base, err == nil && strings.HasSuffix(name, "."+contentHash(base)), ignoreMissing(err)
}

// likelyBase: by the content of a torn version nothing can be chosen.
func (f *fold) likelyBase(x *scratchFile) (base []byte, missing bool, err error) {
	if len(x.about.Bases) <= x.about.Likely || x.about.Bases[x.about.Likely] == "" {
		return nil, true, nil
	}
	base, intact, err := readBase(x.dir, x.about.Bases[x.about.Likely])
	return base, !intact, err
}

// removeScratch removes the file itself last: as long as it is there, its watermark is kept.
func removeScratch(dir vfs.Dir, n string) {
	names, err := dir.Names()
	if err != nil {
		return
	}
	for _, name := range names {
		if strings.HasPrefix(name, n+".") && name != n+scratchSuffix {
			_ = dir.Remove(name)
		}
	}
	_ = dir.Remove(n + scratchSuffix)
}

// sweepSessions removes scratch files that are in the target for good, and the directories of dead supervisors when
// nothing in them is pending.
func (f *fold) sweepSessions() error {
	for _, p := range f.pending {
		if p.from.scratch == nil || p.from.stuck {
			continue
		}
		for _, sd := range f.sessions {
			if sd.dir == p.from.scratch.dir {
				sd.spent = append(sd.spent, p.from.scratch.n)
			}
		}
	}
	for _, sd := range f.sessions {
		for _, n := range sd.spent {
			removeScratch(sd.dir, n) // not synced: its watermark is kept until that is, see syncRemovals
			f.g.session.forget(sd.id + "." + n)
		}
		if sd.live {
			continue
		}
		names, err := sd.dir.Names()
		if isMissing(err) {
			continue
		}
		if err != nil {
			return err
		}
		pending := false
		for _, name := range names {
			pending = pending || strings.HasSuffix(name, scratchSuffix)
		}
		if pending { // a program outlives its supervisor, or who may not write the target wrote
			continue
		}
		if err := vfs.RemoveAll(f.s.views, sd.id); err != nil {
			return err
		}
		if err := f.s.views.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// sweepUnbornSessions removes directories whose supervisor died before they got their name.
func (f *fold) sweepUnbornSessions() error {
	names, err := f.s.views.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, "."+sessionPrefix) {
			continue
		}
		f.removeUnborn(name)
	}
	return nil
}

// removeUnborn holds the owner's lock until the directory is gone: its supervisor may be about to take it, and makes another then. One
// that had it later would have a directory that is taken to pieces.
func (f *fold) removeUnborn(name string) {
	dir, err := f.s.views.OpenDir(name)
	if err != nil {
		return
	}
	defer dir.Close()
	owner, err := dir.OpenFile(ownerName, os.O_RDONLY, 0)
	if isMissing(err) {
		// The owner is the first that is in it: it is empty, or being made, or a power cut took the owner and left others.
		if names, err := dir.Names(); err == nil && len(names) > 0 && !slices.Contains(names, ownerName) {
			_ = vfs.RemoveAll(f.s.views, name)
		}
		_ = f.s.views.Remove(name)
		return
	}
	if err != nil {
		return
	}
	defer owner.Close()
	if free, err := owner.TryLock(); err == nil && free {
		_ = vfs.RemoveAll(f.s.views, name)
	}
}

// forgetAtOnce is how many scratch files that were removed keep their watermark, until all of these are forgotten: to sync
// the directories of many sessions for each fold costs more than the fold does.
const forgetAtOnce = 64

// syncRemovals makes the removal of sidecars durable whose watermark is about to be forgotten: one that a power cut
// brought back without its watermark would be applied again.
func (f *fold) syncRemovals() error {
	var removed []string
	for id := range f.marks {
		if _, _, scratch := sessionOf(id); scratch && f.after[id] == 0 {
			removed = append(removed, id)
		}
	}
	if len(removed) < f.g.forgetFrom {
		for _, id := range removed {
			f.after[id] = f.marks[id]
		}
	}
	synced := map[string]bool{}
	for id := range f.marks {
		if _, kept := f.after[id]; kept {
			continue
		}
		place, dir := pendingName, f.s.pending
		if session, _, ok := sessionOf(id); ok {
			place, dir = viewsName, f.s.views
			if i := f.sessionDir(session); i != nil {
				place, dir = session, i.dir
			}
		}
		if synced[place] {
			continue
		}
		synced[place] = true
		if err := dir.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func (f *fold) sessionDir(id string) *sessionDir {
	for _, sd := range f.sessions {
		if sd.id == id {
			return sd
		}
	}
	return nil
}

// appendLines adds the lines of a program that only appends, byte for byte; the last one may lack its end.
func appendLines(block, lines []byte) []byte {
	block = append(block, lines...)
	if n := len(block); n > 0 && block[n-1] != '\n' {
		block = append(block, '\n')
	}
	return block
}

// anyScratch looks for scratch files without a lock; they may be open, or folded already.
func (s *store) anyScratch() bool {
	names, err := s.views.Names()
	if err != nil {
		return true
	}
	for _, id := range names {
		if !strings.HasPrefix(id, sessionPrefix) {
			continue
		}
		dir, err := s.views.OpenDir(id)
		if err != nil {
			if isMissing(err) {
				continue
			}
			return true
		}
		files, err := dir.Names()
		_ = dir.Close()
		if err != nil && !isMissing(err) || slices.ContainsFunc(files, func(name string) bool { return strings.HasSuffix(name, scratchSuffix) }) {
			return true
		}
	}
	return false
}
