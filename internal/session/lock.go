//go:build linux

package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// programLock is a lock that a program took on the target itself. What it has there is a private file, whose lock would
// keep nobody out, so the lock is on a file of the guard directory instead, which every supervisor uses.
type programLock struct {
	t      *target
	holder lockHolder
	file   *os.File // of the guard directory; nil: released
	once   sync.Once
	noted  bool // in the file: it is an exclusive one
}

// lockWait is a lock that a program waits for. It may end while it does: what it is given then would be nobody's to give back.
type lockWait struct {
	process *intercept.Process
	over    bool
}

// lockHolder says whose a lock is: an open file description's, or a process's.
type lockHolder struct {
	writer  *writer
	process *intercept.Process // of a record lock
}

func (l *programLock) release() {
	l.once.Do(func() {
		if l.noted {
			sidecar.GiveProgramLock(l.file)
			return
		}
		_ = l.file.Close()
	})
	l.t.flocks = slices.DeleteFunc(l.t.flocks, func(x *programLock) bool { return x == l })
}

// mayLock: fcntl(2) locks for writing what a descriptor may write, and for reading what it may read.
func mayLock(pid int, d intercept.Descriptor, l intercept.LockRequest) bool {
	if l.Kind == intercept.Flock || l.Unlock {
		return true
	}
	access := fs.FileMode(0o400)
	if l.Exclusive {
		access = 0o200
	}
	info, err := os.Lstat(fmt.Sprintf("/proc/%d/fd/%d", pid, d.FD)) // its mode is the descriptor's (proc_pid_fd(5))
	return err != nil || info.Mode().Perm()&access != 0
}

// Lock takes a lock on a guarded file so that it excludes whoever else locks it, and gives the program the version
// there is once it has the lock: a program that locks, reads, changes, writes and unlocks is right already and stays so.
// Locks on other files, lock files among them, are the kernel's.
func (t *Tree) Lock(c *intercept.Call, d intercept.Descriptor, l intercept.LockRequest) error {
	return t.lock(t.callerOf(c), d, l)
}

func (t *Tree) lock(c *caller, d intercept.Descriptor, l intercept.LockRequest) error {
	w := t.scratch(d.ID)
	var x *target
	if w != nil {
		x = w.t
	} else if folds := t.foldLock(d.ID); folds != nil && l.Exclusive {
		t.peers.Store(c.process.PID, true)
		return intercept.Continue
	} else if x = t.targetOf(d); x == nil {
		return intercept.Continue
	}
	if !mayLock(c.process.PID, d, l) {
		return unix.EBADF
	}
	x.mu.Lock()
	x.settle()
	if err := x.begin(c); err != nil {
		x.unlock()
		return err
	}
	x.forgetShown(c.process) // who locks a file looks then whether it is still the one that its name leads to
	holder := lockHolder{writer: w}
	if l.Kind == intercept.Record {
		holder = lockHolder{process: c.process}
	}
	held := x.lockOf(holder)
	if l.Unlock {
		defer x.unlock()
		if held != nil {
			x.submit(w)
			held.release()
			x.foldSoon()
		}
		return nil
	}
	if held != nil && l.Kind == intercept.Record { // another range of what is locked whole, or another descriptor
		defer x.unlock()
		if w == nil {
			return nil
		}
		return x.refresh(c, w)
	}
	if err := x.need(); err != nil {
		x.unlock()
		return x.refuse(err)
	}
	session := x.session
	if held != nil { // from shared to exclusive, or back: the lock is given up in between, as flock(2) says
		held.release()
	}
	wait := &lockWait{process: c.process}
	x.waits = append(x.waits, wait)
	x.unlock()

	file, err := flock(c.ctx(), session.ProgramLock(), l.Exclusive, l.Wait)
	if err == nil {
		err = x.awaitLastHolder(c.ctx(), session, file, l.Wait)
	}
	x.mu.Lock()
	defer x.unlock()
	x.waits = slices.DeleteFunc(x.waits, func(other *lockWait) bool { return other == wait })
	switch {
	case err != nil:
		return err
	case wait.over, w != nil && (w.closed || !slices.Contains(x.writers, w)):
		_ = file.Close()
		return unix.EBADF // its process was killed, or another thread has closed it: nobody would give the lock back
	case w == nil:
		if w, err = x.swapReader(c, d); err != nil {
			_ = file.Close()
			return err
		}
		if l.Kind != intercept.Record {
			holder = lockHolder{writer: w}
		}
	default:
		if err := x.refresh(c, w); err != nil {
			_ = file.Close()
			return err
		}
	}
	made := &programLock{t: x, holder: holder, file: file, noted: l.Exclusive}
	if l.Exclusive {
		if err := session.NoteProgramLock(file); err != nil {
			x.tree.note("%s: %v", x.path, err)
		}
	}
	x.flocks = append(x.flocks, made)
	if w.lock == nil {
		w.lock = made
	}
	return nil
}

