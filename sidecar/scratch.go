package sidecar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	unknown bool // from what it was made
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
	f.lastParts = lastPartsIn(f.marks)
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
		f.keepLastPart(sidecar)
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
		if wholeHas(sd.dir, n, names) {
			return nil // it is taken from there
		}
		// A power cut took what is known of it: from what its content was made, nobody can say any more.
		if x.content, err = readFrom(file, 0); err != nil {
			return err
		}
		x.content, x.unknown = bytes.Trim(x.content, "\x00"), true
		return f.keepTornScratch(sd, x, names)
	}
	if err != nil {
		return err
	}
	sc := &sidecarFile{name: sd.id + "." + n, readJournal: readJournal{header: x.about.header}, scratch: x}
	leaveTimes(vfs.OSFile(file))
	x.about.withoutUnread(file, f.g.boot)
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
		if torn && wholeHas(sd.dir, n, names) {
			return nil // it is taken from there
		}
		if lost := f.lostParts(sd.dir, sc.name, x, names); len(lost) > 0 {
			return f.collectWithLostParts(sd, sc, l, lost, torn, file, names)
		}
	}
	switch {
	case sd.live && (torn || rewrite):
		return nil // its supervisor knows whether there is more to come
	case torn:
		return f.keepTornScratch(sd, x, names)
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
	case x.about.Skip == 0:
		if x.whole, err = checkWhole(file, f.g.format); errors.Is(err, ErrTorn) {
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

// survived looks at a scratch file that was written before the machine was started again. Nothing of it was synced: its
// content may be an earlier one, or sectors of several, what it was made from may be lost, and what is known of it may be what was
// known before a part was taken out, which is in the target by now or about to be. Lines behind a hole are whole or not there; of a part
// it is known what they were.
func (f *fold) survived(sidecar string, x *scratchFile, names []string) (bool, error) {
	if x.about.Skip > 0 {
		last, err := f.lastPart(sidecar, x.n, names)
		same := x.about.Hash == contentHash(x.content)
		if x.about.Hash == "" { // of a part it is what was known before: lostParts does not believe it either
			same = !wholeHas(x.dir, x.n, names)
		}
		return last <= x.about.Parts && same, err
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

// readBase reads what a scratch file was made from; not intact: a power cut took it, or a part of it.
func readBase(dir vfs.Dir, name string) (base []byte, intact bool, err error) {
	base, err = readFile(dir, name)
	return base, err == nil && strings.HasSuffix(name, "."+contentHash(base)), ignoreMissing(err)
}

// scratches lists the scratch files of all sessions, by their sidecars. It takes no lock: they may be open, or folded already.
func (s *store) scratches() (sidecars []string, err error) {
	names, err := s.views.Names()
	if err != nil {
		return nil, err
	}
	for _, id := range names {
		if !strings.HasPrefix(id, sessionPrefix) {
			continue
		}
		dir, err := s.views.OpenDir(id)
		if err == nil {
			var found []string
			found, err = scratchesIn(dir, id)
			_ = dir.Close()
			sidecars = append(sidecars, found...)
		}
		if err != nil && !isMissing(err) { // else the session has ended
			return nil, err
		}
	}
	return sidecars, nil
}

// scratchesIn lists those in the directory of one session.
func scratchesIn(dir vfs.Dir, session string) (sidecars []string, err error) {
	names, err := dir.Names()
	for _, name := range names {
		if n, ok := strings.CutSuffix(name, scratchSuffix); ok {
			sidecars = append(sidecars, session+"."+n)
		}
	}
	return sidecars, err
}

// anythingPending looks without a lock, and says yes where it cannot tell.
func (s *store) anythingPending() bool {
	names, err := s.pending.Names()
	return err != nil || len(names) > 0 || s.anyScratch()
}

func (s *store) anyScratch() bool {
	sidecars, err := s.scratches()
	return err != nil || len(sidecars) > 0
}
