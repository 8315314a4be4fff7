//go:build linux && (amd64 || arm64)

package intercept

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// scratchHandler guards one file the way the package is meant to be used: a reader gets the current version, a writer a
// scratch file of its own, and what it wrote replaces the file when its last descriptor is closed.
type scratchHandler struct {
	dir, name string
	scratches string // directory
	dirID     ID

	mu      sync.Mutex
	pending map[ID]*scratch
	log     []string
	count   atomic.Int64
	failed  atomic.Pointer[error]
	born    map[*Process]bool
	died    map[*Process]syscall.Signal

	// what a test puts in its place
	open      func(c *Call, p *Place, how OpenHow) (*os.File, error)
	lock      func(c *Call, d Descriptor, l LockRequest) error
	unguarded func(p *Process, why error) bool
	asked     func(p *Process, request []byte) ([]byte, error)
	published func(content []byte)
}

type scratch struct {
	path   string
	writer *Process

	supervisor *Supervisor
}

func newScratchHandler(t testing.TB) *scratchHandler {
	t.Helper()
	h, err := newScratchHandlerAt(sharedTemp(t), "guarded.json", sharedTemp(t))
	require.NoError(t, err)
	return h
}

func newScratchHandlerAt(dir, name, scratches string) (*scratchHandler, error) {
	h := &scratchHandler{dir: dir, name: name, scratches: scratches,
		pending: map[ID]*scratch{}, born: map[*Process]bool{}, died: map[*Process]syscall.Signal{}}
	var st unix.Stat_t
	err := unix.Stat(dir, &st)
	h.dirID = idOf(&st)
	return h, err
}

// sharedTemp is a temporary directory that everybody can reach and write.
func sharedTemp(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "intercept-test")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	dir, err = filepath.EvalSymlinks(dir)
	require.NoError(t, err)
	return dir
}

func realTemp(t testing.TB) string {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return dir
}

func (h *scratchHandler) target() string { return filepath.Join(h.dir, h.name) }

func (h *scratchHandler) note(format string, args ...any) {
	h.count.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

// logged returns what was asked so far.
func (h *scratchHandler) logged() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.log...)
}

func (h *scratchHandler) fail(err error) error {
	h.failed.CompareAndSwap(nil, &err)
	return err
}

func (h *scratchHandler) Named(name string) bool { return name == h.name }

func (h *scratchHandler) Known(id ID) bool {
	var st unix.Stat_t
	if unix.Stat(h.target(), &st) == nil && idOf(&st) == id { // a real one has a table
		return true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pending[id] != nil
}

func (h *scratchHandler) Pending() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pending) > 0
}

func (h *scratchHandler) Replaceable() bool { return false }

func (h *scratchHandler) Disguised() bool { return false }

func (h *scratchHandler) Exempt(int) bool { return false }

// Behind comes or not, as what was closed before has been told by then or not.
func (h *scratchHandler) Behind(*Call, bool) {}

func (h *scratchHandler) Stat(*Call, *Place) (*os.File, error) { return nil, Continue }

// Identity: a writer's scratch file is the guarded one to it.
func (h *scratchHandler) Identity(_ *Call, d Descriptor) ID {
	var st unix.Stat_t
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pending[d.ID] == nil || unix.Stat(h.target(), &st) != nil {
		return ID{}
	}
	return idOf(&st)
}

func (h *scratchHandler) guards(p *Place) bool {
	var st unix.Stat_t
	return p.DirID == h.dirID && p.Name == h.name ||
		p.Object != nil && unix.Stat(h.target(), &st) == nil && idOf(&st) == p.ID
}

func (h *scratchHandler) Open(c *Call, p *Place, how OpenHow) (*os.File, error) {
	if h.open != nil {
		return h.open(c, p, how)
	}
	return h.openScratch(c, p, how)
}

