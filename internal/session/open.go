//go:build linux

package session

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
)

// caller is what is needed of a *intercept.Call.
type caller struct {
	process *intercept.Process
	tid     int
	as      func(func() error) error
	ctx     func() context.Context
	swap    func(fd int, f *os.File) error
	creds   func() (intercept.Credentials, error)
	ended   func() bool
}

// begin comes before what a call does to the target, behind everything that may wait. A process that was killed meanwhile has had its end
// told: what it would leave now, nobody would ever say of how that came. An emptied file would count as meant.
func (t *target) begin(c *caller) error {
	if c.ended != nil && c.ended() {
		return unix.EINTR // which nobody sees
	}
	t.starting(c.process)
	return nil
}

func (t *Tree) callerOf(c *intercept.Call) *caller {
	t.super.Store(c.Supervisor)
	return &caller{c.Process, c.TID, c.As, c.Context, c.Swap, c.Credentials, c.Process.Ended}
}

// Open gives a reader an immutable snapshot, and a writer a scratch file of its own.
func (t *Tree) Open(c *intercept.Call, p *intercept.Place, how intercept.OpenHow) (*os.File, error) {
	return t.open(t.callerOf(c), p, how)
}

func (t *Tree) open(c *caller, p *intercept.Place, how intercept.OpenHow) (*os.File, error) {
	const other = unix.O_PATH | unix.O_DIRECTORY
	const tmpfile = unix.O_TMPFILE &^ unix.O_DIRECTORY
	if p.Object != nil && p.Mode&unix.S_IFMT == unix.S_IFDIR {
		t.listing(p)
	}
	if how.Flags&(other|tmpfile) != 0 || p.Object != nil && p.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, intercept.Continue
	}
	if t.scratch(p.ID) != nil {
		return nil, intercept.Continue // a writer's own, again, through /proc
	}
	if again := t.meant(p); again != nil {
		defer again.Close()
		p = &again.Place
	}
	x := t.target(p)
	if x == nil {
		if how.Write() && t.Pending() {
			t.behind(c.process, false)
		}
		return t.openTemp(c, p, how)
	}
	x.mu.Lock()
	defer x.unlock()
	x.settleEndings()
	x.lookForOtherWrites(p)
	if err := x.begin(c); err != nil {
		return nil, err
	}
	if now := x.there(p); now != nil {
		defer now.Close()
		p = &now.Place
	}
	x.knowLinks(p)
	open := x.openRead
	if how.Write() {
		open = x.openWrite
	}
	f, err := open(c, p, how)
	if err == nil {
		x.gave(c.process, f)
	}
	return f, err
}

// openAt opens the place itself, as the caller would.
func openAt(c *caller, p *intercept.Place, flags int, mode uint32) (f *os.File, err error) {
	err = c.as(func() error {
		fd, err := unix.Openat(int(p.Dir.Fd()), p.Name, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, mode)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), p.Path)
		return nil
	})
	return f, err
}

// permitted asks whether the caller may write the place, or make it.
func permitted(c *caller, p *intercept.Place, exists bool) error {
	return permittedTo(c, p, exists, unix.W_OK)
}

// permittedTo is permitted for what it may do with the file that is there: W_OK, R_OK.
func permittedTo(c *caller, p *intercept.Place, exists bool, what uint32) error {
	return c.as(func() error {
		if exists {
			return unix.Faccessat2(int(p.Dir.Fd()), p.Name, what, unix.AT_EACCESS|unix.AT_SYMLINK_NOFOLLOW)
		}
		return unix.Faccessat2(int(p.Dir.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	})
}
