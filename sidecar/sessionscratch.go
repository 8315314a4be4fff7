package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// Writer says who writes a scratch file, for the conflict log.
type Writer struct {
	PID     int
	Command string
}

// Scratch is a scratch file as its supervisor knows it.
type Scratch struct {
	s     *Session
	n     string
	about about
}

// ErrClosed: a scratch file has no writer any more. A fold takes all of it, or has already.
var ErrClosed = errors.New("the scratch file was closed")

// Create makes a scratch file with content for a program that opens the target for writing. flags are the access mode
// and O_APPEND. bases are what the program may have made its version from; with skip, which only a JSON Lines target may have, the file is a hole of that length to append to, and has no base.
//
// The returned file is the program's: it must be closed here once the program has its own descriptor of it, because its
// last close, by whomever, is what says that the version in it is complete. mode is what the program finds it has.
func (s *Session) Create(w Writer, flags int, mode fs.FileMode, content []byte, bases Bases, skip int64) (*Scratch, *os.File, error) {
	x, f, err := s.create(w, flags, mode, content, bases, skip)
	if err != nil {
		return nil, nil, err
	}
	file := vfs.OSFile(f)
	if file == nil {
		_ = f.Close()
		x.Discard()
		return nil, nil, s.g.fail("make scratch file", errors.ErrUnsupported, "")
	}
	return x, file, nil
}

// create is Create on any filesystem.
func (s *Session) create(w Writer, flags int, mode fs.FileMode, content []byte, bases Bases, skip int64) (*Scratch, vfs.File, error) {
	x, err := s.begin(newID(), w, bases, skip, false)
	if err != nil {
		return nil, nil, s.g.fail("make scratch file", err, "")
	}
	file, err := s.open(x, flags, mode, content)
	if err != nil {
		x.Discard()
		return nil, nil, s.g.fail("make scratch file", err, "")
	}
	return x, file, nil
}

// begin writes everything but the scratch file itself.
func (s *Session) begin(n string, w Writer, bases Bases, skip int64, additions bool) (*Scratch, error) {
	host, _ := os.Hostname()
	x := &Scratch{s: s, n: n}
	x.about = about{
		header:     header{Version: journalVersion, Host: host, Boot: s.g.boot, PID: w.PID, Command: w.Command, Since: time.Now().UTC()},
		Generation: s.generation(), Monotonic: monotonic(), Bases: []string{}, Likely: bases.Likely, Unread: bases.Unread, Skip: skip, Additions: additions,
	}
	x.about.ID = s.sidecar(x.n)
	for i, base := range bases.Versions {
		name, err := "", error(nil)
		prefix := fmt.Sprintf("%s%s%d", x.n, baseSuffix, i)
		if i < len(bases.Files) && bases.Files[i] != nil {
			name, err = s.copyBase(prefix, bases.Files[i])
		} else if base != nil {
			name = prefix + "." + contentHash(base)
			err = s.write(name, base)
		}
		if err != nil {
			return nil, err
		}
		x.about.Bases = append(x.about.Bases, name)
	}
	return x, s.writeAbout(x)
}

// write fills a file that nothing refers to yet. It is not synced: until the fold, a change is as safe as the program
// itself made it, and the fold syncs what it makes of it.
func (s *Session) write(name string, content []byte) error { return s.writeBehind(name, 0, content) }

// writeBehind puts content behind a hole.
func (s *Session) writeBehind(name string, hole int64, content []byte) error {
	f, err := s.dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, s.store.perm)
	if err != nil {
		return err
	}
	if err = f.Truncate(hole); err == nil {
		err = writeWhole(f, content, hole)
	}
	return errors.Join(err, f.Close())
}

func (s *Session) writeAbout(x *Scratch) error {
	object, err := json.Marshal(x.about)
	if err != nil {
		return err
	}
	name := x.n + aboutSuffix
	if err = s.write(name+unbornSuffix, sealed(object)); err == nil {
		err = s.dir.Rename(name+unbornSuffix, name)
	}
	if err != nil {
		_ = s.dir.Remove(name + unbornSuffix) // the next one needs the name
	}
	return err
}

