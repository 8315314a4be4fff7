//go:build linux

package session

import (
	"os"
	"slices"

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
	x := t.beside(p)
	if x == nil {
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
	x.mu.Lock()
	defer x.unlock()
	made := privateTemp{place{p.DirID, p.Name}, c.process, reader, intercept.ID{Dev: st.Dev, Ino: st.Ino}}
	if old := x.privateTempOf(c, p); old != nil {
		x.dropTemp(old)
	}
	x.temps = append(x.temps, made)
	return f, nil
}

// readTemp gives a reader what its own side wrote behind the name, where that is another's by now.
func (t *Tree) readTemp(c *caller, p *intercept.Place) (*os.File, error) {
	x := t.beside(p)
	if x == nil {
		return nil, intercept.Continue
	}
	x.mu.Lock()
	defer x.unlock()
	temp := x.privateTempOf(c, p)
	if temp == nil || temp.id == p.ID {
		return nil, intercept.Continue
	}
	return os.Open(procPath(temp.file))
}

// beside finds a named target in the same directory. Where files are guessed, a lock file or a log is too easily met.
func (t *Tree) beside(p *intercept.Place) *target {
	for _, x := range t.all() {
		if x.key.dir == p.DirID && tempOf(p.Name, x.key.name) {
			return x
		}
	}
	return nil
}

// privateTempOf finds the caller's own file behind a name: the one that it made, or that was passed to it or an ancestor of
// its. In jq . f > t; mv t f; it is the shell's by then.
func (t *target) privateTempOf(c *caller, p *intercept.Place) *privateTemp {
	at := place{p.DirID, p.Name}
	for process := c.process; process != nil; process = process.Parent {
		for i := range t.temps {
			if t.temps[i].at == at && t.temps[i].process == process {
				return &t.temps[i]
			}
		}
	}
	return nil
}

// passTempsOf gives what a process made and did not rename to its parent, as long as that lives.
func (t *target) passTempsOf(p *intercept.Process) {
	heir := p.Parent
	if heir != nil && exiting(heir.PID, heir.Start) {
		heir = nil
	}
	passed := map[place]bool{}
	for _, x := range t.temps {
		passed[x.at] = passed[x.at] || x.process == p && heir != nil
	}
	t.temps = slices.DeleteFunc(t.temps, func(x privateTemp) bool {
		gone := x.process == p && heir == nil || x.process == heir && passed[x.at]
		if gone {
			_ = x.file.Close()
		}
		return gone
	})
	for i := range t.temps {
		if t.temps[i].process == p {
			t.temps[i].process = heir
		}
	}
}

// forgetTemp is told that the caller takes away what is behind a name, or, replaced, that something else will be there: what it made is
// its file no longer.
func (t *Tree) forgetTemp(c *caller, p *intercept.Place, replaced bool) {
	x := t.beside(p)
	if x == nil {
		return
	}
	x.mu.Lock()
	defer x.unlock()
	temp := x.privateTempOf(c, p)
	if temp == nil || !replaced && temp.id != p.ID {
		return
	}
	if writes, err := intercept.HasWriters(temp.file); temp.process != c.process && (err != nil || writes) {
		return // its parent's, which goes on with it
	}
	x.dropTemp(temp)
}

func (t *target) dropTemp(temp *privateTemp) {
	if temp == nil {
		return
	}
	_ = temp.file.Close()
	id := temp.id
	t.temps = slices.DeleteFunc(t.temps, func(x privateTemp) bool { return x.id == id })
}