func (h *scratchHandler) openScratch(c *Call, p *Place, how OpenHow) (f *os.File, err error) {
	h.mu.Lock()
	own := h.pending[p.ID]
	h.mu.Unlock()
	if own == nil && !h.guards(p) {
		return nil, Continue
	}
	kind := "read"
	if how.Write() {
		kind = "write"
	}
	h.note("%s %s", kind, filepath.Base(p.Given))
	flags := how.Flags &^ (os.O_CREATE | os.O_EXCL | os.O_TRUNC | unix.O_NOFOLLOW)
	if own != nil {
		err = c.As(func() (err error) { f, err = os.OpenFile(own.path, how.Flags&^os.O_CREATE, 0); return err })
		return f, err
	}
	if !how.Write() {
		err = c.As(func() (err error) { f, err = os.OpenFile(h.target(), flags, 0); return err })
		return f, errnoOnly(err)
	}
	// What the caller may not do it must not be able to do through us.
	old, err := func() (old *os.File, err error) {
		err = c.As(func() (err error) { old, err = os.OpenFile(h.target(), os.O_RDWR, 0); return err })
		return old, err
	}()
	switch {
	case errors.Is(err, os.ErrNotExist) && how.Flags&os.O_CREATE != 0:
		if err := c.As(func() error { return unix.Access(h.dir, unix.W_OK) }); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, errnoOnly(err)
	case how.Flags&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
		return nil, syscall.EEXIST
	}
	s, err := os.CreateTemp(h.scratches, "scratch")
	if err != nil {
		return nil, h.fail(err)
	}
	if old != nil {
		if how.Flags&os.O_TRUNC == 0 {
			if _, err := io.Copy(s, old); err != nil {
				return nil, h.fail(err)
			}
		}
		old.Close()
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(s.Fd()), &st); err != nil {
		return nil, h.fail(err)
	}
	id := idOf(&st)
	s.Close() // before it is watched: this close is no writer's
	h.mu.Lock()
	h.pending[id] = &scratch{path: s.Name(), writer: c.Process, supervisor: c.Supervisor}
	h.mu.Unlock()
	if f, err = os.OpenFile(s.Name(), flags, 0); err != nil {
		return nil, h.fail(err)
	}
	if err := c.Supervisor.Watch(f, id); err != nil {
		return nil, h.fail(err)
	}
	return f, nil
}

func errnoOnly(err error) error {
	if e, ok := errnoOf(err); ok {
		return e
	}
	return err
}

func (h *scratchHandler) Changed(key any, what Change) {
	id, ok := key.(ID)
	if !ok || what&Closed == 0 {
		return
	}
	h.mu.Lock()
	s := h.pending[id]
	h.mu.Unlock()
	if s == nil {
		return
	}
	content, err := os.ReadFile(s.path)
	if err != nil {
		h.fail(err)
		return
	}
	temp := filepath.Join(h.dir, fmt.Sprintf(".publish%d", id.Ino))
	if err := os.WriteFile(temp, content, 0o666); err != nil {
		h.fail(err)
		return
	}
	if err := os.Rename(temp, h.target()); err != nil {
		h.fail(err)
		return
	}
	h.mu.Lock()
	delete(h.pending, id)
	h.mu.Unlock()
	os.Remove(s.path)
	s.supervisor.Unwatch(id)
	if h.published != nil {
		h.published(content)
	}
}

func (h *scratchHandler) Rename(_ *Call, from, to *Place, _ uint) error {
	h.note("rename %s %s", filepath.Base(from.Given), filepath.Base(to.Given))
	return Continue
}

func (h *scratchHandler) Remove(_ *Call, p *Place, directory bool) error {
	h.note("remove %s %v", filepath.Base(p.Given), directory)
	return Continue
}

func (h *scratchHandler) Link(_ *Call, from, to *Place) error {
	h.note("link %s %s", filepath.Base(from.Given), filepath.Base(to.Given))
	return Continue
}

func (h *scratchHandler) Symlink(_ *Call, text string, p *Place) error {
	h.note("symlink %s %s", text, filepath.Base(p.Given))
	return Continue
}

func (h *scratchHandler) Truncate(_ *Call, p *Place, size int64) error {
	h.note("truncate %s %d", filepath.Base(p.Given), size)
	return Continue
}

func (h *scratchHandler) Touch(_ *Call, p *Place) error {
	h.note("touch %s", filepath.Base(p.Given))
	return Continue
}

func (h *scratchHandler) Lock(c *Call, d Descriptor, l LockRequest) error {
	h.note("lock %+v", l)
	if h.lock != nil {
		return h.lock(c, d, l)
	}
	return Continue
}

func (h *scratchHandler) Sync(*Call, Descriptor) error {
	h.note("sync")
	return Continue
}

func (h *scratchHandler) Forked(_, child *Process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.born[child] = true
}

func (h *scratchHandler) Exited(p *Process, s syscall.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.Ended() { // by then whoever carries out a call of its has to know
		h.died[p] = s
	}
}

func (h *scratchHandler) Asked(p *Process, request []byte) ([]byte, error) {
	if h.asked != nil {
		return h.asked(p, request)
	}
	return nil, errors.New("nobody answers")
}

func (h *scratchHandler) Unguarded(p *Process, why error) bool {
	h.note("unguarded %s: %v", p.Command, why)
	return h.unguarded != nil && h.unguarded(p, why)
}
