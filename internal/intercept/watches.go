//go:build linux && (amd64 || arm64)

package intercept

import (
	"encoding/binary"
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// watch is a file of which somebody wants to know when it was written and closed. inotify(7) tells; where a user has no instance of it
// left, which are 128 for all that runs as that user (fs.inotify.max_user_instances), the file is looked at before each answer and
// every few milliseconds.
type watch struct {
	key  any
	id   ID
	file *os.File // to ask for writers; nil if that cannot be

	// As it was when it was last looked at.
	open    bool
	size    int64
	written time.Time
}

// The kernel tells of a close before the file is done being written (fs/file_table.c, __fput: fsnotify_close comes
// first), but before close(2) returns. So when a writer seems to be left it is looked again: before each answer, and
// now and then for some time. One that is really left will close too.
const (
	lookSoon = time.Millisecond
	lookLast = 128 * time.Millisecond
)

// lookEach is how often is looked at what inotify does not tell of. tick is more than what a time of last writing may be behind.
const (
	lookEach = 4 * time.Millisecond
	tick     = 20 * time.Millisecond
)

func (e *events) watch(f *os.File, key any) error {
	if key == nil {
		return errors.New("intercept: Watch needs a key")
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return &os.PathError{Op: "watch", Path: f.Name(), Err: err}
	}
	w := &watch{key: key, id: ID{Dev: st.Dev, Ino: st.Ino}}
	path := "/proc/self/fd/" + strconv.Itoa(int(f.Fd()))
	if file, err := os.Open(path); err == nil {
		if _, err = HasWriters(file); err == nil {
			w.file = file
			w.look()
		} else {
			file.Close()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	wd, err := e.addWatch(path)
	if err != nil && w.file == nil {
		return &os.PathError{Op: "watch", Path: f.Name(), Err: err}
	}
	for number, old := range e.watches {
		if old.id == w.id {
			delete(e.byKey, old.key)
			e.forget(number, old)
		}
	}
	if err != nil {
		for wd = -1; e.watches[wd] != nil; wd-- {
		}
		e.looked.Add(1)
		e.again = lookEach
		e.setTimer()
	}
	e.watches[wd] = w
	e.byKey[key] = wd
	return nil
}

func (e *events) addWatch(path string) (int32, error) {
	fd := int(e.inotify.Load())
	if fd < 0 {
		var err error
		if fd, err = inotifyInit(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
			return 0, os.NewSyscallError("inotify_init1", err)
		}
		if err := e.add(fd, unix.EPOLLIN); err != nil {
			unix.Close(fd)
			return 0, err
		}
		e.inotify.Store(int32(fd))
	}
	wd, err := unix.InotifyAddWatch(fd, path, unix.IN_CLOSE_WRITE|unix.IN_MODIFY)
	return int32(wd), err
}

var inotifyInit = unix.InotifyInit1 // tests have none left

func (e *events) unwatch(key any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	wd, ok := e.byKey[key]
	if !ok || e.closed {
		return
	}
	e.forget(wd, e.watches[wd])
	delete(e.byKey, key)
	if wd >= 0 {
		_, _ = unix.InotifyRmWatch(int(e.inotify.Load()), uint32(wd))
	}
}

func (e *events) forget(wd int32, w *watch) {
	if wd < 0 {
		e.looked.Add(-1)
	}
	delete(e.watches, wd)
	delete(e.closing, w)
	w.end()
}

func (w *watch) end() {
	if w.file != nil {
		w.file.Close()
	}
}

// look tells what inotify would have told.
func (e *events) look() {
	if e.looked.Load() == 0 {
		return
	}
	found := map[any]Change{}
	e.mu.Lock()
	for wd, w := range e.watches {
		if wd < 0 {
			if what := w.look(); what != 0 {
				found[w.key] = what
			}
		}
	}
	e.mu.Unlock()
	for key, what := range found {
		if what&Closed != 0 {
			e.closes.Add(1)
		}
		e.s.handler.Changed(key, what)
	}
}

// look is what happened since the last one. What was opened, written and closed in between was written.
func (w *watch) look() (what Change) {
	open, err := HasWriters(w.file)
	if err != nil {
		open = true
	}
	var st unix.Stat_t
	if unix.Fstat(int(w.file.Fd()), &st) != nil {
		return 0
	}
	written := time.Unix(st.Mtim.Unix())
	if st.Size != w.size || !written.Equal(w.written) || time.Since(written) < tick {
		what |= Modified
	}
	if !open && (w.open || what != 0) {
		what |= Closed
	}
	w.open, w.size, w.written = open, st.Size, written
	return what
}

// lookAgain tells of the files whose last writer has gone since.
func (e *events) lookAgain() {
	e.mu.Lock()
	var gone []*watch
	for w := range e.closing {
		if left, err := HasWriters(w.file); !left || err != nil {
			gone = append(gone, w)
			delete(e.closing, w)
		}
	}
	e.mu.Unlock()
	for _, w := range gone {
		e.s.handler.Changed(w.key, Closed)
	}
}

// ring reads the timer, and sets it if there is something to look at again.
func (e *events) ring() {
	var expirations [8]byte
	_, _ = unix.Read(e.timer, expirations[:])
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.looked.Load() > 0:
		e.again = lookEach
	case len(e.closing) == 0:
		e.again = 0
	case e.again >= lookLast: // really left
		e.again = 0
		clear(e.closing)
	default:
		e.again *= 2
	}
	e.setTimer()
}

func (e *events) setTimer() {
	_ = unix.TimerfdSettime(e.timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(e.again))}, nil)
}

// wait notes that a writer was left.
func (e *events) wait(w *watch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closing[w] = true
	e.again = lookSoon
	e.setTimer()
}

// tell parses struct inotify_event: int wd; uint32 mask, cookie, len; char name[len], of which a file that is watched itself has none.
func (e *events) tell(raw []byte) (writing bool) {
	writing = true
	const header = unix.SizeofInotifyEvent
	for len(raw) >= header {
		wd := int32(binary.NativeEndian.Uint32(raw))
		mask := binary.NativeEndian.Uint32(raw[4:])
		length := int(binary.NativeEndian.Uint32(raw[12:]))
		raw = raw[header+length:]
		writing = writing && mask&^unix.IN_MODIFY == 0
		if mask&unix.IN_Q_OVERFLOW != 0 {
			e.s.handler.Changed(nil, Closed|Modified)
			continue
		}
		e.mu.Lock()
		w := e.watches[wd]
		e.mu.Unlock()
		if w == nil {
			continue
		}
		var what Change
		if mask&unix.IN_MODIFY != 0 {
			what |= Modified
		}
		if mask&unix.IN_CLOSE_WRITE != 0 {
			e.closes.Add(1)
			what |= Closed
		}
		if what&Closed != 0 && w.file != nil {
			if left, err := HasWriters(w.file); left && err == nil {
				what &^= Closed
				e.wait(w)
			}
		}
		if what != 0 {
			e.s.handler.Changed(w.key, what)
		}
	}
	return writing
}

func hasWriters(f *os.File) (bool, error) {
	// A read lease is granted only while nobody has the file open for writing (fcntl(2), F_SETLEASE). It is held for a
	// moment only: who opens the file for writing then waits until it is given up.
	_, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
	switch err {
	case nil:
		_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
		return false, err
	case unix.EAGAIN:
		return true, nil
	}
	return false, &os.PathError{Op: "lease", Path: f.Name(), Err: err}
}
