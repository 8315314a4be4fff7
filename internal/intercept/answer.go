//go:build linux && (amd64 || arm64)

package intercept

import (
	"cmp"
	"context"
	"errors"
	"os"
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
	if n.malformed(m) {
		return 0, Continue
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
		} else if p.Object == nil && strings.HasSuffix(p.Given, "/") {
			continue // only a directory can be made there
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

// errOpaque: a process that we may not look into.
var errOpaque = errors.New("its memory cannot be read: it is not dumpable, or its executable is not readable")

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
		// What an open does must not have been done when there is no number for it.
		if full, err := n.task.isFull(); err != nil || full {
			return 0, cmp.Or[error](err, unix.EMFILE)
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

func (n *notification) alive() bool { return n.s.listener.valid(n.call.id) }

func (n *notification) credentials() (Credentials, error) { return n.task.credentials, nil }

// firstLook and lastPause bound how often a waiting call's caller is looked at: less and less often, because each look wakes the
// supervisor, and sixteen callers in a queue would have it do nothing else.
const (
	firstLook = 5 * time.Millisecond
	lastPause = 100 * time.Millisecond
)

// looked is for a test that counts the looks.
var looked func()

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
	for pause := firstLook; ; pause = min(2*pause, lastPause) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if looked != nil {
			looked()
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
