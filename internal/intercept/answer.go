//go:build linux && (amd64 || arm64)

package intercept

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// notification is a call of interest while somebody works on its answer.
type notification struct {
	s    *supervisor
	call seccompNotif
	task *task
	mem  memory

	begins bool // see receiver

	mu     sync.Mutex
	cancel context.CancelCauseFunc
	ctx    context.Context
}

// answer looks at a call closely, asks the handler if it is of interest, and answers.
func (s *supervisor) answer(call seccompNotif, begins bool) {
	n := &notification{s: s, call: call, begins: begins}
	defer n.end()
	result, err := n.decide()
	switch e, isErrno := errnoOf(err); {
	case err == nil:
		s.listener.send(seccompResponse{id: call.id, value: int64(result)})
	case errors.Is(err, Continue):
		s.listener.passOn(call.id)
	case errors.Is(err, Interrupted):
		s.listener.send(seccompResponse{id: call.id, error: -errRestart})
	case isErrno:
		s.listener.send(seccompResponse{id: call.id, error: -int32(e)})
	default:
		s.fail("answer "+meaningOf(&call.data).op.String(), err)
		s.listener.send(seccompResponse{id: call.id, error: -int32(unix.EIO)})
	}
}

// decide returns what the call is to return, or an error as a handler's.
func (n *notification) decide() (int, error) {
	_, err := n.patiently(func() (_ int, err error) {
		n.task, err = readTask(int(n.call.pid))
		return 0, err
	})
	if err != nil {
		return 0, n.unseen(err)
	}
	if n.s.handler.Exempt(n.task.tgid) {
		return 0, Continue
	}
	if c := &n.task.credentials; c.capabilities != 0 {
		// In a user namespace of its own they count inside only. One that we may not look at is such a one.
		if ns, err := userNamespace(n.task.tid); err != nil || ns != n.s.userNamespace {
			c.capabilities = 0
		}
	}
	m := meaningOf(&n.call.data)
	if m.descriptor() {
		return 0, n.decideDescriptor(m)
	}
	if n.begins {
		if err := n.catchUp(true); err != nil {
			return 0, err
		}
	}
	places, err := n.places(m)
	defer func() {
		for _, p := range places {
			p.close()
		}
	}()
	if err != nil {
		return 0, n.unresolved(err)
	}
	interest := false
	for _, p := range places {
		if p.Object == nil && (m.op == opRemove || m.op == opRmdir) {
			interest = true
		}
		if n.s.interested(p) {
			interest = true
			if m.op == opLink || len(p.Via) > 0 || !n.s.handler.Named(lastOf(p.Given)) {
				n.s.aliases.Store(true)
			}
		}
	}
	var text string
	if m.op == opSymlink {
		if text, err = n.text(m.text); err != nil {
			return 0, Continue
		}
		if n.s.handler.Named(lastOf(text)) {
			n.s.aliases.Store(true)
		}
	}
	if !interest {
		if m.writes(&n.call.data) && n.s.handler.Pending() {
			if err := n.catchUp(false); err != nil {
				return 0, err
			}
		}
		return 0, Continue
	}
	// What was read is the caller's only if it still waits: else another process may have got its number.
	if !n.alive() {
		return 0, Continue
	}
	c, err := n.prepare()
	if err != nil {
		return 0, err
	}
	return n.ask(c, m, places, text)
}

func (s *supervisor) interested(p *Place) bool {
	return p.Name != "" && s.handler.Named(p.Name) ||
		p.Object != nil && s.handler.Known(p.ID) ||
		s.handler.Named(lastOf(p.Given)) ||
		p.Name == "" && s.handler.Named(strings.TrimSuffix(lastOf(p.Path), deleted))
}

// deleted is what the kernel appends to the path of a file that has no name any more (d_path in fs/d_path.c).
const deleted = " (deleted)"

