package vfs

import (
	"io/fs"
	"math/rand/v2"
	"slices"
)

// Order says in which order the operations of one directory reach the disk.
type Order int

const (
	// AnyOrder: each entry made or removed for itself. Of a rename the new name may be there and the old one too,
	// or neither.
	AnyOrder Order = iota
	// InOrder: the operations of one directory in the order they were done, a rename in one piece, as journaling
	// filesystems do it.
	InOrder
)

// Cuts are the disks that a power cut could leave of a Mem. It does not change with the Mem any more, and several
// goroutines may use it.
type Cuts struct {
	m     *Mem
	order Order
	dims  []dimension
}

// dimension is one thing that may be lost for itself.
type dimension struct {
	inode   int
	kind    dimensionKind
	index   int // of the entry or sector
	choices int
}

type dimensionKind uint8

const (
	ofEntry dimensionKind = iota
	ofLog
	ofMeta
	ofSector
)

// Cuts lists what a power cut may leave now.
func (m *Mem) Cuts(order Order) *Cuts {
	c := &Cuts{m: m.Clone(), order: order}
	seen := make([]bool, len(c.m.nodes))
	var visit func(i int)
	visit = func(i int) {
		if i == 0 || seen[i] {
			return
		}
		seen[i] = true
		n := c.m.nodes[i]
		if len(n.metas) > 0 {
			c.dims = append(c.dims, dimension{i, ofMeta, 0, len(n.metas) + 1})
		}
		for j, s := range n.sectors {
			c.dims = append(c.dims, dimension{i, ofSector, j, len(s.versions) + 1})
		}
		if len(n.log) > 0 && order == InOrder {
			c.dims = append(c.dims, dimension{i, ofLog, 0, len(n.log) + 1})
		}
		for j, e := range n.dir {
			if len(e.versions) > 0 && order == AnyOrder {
				c.dims = append(c.dims, dimension{i, ofEntry, j, len(e.versions) + 1})
			}
			for _, v := range e.versions {
				visit(v)
			}
			visit(e.inode)
		}
	}
	visit(rootInode)
	return c
}

// Count is how many choices there are, at most 1<<62. Different ones may give equal disks.
func (c *Cuts) Count() int {
	n := 1
	for _, d := range c.dims {
		if n > 1<<62/d.choices {
			return 1 << 62
		}
		n *= d.choices
	}
	return n
}

// Disk is the i-th disk, 0 <= i < Count: 0 has lost everything that was not synced, the last one nothing.
func (c *Cuts) Disk(i int) *Mem {
	return c.disk(func(d dimension) int {
		choice := i % d.choices
		i /= d.choices
		return choice
	})
}

// Sample is a disk by chance. It prefers the ends: often a thing is either lost or kept, and sometimes nearly all of them
// are alike, because a single loss among much that was kept is what protocols forget.
func (c *Cuts) Sample(r *rand.Rand) *Mem {
	kept := []float64{0.05, 0.2, 0.5, 0.8, 0.95}[r.IntN(5)]
	return c.disk(func(d dimension) int {
		switch {
		case d.choices > 2 && r.IntN(4) == 0:
			return r.IntN(d.choices)
		case r.Float64() < kept:
			return d.choices - 1
		default:
			return 0
		}
	})
}

// disk builds the disk of a choice for each dimension; choose is asked in the order of dims.
func (c *Cuts) disk(choose func(dimension) int) *Mem {
	source := c.m
	out := &Mem{
		owner: new(token), clock: source.clock + 1000, DirsLie: source.DirsLie,
		nodes: make([]*node, len(source.nodes)), links: make([]int, len(source.nodes)),
	}
	out.init()
	choices := make([]int, len(c.dims))
	for i, d := range c.dims {
		choices[i] = choose(d)
	}
	var keep func(i int)
	keep = func(i int) {
		if i == 0 {
			return
		}
		out.links[i]++
		if out.nodes[i] != nil {
			return
		}
		n := source.nodes[i]
		if len(n.metas)+len(n.sectors)+len(n.log) > 0 {
			n = c.surviving(n, i, choices)
		}
		out.nodes[i] = n
		for _, e := range n.dir {
			keep(e.inode)
		}
	}
	keep(rootInode)
	return out
}

// surviving is what is left of inode i. It shares content with n, so that nobody owns it.
func (c *Cuts) surviving(n *node, i int, choices []int) *node {
	s := &node{kind: n.kind, now: n.now, data: n.data, dir: n.dir}
	for k, d := range c.dims {
		if d.inode != i || d.kind != ofMeta || choices[k] == len(n.metas) {
			continue
		}
		s.now = n.metas[choices[k]]
	}
	if n.kind == 0 && (s.now.size != int64(len(n.data)) || len(n.sectors) > 0) {
		s.data = make([]byte, s.now.size)
		copy(s.data, n.data)
	}
	for k, d := range c.dims {
		if d.inode != i {
			continue
		}
		choice := choices[k]
		switch d.kind {
		case ofSector:
			x := n.sectors[d.index]
			from := x.index * sectorSize
			if choice < len(x.versions) && from < len(s.data) {
				copy(s.data[from:min(from+sectorSize, len(s.data))], x.versions[choice])
			}
		case ofEntry:
			if s.dir = c.ownDir(s.dir, n.dir); choice < len(n.dir[d.index].versions) {
				s.dir[d.index].inode = n.dir[d.index].versions[choice]
			}
		case ofLog:
			s.dir = replay(n.dir, n.log[:choice])
		}
	}
	if n.kind == fs.ModeDir {
		s.dir = slices.DeleteFunc(c.ownDir(s.dir, n.dir), func(e entry) bool { return e.inode == 0 })
		for j := range s.dir {
			s.dir[j].versions = nil
		}
	}
	return s
}

// ownDir copies dir if it is still the shared one.
func (c *Cuts) ownDir(dir, shared []entry) []entry {
	if len(dir) > 0 && len(shared) > 0 && &dir[0] == &shared[0] {
		return slices.Clone(dir)
	}
	return dir
}

// replay applies operations to the durable entries.
func replay(dir []entry, log []dirOp) []entry {
	n := &node{dir: slices.Clone(dir)}
	for i := range n.dir {
		if v := n.dir[i].versions; len(v) > 0 {
			n.dir[i].inode = v[0]
		}
	}
	set := func(name string, inode int) {
		i, _ := n.find(name)
		n.dir[i].inode = inode
	}
	for _, op := range log {
		if op.from != "" {
			set(op.from, 0)
		}
		set(op.name, op.inode)
	}
	return n.dir
}
