//go:build linux && (amd64 || arm64)

package intercept

import (
	"encoding/binary"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func (n *notification) decideDescriptor(m meaning) error {
	data := &n.call.data
	d := Descriptor{FD: int(int32(data.args[0]))}
	fd, err := n.patiently(func() (int, error) { return n.task.start(d.FD) })
	if err != nil {
		return n.unresolved(opaque(err))
	}
	d.Path = pathOf(fd)
	d.File = fileOf(fd, d.Path)
	defer d.File.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Continue
	}
	d.ID = idOf(&st)
	request, err := n.lockRequest(m)
	if err != nil {
		return Continue
	}
	if !n.alive() {
		return Continue
	}
	c, err := n.prepare()
	if err != nil {
		return err
	}
	switch m.op {
	case opSync:
		return n.s.handler.Sync(c, d)
	case opFstat:
		return n.showAs(m, d, n.s.handler.Identity(c, d))
	}
	return n.s.handler.Lock(c, d, request)
}

// showAs answers fstat(2) with another identity than the descriptor's own.
func (n *notification) showAs(m meaning, d Descriptor, id ID) error {
	data := &n.call.data
	if m.path != none { // with AT_EMPTY_PATH a path may be empty, or no path at all; another one is looked up
		if address := data.args[m.path]; address != 0 {
			if text, err := n.text(m.path); err != nil || text != "" {
				return Continue
			}
		}
	}
	if id == (ID{}) || m.buffer == none {
		return Continue
	}
	return n.show(m, d.File, id)
}

// show answers stat(2) with what a file of ours is, and with another identity if that is not zero.
func (n *notification) show(m meaning, f *os.File, id ID) error {
	data := &n.call.data
	var answer []byte
	if data.number == unix.SYS_STATX {
		var st unix.Statx_t
		if err := unix.Statx(int(f.Fd()), "", int(int32(data.args[m.arg]))|unix.AT_EMPTY_PATH, int(data.args[3]), &st); err != nil {
			return Continue
		}
		if id == (ID{}) {
			id = idOfStatx(&st)
		}
		st.Dev_major, st.Dev_minor, st.Ino = unix.Major(id.Dev), unix.Minor(id.Dev), id.Ino
		answer = bytesOf(&st)
	} else {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return Continue
		}
		if id == (ID{}) {
			id = idOf(&st)
		}
		st.Dev, st.Ino = id.Dev, id.Ino
		answer = bytesOf(&st)
	}
	if !n.alive() {
		return Continue
	}
	return n.mem.write(n.task.tid, data.args[m.buffer], answer)
}

// lockRequest reads what flock or fcntl asks for.
func (n *notification) lockRequest(m meaning) (LockRequest, error) {
	data := &n.call.data
	switch m.op {
	case opFlock:
		how := int(data.args[1])
		r := LockRequest{Kind: Flock, Wait: how&unix.LOCK_NB == 0}
		switch how &^ unix.LOCK_NB {
		case unix.LOCK_EX:
			r.Exclusive = true
		case unix.LOCK_SH:
		case unix.LOCK_UN:
			r.Unlock = true
		default:
			return r, unix.EINVAL
		}
		return r, nil
	case opFcntl:
		r := LockRequest{Kind: Record}
		switch data.args[1] {
		case unix.F_OFD_SETLK:
			r.Kind = OFD
		case unix.F_OFD_SETLKW:
			r.Kind, r.Wait = OFD, true
		case unix.F_SETLKW:
			r.Wait = true
		}
		buf := make([]byte, 32) // struct flock: short type, short whence, 4 bytes of padding, off_t start, len, pid
		if got, err := n.mem.read(n.task.tid, data.args[2], buf); err != nil || got < len(buf) {
			return r, unix.EFAULT
		}
		switch int16(binary.NativeEndian.Uint16(buf)) {
		case unix.F_WRLCK:
			r.Exclusive = true
		case unix.F_RDLCK:
		case unix.F_UNLCK:
			r.Unlock = true
		default:
			return r, unix.EINVAL
		}
		r.Start, r.Len = int64(binary.NativeEndian.Uint64(buf[8:])), int64(binary.NativeEndian.Uint64(buf[16:]))
		return n.fromBeginning(r, int16(binary.NativeEndian.Uint16(buf[2:])))
	}
	return LockRequest{}, nil
}

// fromBeginning makes a range absolute.
func (n *notification) fromBeginning(r LockRequest, whence int16) (LockRequest, error) {
	fd := int(int32(n.call.data.args[0]))
	switch int(whence) {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		offset, err := n.task.offset(fd)
		if err != nil {
			return r, err
		}
		r.Start += offset
	case unix.SEEK_END:
		var st unix.Stat_t
		if err := unix.Stat(procPath(n.task.tid, "fd/"+strconv.Itoa(fd)), &st); err != nil {
			return r, err
		}
		r.Start += st.Size
	default:
		return r, unix.EINVAL
	}
	if r.Len < 0 { // the bytes before
		r.Start, r.Len = r.Start+r.Len, -r.Len
	}
	if r.Start < 0 || r.Start > math.MaxInt64-r.Len {
		return r, unix.EINVAL
	}
	return r, nil
}

func (n *notification) swap(fd int, f *os.File) error {
	_, err := n.give(f, fd, n.task.closesOnExec(fd))
	return err
}