// lastOf is the last component of a path.
func lastOf(path string) string {
	path = strings.TrimRight(path, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}

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

// errOpaque: a process that we may not look into.
var errOpaque = errors.New("its memory cannot be read: it is not dumpable, or its executable is not readable")

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

// prepare makes the call ready for the handler: everything that happened before it has been told.
func (n *notification) prepare() (*Call, error) {
	n.s.drain()
	var p *Process
	_, err := n.patiently(func() (_ int, err error) {
		p, err = n.s.processes.before(n.task)
		return 0, err
	})
	if err != nil {
		return nil, n.unseen(err)
	}
	return &Call{Supervisor: n.s.public, Process: p, TID: n.task.tid, n: n}, nil
}

// catchUp tells the handler of a call that only waits for what is due.
func (n *notification) catchUp(begins bool) error {
	if !n.alive() {
		return Continue
	}
	c, err := n.prepare()
	if err != nil {
		return err
	}
	n.s.handler.Behind(c, begins)
	return nil
}

func (n *notification) ask(c *Call, m meaning, places []*Place, text string) (int, error) {
	d, h := &n.call.data, n.s.handler
	switch m.op {
	case opOpen, opCreat, opOpen2:
		how := OpenHow{Flags: unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC, Mode: uint32(d.args[m.arg])}
		switch m.op {
		case opOpen:
			how = OpenHow{Flags: int(int32(d.args[m.arg])), Mode: uint32(d.args[m.arg+1])}
		case opOpen2:
			var err error
			if how, _, err = n.openHow2(); err != nil {
				return 0, Continue
			}
		}
		f, err := h.Open(c, places[0], how)
		if err != nil {
			return 0, err
		}
		if f == nil {
			return 0, errors.New("the handler gave no file")
		}
		return n.give(f, -1, how.Flags&unix.O_CLOEXEC != 0)
	case opRename:
		var flags uint
		if m.arg != none {
			flags = uint(d.args[m.arg])
		}
		return 0, h.Rename(c, places[0], places[1], flags)
	case opRemove:
		directory := m.arg != none && d.args[m.arg]&unix.AT_REMOVEDIR != 0
		return 0, h.Remove(c, places[0], directory)
	case opRmdir:
		return 0, h.Remove(c, places[0], true)
	case opLink:
		return 0, h.Link(c, places[0], places[1])
	case opSymlink:
		return 0, h.Symlink(c, text, places[0])
	case opTouch:
		return 0, h.Touch(c, places[0])
	case opStat:
		shown, err := h.Stat(c, places[0])
		if shown == nil {
			return 0, err
		}
		defer shown.Close()
		if m.buffer == none { // access(2)
			if places[0].Object != nil {
				return 0, Continue
			}
			return 0, nil
		}
		return 0, n.show(m, shown, ID{})
	case opTruncate:
		return 0, h.Truncate(c, places[0], int64(d.args[m.arg]))
	}
	return 0, Continue
}

// give injects f and closes it here, before the caller goes on: else its close would not be the last one.
func (n *notification) give(f *os.File, at int, cloexec bool) (int, error) {
	number, e := n.s.listener.inject(n.call.id, int(f.Fd()), at, cloexec)
	if err := f.Close(); err != nil {
		return 0, err
	}
	switch e {
	case 0:
		return number, nil
	case unix.ENOENT:
		return 0, Continue // killed
	}
	return 0, e
}

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

func (n *notification) alive() bool { return n.s.listener.valid(n.call.id) }

func (n *notification) credentials() (Credentials, error) { return n.task.credentials, nil }

func (n *notification) swap(fd int, f *os.File) error {
	_, err := n.give(f, fd, n.task.closesOnExec(fd))
	return err
}

// lookAgain is how often a waiting call's caller is looked at.
const lookAgain = 5 * time.Millisecond

func (n *notification) context() context.Context {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx == nil {
		n.ctx, n.cancel = context.WithCancelCause(context.Background())
		go n.watch(n.ctx, n.cancel)
	}
	return n.ctx
}

func (n *notification) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(lookAgain):
		}
		if !n.alive() {
			cancel(context.Canceled)
			return
		}
		if t, err := readTask(n.task.tid); err == nil && t.interrupted() {
			cancel(Interrupted)
			return
		}
	}
}

func (n *notification) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cancel != nil {
		n.cancel(context.Canceled)
	}
}

func (o op) String() string {
	return [...]string{"a call", "open", "openat2", "creat", "rename", "unlink", "rmdir", "link", "symlink", "truncate", "chmod",
		"flock", "fcntl", "fsync", "stat", "fstat", "a change of root"}[o]
}
