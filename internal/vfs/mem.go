package vfs

import (
	"encoding/binary"
	"hash/maphash"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"
)

// Mem is a filesystem in memory that knows, of everything in it, what is on disk: what a program sees is what was done
// last; what [Mem.Cuts] gives is every disk that a power cut could leave.
//
// On disk are, of a file, the sectors and the size as of its last successful Sync (or SyncData, which leaves the mode to
// chance), and of a directory its entries.
// What was done since may have reached the disk or not, each sector (512 bytes), each file's size and mode, each entry
// made and each entry removed for itself; a sector that was written twice may hold the first write. A new file or
// directory is on disk, empty, as soon as an entry of it is. The same bytes written again change nothing on disk.
//
// A failed Sync of a file (see [NewFaults]) leaves its pages clean without being on disk: the next Sync returns nil
// and does nothing for them, until they are written again (https://lwn.net/Articles/752063/).
//
// Nobody is refused anything: it behaves as for root. It has no FIFOs, no extended attributes and no umask.
type Mem struct {
	mu    sync.Mutex
	freed *sync.Cond // a lock was

	nodes []*node // by inode number; 0 is none, 1 the root
	links []int   // by inode number: entries that name it
	owner *token  // of the nodes that may be changed in place; all others are shared with clones
	clock int64   // ms; advances with every change
	locks map[int]*memFile
	self  *MemProcess

	// DirsLie: also after a failed Sync of a directory the next one does nothing, until its entries change again.
	DirsLie bool
}

type token struct{ _ byte }

const (
	rootInode  = 1
	sectorSize = 512
	pageSize   = 4096
)

// node is an inode. It is shared between clones and copied before it is changed.
type node struct {
	owner *token
	kind  fs.FileMode // 0, fs.ModeDir, fs.ModeSymlink
	now   meta
	data  []byte // a file's content, a symbolic link's target
	dir   []entry

	// What may be on disk instead. Nothing here: all is on disk.
	sectors []sector // ordered by index
	metas   []meta   // oldest first
	log     []dirOp  // what was done to the directory, in order

	metaDirty bool // the next Sync writes it
	dirClean  bool // a Sync failed and lied: the next one does nothing
}

type meta struct {
	mode     fs.FileMode
	uid, gid int
	size     int64
	mtime    int64
}

type sector struct {
	index    int
	versions [][]byte // that the disk may hold instead of what is now, the durable one first
	dirty    bool     // the next Sync writes it
}

// entry of a directory, ordered by name.
type entry struct {
	name     string
	inode    int   // 0: not there any more
	versions []int // that the disk may hold instead, the durable one first
}

// dirOp is one operation: remove from (if any), then make name an entry of inode (0: remove name).
type dirOp struct {
	from, name string
	inode      int
}

// NewMem returns an empty filesystem.
func NewMem() *Mem {
	m := &Mem{owner: new(token), nodes: make([]*node, 2, 32), links: make([]int, 2, 32)}
	m.nodes[rootInode] = &node{owner: m.owner, kind: fs.ModeDir, now: meta{mode: 0o755, uid: os.Getuid(), gid: os.Getgid()}}
	m.links[rootInode] = 1
	m.init()
	return m
}

func (m *Mem) init() {
	m.freed = sync.NewCond(&m.mu)
	m.self = &MemProcess{m: m}
}

// Clone is the same disk and the same page cache, with every process killed: nothing is open, nothing is locked. It
// costs little: content is shared until one of the two changes it.
func (m *Mem) Clone() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.owner = new(token)
	c := &Mem{owner: new(token), clock: m.clock, DirsLie: m.DirsLie, nodes: slices.Clone(m.nodes), links: slices.Clone(m.links)}
	c.init()
	return c
}

// Process is a filesystem whose open files can be killed together.
func (m *Mem) Process() *MemProcess { return &MemProcess{m: m} }

// OpenDir implements FS.
func (m *Mem) OpenDir(path string) (Dir, error) { return m.self.OpenDir(path) }

// Sync puts everything on disk, as sync(2) does.
func (m *Mem) Sync() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, n := range m.nodes {
		if n == nil || len(n.sectors)+len(n.metas)+len(n.log) == 0 {
			continue
		}
		n = m.own(i)
		n.sectors, n.metas, n.metaDirty = nil, nil, false
		n.syncDir()
	}
}

