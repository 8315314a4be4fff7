//go:build linux

package session

import (
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
)

// privateTemp is a file that a program will rename over the target: lowdb calls it .db.json.tmp in every process.
type privateTemp struct {
	at      place
	process *intercept.Process
	file    *os.File // for reading
	id      intercept.ID
}

// temps are those of a tree. Which target one is for, only the rename says: in one directory a name may look like several targets'.
type temps struct {
	mu  sync.Mutex
	all []*privateTemp
}

// openTemp gives each writer of a file whose name is like a target's, in the same directory, a new file behind that name:
// two processes that use one name for their temporary file would write into each other's.
func (t *Tree) openTemp(c *caller, p *intercept.Place, how intercept.OpenHow) (*os.File, error) {
	const fresh = unix.O_CREAT | unix.O_TRUNC
	if how.Flags&(unix.O_ACCMODE|fresh) == unix.O_RDONLY {
		return t.readTemp(c, p)
	}
	if p.Object == nil && how.Flags&unix.O_CREAT != 0 {
		t.forgetTemp(c, p, true)
	}
	if !how.Write() || how.Flags&fresh != fresh || how.Flags&unix.O_EXCL != 0 || p.Dir == nil || p.Links > 1 {
		return nil, intercept.Continue
	}
	if !t.isTemp(p) {
		return nil, intercept.Continue
	}
	mode, there := how.Mode, p.Object != nil
	if there { // it keeps the bits it has
		switch err := permitted(c, p, true); err {
		case nil:
			mode = p.Mode & 0o7777
		case unix.ENOENT: // another process's, which was renamed since: a new one is made
			there = false
		default:
			return nil, err
		}
	}
	if err := permitted(c, p, false); err != nil {
		return nil, intercept.Continue // no new file can be made: as without us
	}
	temp := tempName(p.Name)
	var f, reader *os.File
	err := c.as(func() error {
		dir := int(p.Dir.Fd())
		fd, err := unix.Openat(dir, temp, how.Flags&^unix.O_TRUNC|unix.O_EXCL|unix.O_CLOEXEC, mode)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), p.Path)
		if there {
			_ = unix.Fchmod(fd, mode)
		}
		if err := unix.Renameat(dir, temp, dir, p.Name); err != nil {
			_ = unix.Unlinkat(dir, temp, 0)
			return err
		}
		return nil
	})
	if err == nil {
		reader, err = os.Open(procPath(f))
	}
	if err != nil {
		if f != nil {
			_ = f.Close()
		}
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	t.temps.mu.Lock()
	defer t.temps.mu.Unlock()
	if old := t.temps.of(c, p); old != nil {
		t.temps.drop(old)
	}
	t.temps.all = append(t.temps.all, &privateTemp{place{p.DirID, p.Name}, c.process, reader, intercept.ID{Dev: st.Dev, Ino: st.Ino}})
	return f, nil
}

// readTemp gives a reader what its own side wrote behind the name, where that is another's by now.
func (t *Tree) readTemp(c *caller, p *intercept.Place) (*os.File, error) {
	t.temps.mu.Lock()
	defer t.temps.mu.Unlock()
	temp := t.temps.of(c, p)
	if temp == nil || temp.id == p.ID {
		return nil, intercept.Continue
	}
	return os.Open(procPath(temp.file))
}

// isTemp says whether a name looks like that of a temporary file of a target in the same directory.
func (t *Tree) isTemp(p *intercept.Place) bool {
	return slices.ContainsFunc(t.all(), func(x *target) bool { return x.key.dir == p.DirID && tempOf(p.Name, x.key.name) })
}

// of finds the caller's own file behind a name: the one that it made, or that was passed to it or an ancestor of its. In
// jq . f > t; mv t f; it is the shell's by then.
func (s *temps) of(c *caller, p *intercept.Place) *privateTemp {
	at := place{p.DirID, p.Name}
	for process := c.process; process != nil; process = process.Parent {
		for _, temp := range s.all {
			if temp.at == at && temp.process == process {
				return temp
			}
		}
	}
	return nil
}

// take is of, for who is about to rename it, and nobody else's until it is closed or given back.
func (s *temps) take(c *caller, p *intercept.Place) *privateTemp {
	s.mu.Lock()
	defer s.mu.Unlock()
	temp := s.of(c, p)
	s.remove(temp)
	return temp
}

// giveBack is for a rename that failed. Another thread may have made the file anew meanwhile.
func (s *temps) giveBack(temp *privateTemp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.all, func(x *privateTemp) bool { return x.at == temp.at && x.process == temp.process }) {
		_ = temp.file.Close()
		return
	}
	s.all = append(s.all, temp)
}

func (s *temps) drop(temp *privateTemp) {
	_ = temp.file.Close()
	s.remove(temp)
}

func (s *temps) remove(temp *privateTemp) {
	s.all = slices.DeleteFunc(s.all, func(x *privateTemp) bool { return x == temp })
}

// close is for the end of the tree.
func (s *temps) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, temp := range s.all {
		_ = temp.file.Close()
	}
	s.all = nil
}

// pass gives what a process made and did not rename to its parent, as long as that lives.
func (s *temps) pass(p *intercept.Process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heir := p.Parent
	if heir != nil && exiting(heir.PID, heir.Start) {
		heir = nil
	}
	passed := map[place]bool{}
	for _, x := range s.all {
		passed[x.at] = passed[x.at] || x.process == p && heir != nil
	}
	s.all = slices.DeleteFunc(s.all, func(x *privateTemp) bool {
		gone := x.process == p && heir == nil || x.process == heir && passed[x.at]
		if gone {
			_ = x.file.Close()
		}
		return gone
	})
	for _, x := range s.all {
		if x.process == p {
			x.process = heir
		}
	}
}

// forgetTemp is told that the caller takes away what is behind a name, or, replaced, that something else will be there: what it made is
// its file no longer.
func (t *Tree) forgetTemp(c *caller, p *intercept.Place, replaced bool) {
	t.temps.mu.Lock()
	defer t.temps.mu.Unlock()
	temp := t.temps.of(c, p)
	if temp == nil || !replaced && temp.id != p.ID {
		return
	}
	if writes, err := intercept.HasWriters(temp.file); temp.process != c.process && (err != nil || writes) {
		return // its parent's, which goes on with it
	}
	t.temps.drop(temp)
}
