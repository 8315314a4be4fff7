package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// memFile is an open file description: it has its own offset and its own lock.
type memFile struct {
	p      *MemProcess
	inode  int
	path   string
	flag   int
	offset int64
	closed bool
}

func (f *memFile) fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: f.path, Err: err}
}

func (f *memFile) do(op string, do func(m *Mem) error) error {
	m := f.p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case f.p.dead.Load():
		return f.fail(op, ErrKilled)
	case f.closed:
		return f.fail(op, fs.ErrClosed)
	}
	return f.fail(op, do(m))
}

func (f *memFile) reads() bool { return f.flag&os.O_WRONLY == 0 }

func (f *memFile) writes() bool { return f.flag&(os.O_WRONLY|os.O_RDWR) != 0 }

func (f *memFile) Read(p []byte) (n int, err error) {
	var end bool
	err = f.do("read", func(m *Mem) error {
		n, end, err = f.readAt(m, p, f.offset)
		f.offset += int64(n)
		return err
	})
	if err == nil && end && n == 0 && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

func (f *memFile) ReadAt(p []byte, off int64) (n int, err error) {
	var end bool
	err = f.do("read", func(m *Mem) error {
		if off < 0 {
			return fmt.Errorf("negative offset")
		}
		n, end, err = f.readAt(m, p, off)
		return err
	})
	if err == nil && end {
		err = io.EOF
	}
	return n, err
}

// readAt says end where fewer bytes are there than were asked for.
func (f *memFile) readAt(m *Mem, p []byte, off int64) (n int, end bool, err error) {
	node := m.nodes[f.inode]
	switch {
	case node.kind == fs.ModeDir:
		return 0, false, syscall.EISDIR
	case !f.reads():
		return 0, false, syscall.EBADF
	}
	if off < int64(len(node.data)) {
		n = copy(p, node.data[off:])
	}
	return n, n < len(p), nil
}

func (f *memFile) Write(p []byte) (int, error) {
	return f.write(p, func(m *Mem) int64 {
		if f.flag&os.O_APPEND != 0 {
			f.offset = m.nodes[f.inode].now.size
		}
		at := f.offset
		f.offset += int64(len(p))
		return at
	})
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if f.flag&os.O_APPEND != 0 {
		return 0, fmt.Errorf("%w: WriteAt on file opened with O_APPEND", fs.ErrInvalid)
	}
	return f.write(p, func(*Mem) int64 { return off })
}

func (f *memFile) write(p []byte, at func(m *Mem) int64) (int, error) {
	err := f.do("write", func(m *Mem) error {
		if !f.writes() {
			return syscall.EBADF
		}
		m.own(f.inode).write(at(m), p, m.now())
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (f *memFile) Truncate(size int64) error {
	return f.do("truncate", func(m *Mem) error {
		if !f.writes() || size < 0 {
			return syscall.EINVAL
		}
		m.own(f.inode).truncate(size, m.now())
		return nil
	})
}

func (f *memFile) Sync() error {
	return f.do("sync", func(m *Mem) error {
		m.own(f.inode).syncFile()
		return nil
	})
}

func (f *memFile) SyncData() error {
	return f.do("sync", func(m *Mem) error {
		m.own(f.inode).syncData()
		return nil
	})
}

func (f *memFile) failSync() {
	m := f.p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	m.own(f.inode).failSyncFile()
}

func (f *memFile) Stat() (info Info, err error) {
	err = f.do("stat", func(m *Mem) error {
		info = m.info(f.inode)
		return nil
	})
	return info, err
}

func (f *memFile) TryLock() (ok bool, err error) {
	err = f.do("flock", func(m *Mem) error {
		ok = m.take(f)
		return nil
	})
	return ok, err
}

func (m *Mem) take(f *memFile) bool {
	if holder := m.locks[f.inode]; holder != nil && holder != f {
		return false
	}
	if m.locks == nil {
		m.locks = map[int]*memFile{}
	}
	m.locks[f.inode] = f
	return true
}

func (f *memFile) Lock() error {
	m := f.p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		switch {
		case f.p.dead.Load():
			return f.fail("flock", ErrKilled)
		case f.closed:
			return f.fail("flock", fs.ErrClosed)
		case m.take(f):
			return nil
		}
		m.freed.Wait()
	}
}

func (f *memFile) Unlock() error {
	return f.do("flock", func(m *Mem) error {
		m.unlock(f)
		return nil
	})
}

func (m *Mem) unlock(f *memFile) {
	if m.locks[f.inode] == f {
		delete(m.locks, f.inode)
		m.freed.Broadcast()
	}
}

func (f *memFile) CopyMeta(from File) (lost []string) {
	source, err := from.Stat()
	if err == nil {
		err = f.do("chmod", func(m *Mem) error {
			m.chown(f.inode, source.UID, source.GID)
			m.chmod(f.inode, source.Mode.Perm())
			return nil
		})
	}
	if err != nil {
		return []string{fmt.Sprintf("mode, owner and attributes (%v)", err)}
	}
	return nil
}

func (m *Mem) chmod(i int, perm fs.FileMode) {
	n := m.own(i)
	next := n.now
	next.mode = perm
	n.setMeta(next)
}

func (f *memFile) SetMode(perm fs.FileMode) error {
	return f.do("chmod", func(m *Mem) error {
		m.chmod(f.inode, perm.Perm())
		return nil
	})
}

// Close of a killed process's file is no error: the kernel has done it.
func (f *memFile) Close() error {
	m := f.p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.closed {
		return f.fail("close", fs.ErrClosed)
	}
	f.closed = true
	m.unlock(f)
	return nil
}