func (t *target) lockOf(h lockHolder) *programLock {
	for _, l := range t.flocks {
		if l.holder == h {
			return l
		}
	}
	return nil
}

// releaseLocksOf: a record lock ends with its process, and so does waiting.
func (t *target) releaseLocksOf(p *intercept.Process) {
	for _, w := range t.waits {
		w.over = w.over || w.process == p
	}
	for _, l := range slices.Clone(t.flocks) {
		if l.holder.process == p {
			l.release()
		}
	}
}

// targetOf finds the target that a descriptor was opened as.
func (t *Tree) targetOf(d intercept.Descriptor) *target {
	t.objects.RLock()
	defer t.objects.RUnlock()
	x := t.objects.targets[d.ID]
	if x == nil || !strings.HasPrefix(d.Path, x.path) && !strings.HasPrefix(d.Path, sidecar.GuardDir(x.path)) {
		return nil // numbers of inodes are used again
	}
	return x
}

// flock takes the lock that stands for the target's. It waits in the kernel, where waiters have their turn.
func flock(ctx context.Context, path string, exclusive, wait bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	err = retry(func() error { return unix.Flock(int(f.Fd()), how|unix.LOCK_NB) })
	switch {
	case err == nil:
		return f, nil
	case !errors.Is(err, unix.EWOULDBLOCK):
		_ = f.Close()
		return nil, err
	case !wait:
		_ = f.Close()
		return nil, unix.EAGAIN
	}
	got := make(chan error, 1)
	go func() { got <- retry(func() error { return unix.Flock(int(f.Fd()), how) }) }()
	select {
	case err := <-got:
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		return f, nil
	case <-ctx.Done():
		go func() { // it lets go as soon as it gets it
			<-got
			_ = f.Close()
		}()
		return nil, endOfWait(ctx)
	}
}

// endOfWait is what a call that waited ends with when ctx does.
func endOfWait(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), intercept.Interrupted) {
		return intercept.Interrupted
	}
	return unix.EINTR
}

// awaitLastHolder waits for programs whose supervisor was killed while one of them had the lock, which file is for: they are being killed, and
// what they have written counts once they have. If it fails, the lock is given up.
func (t *target) awaitLastHolder(ctx context.Context, s *sidecar.Session, file *os.File, wait bool) error {
	const longest = 50 * time.Millisecond
	for pause := time.Millisecond; ; pause = min(2*pause, longest) {
		ended, err := s.LastHolderEnded(ctx, file)
		switch {
		case ctx.Err() != nil: // below
		case err != nil:
			t.tree.note("%s: who had the lock last is not waited for: %v", t.path, err)
			return nil
		case ended:
			return nil
		case !wait:
			_ = file.Close()
			return unix.EWOULDBLOCK
		}
		select {
		case <-ctx.Done():
			_ = file.Close()
			return endOfWait(ctx)
		case <-time.After(pause):
		}
	}
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// refresh puts the current version into a scratch file that its program has not written yet.
func (t *target) refresh(c *caller, w *writer) error {
	if w.initial == nil || w.skip > 0 {
		return nil // opening it has emptied it already, or it only appends
	}
	content, err := readAll(w.file)
	if err != nil {
		return err
	}
	if !w.untouched(content) {
		return nil
	}
	v, err := t.now()
	if err != nil {
		return err
	}
	fresh, err := v.read()
	if err != nil {
		return err
	}
	if string(fresh) != string(content) {
		if err := w.scratch.Refresh(context.Background(), fresh); errors.Is(err, sidecar.ErrClosed) {
			return unix.EBADF
		} else if err != nil {
			return err
		}
	}
	t.mayBeRead(c.process)
	w.initial = append([]byte{}, fresh...)
	w.bases, w.likely = []*version{v}, 0
	t.heads.Read(c.process, c.tid, v)
	return nil
}

// now is the current version with everything that is pending, for whoever holds a lock.
func (t *target) now() (*version, error) {
	content, overlay, err := t.current()
	if err != nil {
		return nil, err
	}
	if overlay {
		return &version{content: content}, nil
	}
	return t.withWholeLines(func() (*version, error) { return t.onDisk(), nil })
}

// swapReader gives a program that locks a descriptor which it reads through the version there is now. It is a scratch file
// like a writer's, because the end of its lock is seen from its last close.
func (t *target) swapReader(c *caller, d intercept.Descriptor) (*writer, error) {
	v, err := t.now()
	if err != nil {
		return nil, err
	}
	content, err := v.read()
	if err != nil {
		return nil, err
	}
	w := &writer{t: t, process: c.process, tid: c.tid, bases: []*version{v}, read: true, initial: append([]byte{}, content...)}
	f, err := t.scratchFor(w, c, unix.O_RDWR, 0o600, content)
	if err != nil {
		return nil, err
	}
	if err := c.swap(d.FD, f); err != nil {
		return nil, err
	}
	t.heads.Read(c.process, c.tid, v)
	return w, nil
}