// own returns node i for changing.
func (m *Mem) own(i int) *node {
	n := m.nodes[i]
	if n.owner == m.owner {
		return n
	}
	c := *n
	c.owner = m.owner
	c.data = slices.Clone(n.data)
	c.dir = slices.Clone(n.dir)
	c.sectors = slices.Clone(n.sectors)
	c.metas = slices.Clip(n.metas)
	c.log = slices.Clip(n.log)
	m.nodes[i] = &c
	return &c
}

func (m *Mem) now() int64 {
	m.clock++
	return m.clock
}

func (m *Mem) newNode(kind, perm fs.FileMode) int {
	n := &node{owner: m.owner, kind: kind, now: meta{mode: perm, uid: os.Getuid(), gid: os.Getgid(), mtime: m.now()}}
	for i := rootInode + 1; i < len(m.nodes); i++ {
		if m.nodes[i] == nil { // free since a power cut: numbers are used again, as on a real disk
			m.nodes[i] = n
			return i
		}
	}
	m.nodes, m.links = append(m.nodes, n), append(m.links, 0)
	return len(m.nodes) - 1
}

func (m *Mem) info(i int) Info {
	n := m.nodes[i]
	return Info{
		Size: n.now.size, Mode: n.kind | n.now.mode, MTime: time.UnixMilli(n.now.mtime),
		Dev: 1, Inode: uint64(i), Links: uint64(m.links[i]), UID: n.now.uid, GID: n.now.gid,
	}
}

// setMeta remembers what the disk may hold instead.
func (n *node) setMeta(next meta) {
	if next == n.now {
		return
	}
	last := len(n.metas) - 1
	if last >= 1 && n.metas[last].sameBut(n.now) && n.now.sameBut(next) {
		// Between two changes of the time alone nobody could tell which one is on disk.
	} else {
		n.metas = append(n.metas, n.now)
	}
	n.now, n.metaDirty = next, true
}

func (a meta) sameBut(b meta) bool {
	a.mtime = b.mtime
	return a == b
}

// touchSectors remembers what the disk holds of the bytes from..to, which are about to become with (nil: zeros).
func (n *node) touchSectors(from, to int64, with func(at int64) byte) {
	if from >= to {
		return
	}
	for s := from / sectorSize; s*sectorSize < to; s++ {
		before := n.sectorNow(int(s))
		same := true
		for at := max(from, s*sectorSize); at < min(to, (s+1)*sectorSize); at++ {
			if before[at-s*sectorSize] != with(at) {
				same = false
				break
			}
		}
		i, there := slices.BinarySearchFunc(n.sectors, int(s), func(x sector, s int) int { return x.index - s })
		switch {
		case same:
		case there:
			n.sectors[i].versions = append(slices.Clip(n.sectors[i].versions), before)
			n.sectors[i].dirty = true
		default:
			n.sectors = slices.Insert(n.sectors, i, sector{index: int(s), versions: [][]byte{before}, dirty: true})
		}
		// The page is written as a whole, with whatever a failed Sync left in it.
		page := int(s) * sectorSize / pageSize
		for i := range n.sectors {
			if n.sectors[i].index*sectorSize/pageSize == page {
				n.sectors[i].dirty = true
			}
		}
	}
}

func (n *node) sectorNow(s int) []byte {
	b := make([]byte, sectorSize)
	if from := s * sectorSize; from < len(n.data) {
		copy(b, n.data[from:])
	}
	return b
}

func (n *node) write(off int64, p []byte, mtime int64) {
	if len(p) == 0 {
		return
	}
	n.touchSectors(off, off+int64(len(p)), func(at int64) byte { return p[at-off] })
	if end := off + int64(len(p)); end > int64(len(n.data)) {
		n.data = append(n.data, make([]byte, end-int64(len(n.data)))...)
	}
	copy(n.data[off:], p)
	next := n.now
	next.size, next.mtime = int64(len(n.data)), mtime
	n.setMeta(next)
}

func (n *node) truncate(size, mtime int64) {
	old := int64(len(n.data))
	n.touchSectors(size, old, func(int64) byte { return 0 })
	if size < old {
		n.data = n.data[:size:size]
	} else {
		n.data = append(n.data, make([]byte, size-old)...)
	}
	next := n.now
	next.size, next.mtime = size, mtime
	n.setMeta(next)
}

