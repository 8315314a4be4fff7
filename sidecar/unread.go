package sidecar

import (
	"os"
	"time"

	"jsonguard/internal/vfs"
)

// A program that opens the target for reading and writing finds the current version, and need not look at it: what it writes over it
// may be made of one that it read before. Where both say the same of it but for a number that is counted on, only this tells: a scratch
// file begins with an access time and a write time that it cannot get by being used.

// marked is the time of both.
func (a *about) marked() time.Time { return a.Since.Add(-time.Second) }

// mark gives a new scratch file its times, and finds out whether reading changes one of them here (noatime). Else what was found
// counts as read.
func (s *Session) mark(x *Scratch, name string, file *os.File) error {
	if x.about.Unread == 0 {
		return nil
	}
	at := x.about.marked()
	if file != nil && setTimes(file, at) == nil && s.readingShows(name, file, at) && setTimes(file, at) == nil {
		return nil
	}
	x.about.Unread = 0
	return s.writeAbout(x)
}

func (s *Session) readingShows(name string, file *os.File, at time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tells == nil {
		tells := s.seesReading(name, file, at)
		s.tells = &tells
	}
	return *s.tells
}

// seesReading tries it.
func (s *Session) seesReading(name string, file *os.File, at time.Time) bool {
	if accessed, written, err := timesOf(file); err != nil || !accessed.Equal(at) || !written.Equal(at) {
		return false // kept in seconds
	}
	f, err := s.dir.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	if _, err := f.ReadAt(make([]byte, 1), 0); err != nil {
		return false
	}
	accessed, _, err := timesOf(file)
	return err == nil && !accessed.Equal(at)
}

// unread says whether a scratch file was written and what it began with was not read.
func (a *about) unread(file *os.File) bool {
	if a.Unread == 0 || file == nil {
		return false
	}
	accessed, written, err := timesOf(file)
	return err == nil && accessed.Equal(a.marked()) && !written.Equal(a.marked())
}

// withoutUnread leaves out of what a closed scratch file may be made from what its program did not read. It has to be asked before
// anybody else reads the file. After a power cut times may be older than what they tell of.
func (a *about) withoutUnread(file vfs.File, boot string) {
	if a.Boot != boot || !a.unread(vfs.OSFile(file)) {
		return
	}
	a.Bases, a.Likely, a.Unread = a.Bases[1:], a.Unread-1, 0
}

// Unread says whether the program wrote and did not read what it found: see [Bases]. f leads to the scratch file.
func (x *Scratch) Unread(f *os.File) bool { return x.about.unread(f) }

// TakeAsRead says that what the program found in the scratch file it has read, or may read elsewhere.
func (x *Scratch) TakeAsRead() error {
	if x.about.Unread == 0 {
		return nil
	}
	err := x.amend(nil, func(a *about) { a.Unread = 0 })
	if isMissing(err) {
		return nil
	}
	return x.s.g.fail("note what was read", err, "")
}
