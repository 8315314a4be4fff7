//go:build linux && (amd64 || arm64)

package intercept

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// text reads a path of the caller.
func (n *notification) text(index int8) (string, error) {
	raw, err := n.mem.path(n.task.tid, n.call.data.args[index], make([]byte, pathMax))
	return string(raw), err
}

// unresolved: the kernel is about to fail in the same way, unless it is us who cannot look.
func (n *notification) unresolved(err error) error {
	switch {
	case scarce(err), errors.Is(err, unix.ENOMEM):
		return n.unseen(err)
	case errors.Is(err, errAssume):
		n.s.fail("look at a path", err)
		return unix.EACCES
	case errors.Is(err, errOpaque):
		if n.alive() && !n.s.handler.Unguarded(n.s.processes.find(n.task), err) {
			_ = unix.Kill(n.task.tgid, unix.SIGKILL)
			return unix.EPERM
		}
	}
	return Continue
}

// unseen: we could not look at the caller. Unless it is gone, and nobody gets the answer, its call must not pass.
func (n *notification) unseen(err error) error {
	if !n.alive() {
		return Continue
	}
	n.s.fail("look at a caller", err)
	return unix.ENFILE
}

func scarce(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// places resolves the paths of a call, as the caller.
func (n *notification) places(m meaning) ([]*Place, error) {
	d := &n.call.data
	type end struct {
		text   string
		start  int
		follow bool
	}
	var ends []end
	root, err := n.patiently(func() (int, error) { return n.task.open("root") })
	if err != nil {
		return nil, opaque(err)
	}
	defer unix.Close(root)
	how, follow := OpenHow{}, m.follows(d)
	var resolve uint64
	if m.op == opOpen2 {
		if how, resolve, err = n.openHow2(); err != nil {
			return nil, err
		}
		const exclusive = unix.O_CREAT | unix.O_EXCL
		follow = how.Flags&unix.O_NOFOLLOW == 0 && how.Flags&exclusive != exclusive
	}
	add := func(dir, path int8, follow bool) error {
		text, err := n.text(path)
		if err != nil {
			return opaque(err)
		}
		start := -1
		if !strings.HasPrefix(text, "/") || resolve&unix.RESOLVE_IN_ROOT != 0 {
			if start, err = n.patiently(func() (int, error) { return n.task.start(dirOf(d, dir)) }); err != nil {
				return opaque(err)
			}
		}
		ends = append(ends, end{text, start, follow})
		return nil
	}
	defer func() {
		for _, e := range ends {
			if e.start >= 0 {
				unix.Close(e.start)
			}
		}
	}()
	if err := add(m.dir, m.path, follow); err != nil {
		return nil, err
	}
	if m.two() {
		if err := add(m.dir2, m.path2, false); err != nil {
			return nil, err
		}
	}
	var places []*Place
	err = n.as(func() error {
		for _, e := range ends {
			if resolve != 0 {
				if err := permitted(root, e.start, e.text, how, resolve); err != nil {
					return err
				}
			}
			walkRoot := root
			if resolve&unix.RESOLVE_IN_ROOT != 0 && e.start >= 0 {
				walkRoot = e.start
			}
			p, err := n.resolve(walkRoot, e.start, e.text, e.follow)
			if err != nil {
				return err
			}
			places = append(places, p)
		}
		return nil
	})
	return places, err
}

func (n *notification) resolve(root, start int, text string, follow bool) (p *Place, err error) {
	_, err = n.patiently(func() (int, error) {
		p, err = n.task.resolve(root, start, text, follow)
		return 0, err
	})
	return p, err
}

// patiently waits a while for descriptors of ours to become free.
func (n *notification) patiently(fn func() (int, error)) (int, error) {
	const patience, step = 2 * time.Second, 5 * time.Millisecond
	for waited := time.Duration(0); ; waited += step {
		r, err := fn()
		if !scarce(err) || waited > patience || !n.alive() {
			return r, err
		}
		time.Sleep(step)
	}
}

func opaque(err error) error {
	if err == unix.EPERM || err == unix.EACCES {
		return errOpaque
	}
	return err
}

// permitted asks the kernel whether openat2's restrictions let the path pass.
func permitted(root, start int, text string, how OpenHow, resolve uint64) error {
	if start < 0 {
		start = root
	}
	h := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC | uint64(how.Flags&unix.O_NOFOLLOW), Resolve: resolve}
	fd, err := unix.Openat2(start, text, &h)
	if err == unix.ENOENT && how.Flags&unix.O_CREAT != 0 {
		return nil
	}
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// openHow2 reads openat2's struct open_how. A larger one than we know is the kernel's to judge.
func (n *notification) openHow2() (OpenHow, uint64, error) {
	const size = 24
	buf := make([]byte, size)
	if n.call.data.args[3] < size {
		return OpenHow{}, 0, unix.EINVAL
	}
	if got, err := n.mem.read(n.task.tid, n.call.data.args[2], buf); err != nil || got < size {
		return OpenHow{}, 0, unix.EFAULT
	}
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(buf[8*i:]) }
	return OpenHow{Flags: int(word(0)), Mode: uint32(word(1))}, word(2), nil
}
