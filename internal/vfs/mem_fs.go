package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
)

// MemProcess is one process's way to a Mem: what it has open is closed when it is killed.
type MemProcess struct {
	m    *Mem
	dead atomic.Bool
}

// ErrKilled is the error of every call of a process that was killed.
var ErrKilled = errors.New("process was killed")

// Kill ends the process: its locks are free, its calls fail with ErrKilled. What it wrote stays in the page cache.
func (p *MemProcess) Kill() {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	p.dead.Store(true)
	for inode, f := range p.m.locks {
		if f.p == p {
			delete(p.m.locks, inode)
		}
	}
	p.m.freed.Broadcast()
}

// Receive takes over a file of another process, as a descriptor that is sent through a socket: its lock and its offset live on
// when who opened it is killed. f may be wrapped by [NewFaults]; what is returned is not.
func (p *MemProcess) Receive(f File) File {
	if x, ok := f.(*faultyFile); ok {
		f = x.f
	}
	sent := f.(*memFile)
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	sent.p = p
	if p.dead.Load() {
		sent.closed = true
		p.m.unlock(sent)
	}
	return sent
}

// OpenDir implements FS.
func (p *MemProcess) OpenDir(name string) (Dir, error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	i, err := p.walk(rootInode, name, 0)
	if err == nil && p.m.nodes[i].kind != fs.ModeDir {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &memDir{p: p, inode: i, path: path.Clean("/" + name)}, nil
}

// walk follows a path, symbolic links included.
func (p *MemProcess) walk(from int, name string, links int) (int, error) {
	const limit = 40 // as the kernel's (path_resolution(7))
	if p.dead.Load() {
		return 0, ErrKilled
	}
	if links > limit {
		return 0, syscall.ELOOP
	}
	if path.IsAbs(name) {
		from = rootInode
	}
	at := []int{from}
	for step := range strings.SplitSeq(name, "/") {
		i := at[len(at)-1]
		n := p.m.nodes[i]
		if n.kind != fs.ModeDir {
			return 0, syscall.ENOTDIR
		}
		switch step {
		case "", ".":
			continue
		case "..":
			at = at[:max(1, len(at)-1)]
			continue
		}
		next := n.lookup(step)
		if next == 0 {
			return 0, syscall.ENOENT
		}
		if target := p.m.nodes[next]; target.kind == fs.ModeSymlink {
			var err error
			if next, err = p.walk(i, string(target.data), links+1); err != nil {
				return 0, err
			}
		}
		at = append(at, next)
	}
	return at[len(at)-1], nil
}

type memDir struct {
	p      *MemProcess
	inode  int
	path   string
	closed bool
}

func (d *memDir) Path() string          { return d.path }
func (d *memDir) at(name string) string { return strings.TrimSuffix(d.path, "/") + "/" + name }

func (d *memDir) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: d.at(name), Err: err}
}

// do runs f under the lock, where the directory is usable and the names are single elements.
func (d *memDir) do(op string, f func(m *Mem, n *node) error, names ...string) error {
	m := d.p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	shown := ""
	if len(names) > 0 {
		shown = names[len(names)-1]
	}
	for _, name := range names {
		if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') {
			return d.fail(op, shown, syscall.EINVAL)
		}
	}
	switch {
	case d.p.dead.Load():
		return d.fail(op, shown, ErrKilled)
	case d.closed:
		return d.fail(op, shown, syscall.EBADF)
	}
	return d.fail(op, shown, f(m, m.nodes[d.inode]))
}

// enter puts a new entry into the directory; one that was removed itself takes none.
func (d *memDir) enter(m *Mem, op dirOp) error {
	if m.links[d.inode] == 0 {
		return syscall.ENOENT
	}
	n := m.own(d.inode)
	if op.from != "" {
		m.put(n, op.from, 0)
	}
	m.put(n, op.name, op.inode)
	n.log = append(n.log, op)
	n.now.mtime = m.now()
	return nil
}

func (d *memDir) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f := &memFile{p: d.p, path: d.at(name), flag: flag}
	err := d.do("open", func(m *Mem, n *node) error {
		f.inode = n.lookup(name)
		if f.inode == 0 {
			if flag&os.O_CREATE == 0 {
				return syscall.ENOENT
			}
			if m.links[d.inode] == 0 {
				return syscall.ENOENT
			}
			f.inode = m.newNode(0, perm.Perm())
			return d.enter(m, dirOp{name: name, inode: f.inode})
		}
		writes := flag&(os.O_WRONLY|os.O_RDWR) != 0
		switch kind := m.nodes[f.inode].kind; {
		case flag&(os.O_CREATE|os.O_EXCL) == os.O_CREATE|os.O_EXCL:
			return syscall.EEXIST
		case kind == fs.ModeSymlink:
			return syscall.ELOOP
		case kind == fs.ModeDir && (writes || flag&(os.O_CREATE|os.O_TRUNC) != 0):
			return syscall.EISDIR
		}
		if flag&os.O_TRUNC != 0 {
			m.own(f.inode).truncate(0, m.now())
		}
		return nil
	}, name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *memDir) OpenDir(name string) (Dir, error) {
	sub := &memDir{p: d.p, path: d.at(name)}
	err := d.do("open", func(m *Mem, n *node) error {
		sub.inode = n.lookup(name)
		switch {
		case sub.inode == 0:
			return syscall.ENOENT
		case m.nodes[sub.inode].kind != fs.ModeDir:
			return syscall.ENOTDIR // also for a symbolic link (openat(2), O_DIRECTORY with O_NOFOLLOW)
		}
		return nil
	}, name)
	if err != nil {
		return nil, err
	}
	return sub, nil
}