func (n *node) syncFile() {
	n.sectors = slices.DeleteFunc(slices.Clone(n.sectors), func(s sector) bool { return s.dirty })
	if n.metaDirty {
		n.metas, n.metaDirty = nil, false
	}
}

// syncData leaves mode and owner as they may have been. Of times nobody asks who calls it.
func (n *node) syncData() {
	metas := n.metas
	n.syncFile()
	for _, m := range metas {
		if m.size = n.now.size; n.metas == nil && !m.sameBut(n.now) {
			n.metas, n.metaDirty = []meta{m}, true
		}
	}
}

func (n *node) failSyncFile() {
	for i := range n.sectors {
		n.sectors[i].dirty = false
	}
	n.metaDirty = false
}

func (n *node) syncDir() {
	if n.kind != fs.ModeDir || n.dirClean {
		return
	}
	n.dir = slices.DeleteFunc(n.dir, func(e entry) bool { return e.inode == 0 })
	for i := range n.dir {
		n.dir[i].versions = nil
	}
	n.log = nil
}

func (n *node) find(name string) (int, bool) {
	return slices.BinarySearchFunc(n.dir, name, func(e entry, name string) int {
		switch {
		case e.name < name:
			return -1
		case e.name > name:
			return 1
		}
		return 0
	})
}

// lookup returns the inode of name, 0 if there is none.
func (n *node) lookup(name string) int {
	if i, there := n.find(name); there {
		return n.dir[i].inode
	}
	return 0
}

// put makes name an entry of inode (0: none), and counts links.
func (m *Mem) put(n *node, name string, inode int) {
	i, there := n.find(name)
	if !there {
		n.dir = slices.Insert(n.dir, i, entry{name: name})
	}
	e := &n.dir[i]
	if e.inode != 0 {
		m.links[e.inode]--
	}
	if inode != 0 {
		m.links[inode]++
	}
	e.versions = append(slices.Clip(e.versions), e.inode)
	e.inode = inode
	n.dirClean = false
}

// Hash is equal for equal trees: names, inodes, modes, owners, times and content as programs see them.
func (m *Mem) Hash(seed maphash.Seed) uint64 { return m.hash(seed, true) }

// HashContent leaves out inode numbers and times.
func (m *Mem) HashContent(seed maphash.Seed) uint64 { return m.hash(seed, false) }

func (m *Mem) hash(seed maphash.Seed, identities bool) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	var h maphash.Hash
	h.SetSeed(seed)
	var b [8]byte
	number := func(v int64) {
		binary.LittleEndian.PutUint64(b[:], uint64(v))
		_, _ = h.Write(b[:])
	}
	var walk func(i int)
	walk = func(i int) {
		n := m.nodes[i]
		number(int64(n.kind | n.now.mode))
		number(int64(n.now.uid)<<32 | int64(n.now.gid))
		if identities {
			number(int64(i))
		}
		if n.kind != fs.ModeDir {
			if identities {
				number(n.now.mtime)
			}
			number(int64(len(n.data)))
			_, _ = h.Write(n.data)
			return
		}
		for _, e := range n.dir {
			if e.inode != 0 {
				_, _ = h.WriteString(e.name)
				_ = h.WriteByte(0)
				walk(e.inode)
			}
		}
		_ = h.WriteByte(1)
	}
	walk(rootInode)
	return h.Sum64()
}

// Tree is every file as programs see it, by path: its content, a symbolic link's target behind "-> ", and "dir" for
// a directory, whose path ends in a slash. For messages.
func (m *Mem) Tree() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	tree := map[string]string{}
	var walk func(path string, i int)
	walk = func(path string, i int) {
		n := m.nodes[i]
		switch n.kind {
		case fs.ModeDir:
			tree[path+"/"] = "dir"
			for _, e := range n.dir {
				if e.inode != 0 {
					walk(path+"/"+e.name, e.inode)
				}
			}
		case fs.ModeSymlink:
			tree[path] = "-> " + string(n.data)
		default:
			tree[path] = string(n.data)
		}
	}
	walk("", rootInode)
	return tree
}

// Paths of Tree, sorted.
func Paths(tree map[string]string) []string { return slices.Sorted(maps.Keys(tree)) }