// amend changes what is known of x, in one step: if that cannot be written, nothing has changed. The same step publishes part,
// which was taken out of what x holds (nil: nothing was): if we are killed behind it, the next fold gives the part its name.
func (x *Scratch) amend(part *Scratch, change func(*about)) error {
	before := x.about
	change(&x.about)
	if part != nil {
		x.about.Publishes = part.n
		x.about.Parts++
	}
	if err := x.s.writeAbout(x); err != nil {
		x.about = before
		part.discardPart()
		return err
	}
	if part == nil {
		return nil
	}
	return x.s.dir.Rename(part.n+unbornSuffix, part.n+scratchSuffix)
}

// discardPart takes back what was not published; there may be none.
func (x *Scratch) discardPart() {
	if x != nil {
		x.Discard()
	}
}

func (s *Session) open(x *Scratch, flags int, mode fs.FileMode, content []byte) (vfs.File, error) {
	hidden := x.n + unbornSuffix
	if err := s.writeBehind(hidden, x.about.Skip, content); err != nil {
		return nil, err
	}
	f, err := s.openForWriter(hidden, flags)
	if err != nil {
		return nil, err
	}
	err = func() error {
		_ = f.SetMode(mode) // for fstat(2); the program has its descriptor either way
		if err := s.mark(x, hidden, vfs.OSFile(f)); err != nil {
			return err
		}
		return s.dir.Rename(hidden, x.n+scratchSuffix)
	}()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// openForWriter opens a file as its program will have it: with the flock that says so.
func (s *Session) openForWriter(name string, flags int) (vfs.File, error) {
	const access = os.O_WRONLY | os.O_RDWR | os.O_APPEND
	f, err := s.dir.OpenFile(name, flags&access, 0)
	if err != nil {
		return nil, err
	}
	if free, err := f.TryLock(); err != nil || !free {
		return nil, errors.Join(err, fmt.Errorf("%w: %s is in use", ErrDamaged, name), f.Close())
	}
	return f, nil
}

// Adopt takes a file that a program has open for writing for a scratch file, which move gives the path that it gets. Its flock is
// the caller's, and to be given up when the program has closed it: until then it is not folded.
func (s *Session) Adopt(w Writer, bases Bases, move func(path string) error) (*Scratch, error) {
	x, err := s.begin(newID(), w, bases, 0, false)
	if err == nil {
		if err = move(filepath.Join(s.path, x.n+scratchSuffix)); err != nil {
			x.Discard()
		}
	}
	return x, s.g.fail("adopt", err, "")
}

// Stage writes content as a complete new version that a program wrote elsewhere. No fold takes it before Publish: the returned file,
// to read it by, has to be opened until then, because what is published may be folded, by anybody, and gone.
func (s *Session) Stage(w Writer, content []byte, bases Bases) (*Scratch, *os.File, error) {
	x, err := s.stage(newID(), w, content, bases, 0, false)
	if err != nil {
		return nil, nil, s.g.fail("publish", err, "")
	}
	f, err := s.dir.OpenFile(x.n+unbornSuffix, os.O_RDONLY, 0)
	if err != nil {
		x.Discard()
		return nil, nil, s.g.fail("publish", err, "")
	}
	return x, vfs.OSFile(f), nil
}

// Publish has the next fold take what was staged.
func (x *Scratch) Publish() error {
	err := x.s.dir.Rename(x.n+unbornSuffix, x.n+scratchSuffix)
	if err != nil {
		x.Discard()
	}
	return x.s.g.fail("publish", err, "")
}

// stage writes all of a version but its name, by which a fold knows it. additions: its writer is not done, so that nothing is
// deleted.
func (s *Session) stage(n string, w Writer, content []byte, bases Bases, skip int64, additions bool) (*Scratch, error) {
	x, err := s.begin(n, w, bases, skip, additions)
	if err != nil {
		return nil, err
	}
	x.about.Finished, x.about.Hash = true, contentHash(content)
	if err = s.writeAbout(x); err == nil {
		err = s.writeBehind(x.n+unbornSuffix, skip, content)
	}
	if err != nil {
		x.Discard()
		return nil, err
	}
	return x, nil
}

// nextPart is the name of what is taken out of x next. By its number it is seen after a power cut that an older note of what is
// known of x came back: see lastPart.
func (x *Scratch) nextPart() string { return nthPart(x.n, x.about.Parts+1) }

// Submit publishes what an open scratch file holds, and makes it, or what was added of it, the base of what its writer
// does from now on. No fold comes in between. additions: the writer may not be done, so that nothing is deleted yet. It
// returns which of bases the version was made from, and the new base. ErrTorn: it is not complete. ErrClosed: nothing was
// done.
func (x *Scratch) Submit(ctx context.Context, w Writer, content []byte, bases Bases, additions bool) (from int, base []byte, err error) {
	s := x.s
	if err := Complete(content, s.g.format); err != nil {
		return 0, nil, err
	}
	if len(bases.Versions) > 0 {
		from = bases.madeFrom(content, s.g)
		bases = Bases{Versions: bases.Versions[from : from+1]}
	}
	base = content
	if additions {
		var before []byte
		if len(bases.Versions) > 0 {
			before = bases.Versions[0]
		}
		if base, err = s.added(content, before); err != nil {
			return 0, nil, s.g.fail("submit", err, "")
		}
	}
	err = x.whileOpen(ctx, func() error {
		part, err := s.stage(x.nextPart(), w, content, bases, 0, additions)
		if err != nil {
			return err
		}
		return x.rebase(base, part)
	})
	return from, base, s.g.fail("submit", err, "")
}

// excluded runs fn while no fold is under way.
func (s *Session) excluded(ctx context.Context, fn func() error) error {
	held := &heldLocks{}
	if err := s.reader.lockStore(ctx, held, true, s.reader.deadline()); err != nil {
		return err
	}
	defer held.release()
	return fn()
}

// whileOpen is excluded for what needs x to have a writer: of one that was closed since its supervisor looked, all may be in
// the target by now, and a part of it would be there twice.
func (x *Scratch) whileOpen(ctx context.Context, fn func() error) error {
	return x.s.excluded(ctx, func() error {
		f, err := x.s.dir.OpenFile(x.n+scratchSuffix, os.O_RDONLY, 0)
		if isMissing(err) {
			return ErrClosed
		}
		if err != nil {
			return err
		}
		closed, err := f.TryLock() // as a fold asks
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if closed {
			return ErrClosed
		}
		return fn()
	})
}

// Appended publishes lines that a descriptor with a hole has appended, and moves the hole's end behind them: its writer
// goes on. ErrClosed: nothing was done.
func (x *Scratch) Appended(ctx context.Context, w Writer, lines []byte) error {
	err := x.whileOpen(ctx, func() error { return x.publishLines(w, lines) })
	return x.s.g.fail("publish", err, "")
}

// Salvage is Appended for the whole lines of a scratch file that was closed with a part of one at its end: no fold takes any of
// it as long as this supervisor lives.
func (x *Scratch) Salvage(ctx context.Context, w Writer, lines []byte) error {
	err := x.s.excluded(ctx, func() error { return x.publishLines(w, lines) })
	return x.s.g.fail("publish", err, "")
}

func (x *Scratch) publishLines(w Writer, lines []byte) error {
	part, err := x.s.stage(x.nextPart(), w, lines, Bases{}, x.about.Skip, false)
	if err != nil {
		return err
	}
	return x.amend(part, func(a *about) {
		a.Taken = append(x.stillThere(a.Taken), taken{a.Parts + 1, a.Skip, part.about.Generation, part.about.Monotonic})
		a.Skip += int64(len(lines))
		a.goOn(x.s)
	})
}

// goOn: what its writer does from now on comes behind what was published of it, and is in the target.
func (a *about) goOn(s *Session) { a.Generation, a.Monotonic = s.generation(), monotonic() }

// added is base with what content adds to it, counts included, and nothing of what it deletes or changes: what a fold of additions takes.
func (s *Session) added(content, base []byte) ([]byte, error) {
	change, err := s.g.changeOf(base, content, true)
	if err != nil {
		return nil, err
	}
	doc, err := merge.Parse(base, s.g.format)
	if err != nil {
		return nil, err
	}
	_, err = doc.Merge(change, s.g.Policy())
	return doc.Bytes(), err
}

// Quarantine keeps what a program renamed over the target and what cannot be merged, with the version it was made from, and
// returns its name.
func (s *Session) Quarantine(content, base []byte) (string, error) {
	return s.quarantine(s.sidecar(newID()), content, base)
}

// Quarantine is Session's for what a scratch file holds, which is then to be discarded: under the name that a fold gives it, if we are
// killed in between. Salvaged from two, its records would be added twice.
func (x *Scratch) Quarantine(content, base []byte) (string, error) {
	return x.s.quarantine(x.Sidecar(), content, base)
}

func (s *Session) quarantine(id string, content, base []byte) (string, error) {
	err := s.store.keepTornVersion(id, content, base, true)
	return id + tornSuffixName, s.g.fail("quarantine", err, "")
}

// Open opens the scratch file again, for reading. It is gone (fs.ErrNotExist) once it was folded.
func (x *Scratch) Open() (*os.File, error) {
	f, err := x.s.dir.OpenFile(x.n+scratchSuffix, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	file := vfs.OSFile(f)
	leaveTimes(file)
	return file, nil
}

// OpenBase opens what the scratch file is made from since Submit, for reading.
func (x *Scratch) OpenBase() (*os.File, error) {
	if len(x.about.Bases) != 1 || x.about.Bases[0] == "" {
		return nil, fs.ErrNotExist
	}
	f, err := x.s.dir.OpenFile(x.about.Bases[0], os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return vfs.OSFile(f), nil
}

// Sidecar is the name under which the change is known to the fold and in the conflict log.
func (x *Scratch) Sidecar() string { return x.s.sidecar(x.n) }

// Finish says that the writer of a JSON Lines rewrite closed its descriptor, which is not folded before: it may be the beginning
// of one. killed: it may still be, and deletes nothing.
func (x *Scratch) Finish(killed bool) error {
	if killed {
		x.s.forget(x.Sidecar()) // what was prepared for the other case
	}
	err := x.amend(nil, func(a *about) { a.Finished, a.Additions = true, killed })
	if isMissing(err) {
		return nil
	}
	return x.s.g.fail("finish", err, "")
}

// Refresh replaces what is in the scratch file, in place, and what it was made from: its program has a descriptor of it,
// and has not written yet. ErrClosed: nothing was done.
func (x *Scratch) Refresh(ctx context.Context, content []byte) error {
	err := x.whileOpen(ctx, func() error {
		f, err := x.s.dir.OpenFile(x.n+scratchSuffix, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err = f.Truncate(0); err == nil {
			_, err = f.WriteAt(content, 0)
		}
		return errors.Join(err, f.Close(), x.rebase(content, nil))
	})
	return x.s.g.fail("refresh scratch file", err, "")
}

// rebase makes base what x is made from, and publishes part in the same step: see amend.
func (x *Scratch) rebase(base []byte, part *Scratch) error {
	name := fmt.Sprintf("%s%s%d.%s", x.n, baseSuffix, monotonic(), contentHash(base))
	unused := x.about.Bases
	err := x.s.write(name, base)
	if err != nil {
		part.discardPart()
	} else {
		err = x.amend(part, func(a *about) {
			a.Bases, a.Likely, a.Unread = []string{name}, 0, 0
			a.goOn(x.s)
		})
	}
	if !slices.Contains(x.about.Bases, name) {
		unused = []string{name}
	}
	x.s.removeNames(unused)
	return err
}

// Discard removes the scratch file: it is not to be folded.
func (x *Scratch) Discard() {
	_ = x.s.dir.Remove(x.n + scratchSuffix)
	_ = x.s.dir.Remove(x.n + unbornSuffix)
	_ = x.s.dir.Remove(x.n + aboutSuffix)
	x.s.removeNames(x.about.Bases)
}

func (s *Session) removeNames(names []string) {
	for _, name := range names {
		if name != "" {
			_ = s.dir.Remove(name)
		}
	}
}