func (d *memDir) Mkdir(name string, perm fs.FileMode) error {
	return d.make("mkdir", name, fs.ModeDir, perm.Perm(), nil)
}

func (d *memDir) Symlink(target, name string) error {
	return d.make("symlink", name, fs.ModeSymlink, 0o777, []byte(target))
}

func (d *memDir) make(op, name string, kind, perm fs.FileMode, data []byte) error {
	return d.do(op, func(m *Mem, n *node) error {
		if n.lookup(name) != 0 {
			return syscall.EEXIST
		}
		if m.links[d.inode] == 0 {
			return syscall.ENOENT
		}
		i := m.newNode(kind, perm)
		m.nodes[i].data, m.nodes[i].now.size = data, int64(len(data))
		return d.enter(m, dirOp{name: name, inode: i})
	}, name)
}

func (d *memDir) Stat(name string) (info Info, err error) {
	way := strings.Split(name, "/")
	err = d.do("stat", func(m *Mem, n *node) error {
		i := 0
		for _, step := range way {
			if n.kind != fs.ModeDir {
				return syscall.ENOTDIR
			}
			if i = n.lookup(step); i == 0 {
				return syscall.ENOENT
			}
			n = m.nodes[i]
		}
		info = m.info(i)
		return nil
	}, way...)
	return info, err
}

func (d *memDir) Inode(name string) (uint64, error) {
	info, err := d.Stat(name)
	return info.Inode, err
}

func (d *memDir) Readlink(name string) (target string, err error) {
	err = d.do("readlink", func(m *Mem, n *node) error {
		switch i := n.lookup(name); {
		case i == 0:
			return syscall.ENOENT
		case m.nodes[i].kind != fs.ModeSymlink:
			return syscall.EINVAL
		default:
			target = string(m.nodes[i].data)
			return nil
		}
	}, name)
	return target, err
}

func (d *memDir) Rename(oldName, newName string) error {
	return d.do("rename", func(m *Mem, n *node) error {
		from, to := n.lookup(oldName), n.lookup(newName)
		switch {
		case from == 0:
			return syscall.ENOENT
		case from == to:
			return nil // two names of one file: nothing happens (rename(2))
		case to == 0:
		case m.nodes[to].kind == fs.ModeDir && m.nodes[from].kind != fs.ModeDir:
			return syscall.EISDIR
		case m.nodes[to].kind != fs.ModeDir && m.nodes[from].kind == fs.ModeDir:
			return syscall.ENOTDIR
		case m.nodes[to].kind == fs.ModeDir && !m.nodes[to].isEmpty():
			return syscall.ENOTEMPTY
		}
		return d.enter(m, dirOp{from: oldName, name: newName, inode: from})
	}, oldName, newName)
}

func (n *node) isEmpty() bool {
	for _, e := range n.dir {
		if e.inode != 0 {
			return false
		}
	}
	return true
}

func (d *memDir) Link(oldName string, dst Dir, newName string) error {
	to := d
	if dst != nil {
		to = linkable(dst).(*memDir)
	}
	return d.do("link", func(m *Mem, n *node) error {
		i := n.lookup(oldName)
		switch {
		case i == 0:
			return syscall.ENOENT
		case to.closed:
			return syscall.EBADF
		case m.nodes[to.inode].lookup(newName) != 0:
			return syscall.EEXIST
		case m.links[to.inode] == 0:
			return syscall.ENOENT
		case m.nodes[i].kind == fs.ModeDir:
			return syscall.EPERM
		}
		return to.enter(m, dirOp{name: newName, inode: i})
	}, newName, oldName)
}

func (d *memDir) Remove(name string) error {
	return d.do("remove", func(m *Mem, n *node) error {
		i := n.lookup(name)
		switch {
		case i == 0:
			return syscall.ENOENT
		case m.nodes[i].kind == fs.ModeDir && !m.nodes[i].isEmpty():
			return syscall.ENOTEMPTY
		}
		return d.enter(m, dirOp{name: name})
	}, name)
}

func (d *memDir) Names() (names []string, err error) {
	names = []string{}
	err = d.do("list", func(m *Mem, n *node) error {
		if m.links[d.inode] == 0 {
			return syscall.ENOENT
		}
		for _, e := range n.dir {
			if e.inode != 0 {
				names = append(names, e.name)
			}
		}
		return nil
	})
	return names, err
}

func (d *memDir) Sync() error {
	return d.do("sync", func(m *Mem, _ *node) error {
		m.own(d.inode).syncDir()
		return nil
	})
}

// failSync is what a Sync does that fails.
func (d *memDir) failSync() {
	m := d.p.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.DirsLie {
		m.own(d.inode).dirClean = true
	}
}

func (d *memDir) Chown(name string, uid, gid int) error {
	return d.do("chown", func(m *Mem, n *node) error {
		i := n.lookup(name)
		if i == 0 {
			return syscall.ENOENT
		}
		m.chown(i, uid, gid)
		return nil
	}, name)
}

func (m *Mem) chown(i, uid, gid int) {
	n := m.own(i)
	next := n.now
	if uid >= 0 {
		next.uid = uid
	}
	if gid >= 0 {
		next.gid = gid
	}
	n.setMeta(next)
}

func (d *memDir) Close() error {
	d.p.m.mu.Lock()
	defer d.p.m.mu.Unlock()
	if d.closed {
		return d.fail("close", "", fs.ErrClosed)
	}
	d.closed = true
	return nil
}
