package merge

import "bytes"

func (df differ) objects(base, ours *node) *delta {
	front, back := sameEnds(base, ours, &df.ends, df.sameMember)
	w := window{base: base, ours: ours, front: front, endBase: len(base.kids) - back, endOurs: len(ours.kids) - back}
	c := comparer{df: df, delta: delta{base: base, ours: ours}}
	w.pair(c.add)
	c.flush()
	if c.members == nil {
		return nil
	}
	return &c.delta
}

// window is what two objects do not have in common at their beginning and their end.
type window struct {
	base, ours       *node
	front            int // members in front of it
	endBase, endOurs int
	found            []lookedUp
}

// lookedUp is where a name stands last in base and in ours.
type lookedUp struct {
	name string
	i, j int
}

// pair calls add for each member that counts in base or in ours and stands in the window of one of them: first for those
// that are not in that of ours, -1 for one that is missing.
func (w *window) pair(add func(i, j int)) {
	find := w.find
	if w.endBase-w.front+w.endOurs-w.front > fewNames {
		find = w.lookUp
		if w.base.unique() && w.ours.unique() {
			w.inStep(add)
			return
		}
	}
	for i := w.front; i < w.endBase; i++ {
		last, j := find(w.base.name(i))
		if last == i && (j < w.front || j >= w.endOurs) { // else it is an earlier double, or its turn comes below
			add(i, j)
		}
	}
	for j := w.front; j < w.endOurs; j++ {
		if i, last := find(w.ours.name(j)); last == j {
			add(i, j)
		}
	}
}

// inStep is pair for objects without doubles: most members follow each other in ours as in base, and are not looked up.
func (w *window) inStep(add func(i, j int)) {
	next := w.front
	for i := w.front; i < w.endBase; i++ {
		if next < w.endOurs && bytes.Equal(w.base.key(i), w.ours.key(next)) {
			next++
			continue
		}
		switch j := w.ours.lookup(w.base.name(i)); {
		case j >= w.front && j < w.endOurs:
			next = j + 1
		default:
			add(i, j)
		}
	}
	next = w.front
	for j := w.front; j < w.endOurs; j++ {
		i := next
		if next >= w.endBase || !bytes.Equal(w.base.key(next), w.ours.key(j)) {
			i = w.base.lookup(w.ours.name(j))
		}
		if i >= 0 {
			next = i + 1
		}
		add(i, j)
	}
}

func (w *window) lookUp(name string) (i, j int) { return w.base.lookup(name), w.ours.lookup(name) }

// fewNames is up to how many names are searched for one by one.
const fewNames = 16

// find is lookUp for a few names: what stands around the window is the same in both, and is read once for each.
func (w *window) find(name string) (i, j int) {
	for _, f := range w.found {
		if f.name == name {
			return f.i, f.j
		}
	}
	i, j = w.search(name)
	w.found = append(w.found, lookedUp{name, i, j})
	return i, j
}

func (w *window) search(name string) (i, j int) {
	if i = w.base.lastNamed(name, w.endBase, len(w.base.kids)); i >= 0 {
		return i, i - w.endBase + w.endOurs
	}
	i = w.base.lastNamed(name, w.front, w.endBase)
	j = w.ours.lastNamed(name, w.front, w.endOurs)
	if i < 0 || j < 0 {
		before := w.base.lastNamed(name, 0, w.front)
		i, j = max(i, before), max(j, before)
	}
	return i, j
}

// comparer finds out about pairs of members, many at a time.
type comparer struct {
	df differ
	delta
	pairs []memberPair
}

type memberPair struct {
	i, j  int // -1: missing
	equal bool
	delta *delta
}

func (c *comparer) add(i, j int) {
	const atOnce = 1 << 14
	c.pairs = append(c.pairs, memberPair{i: i, j: j})
	if len(c.pairs) == atOnce {
		c.flush()
	}
}

func (c *comparer) flush() {
	c.compareTexts()
	c.compareTrees()
	for _, p := range c.pairs {
		switch {
		case p.i < 0:
			c.members = append(c.members, memberDelta{name: c.ours.name(p.j), at: p.j, delta: &delta{ours: c.ours.value(p.j)}})
		case p.j < 0:
			c.members = append(c.members, memberDelta{name: c.base.name(p.i), at: -1, delta: &delta{base: c.base.value(p.i)}})
		case p.delta != nil:
			c.members = append(c.members, memberDelta{name: c.ours.name(p.j), at: p.j, delta: p.delta})
		}
	}
	c.pairs = c.pairs[:0]
}

// compareTexts compares what needs no nodes.
func (c *comparer) compareTexts() {
	inParallel(len(c.pairs), 1<<10, func(from, to int) {
		for k := from; k < to; k++ {
			if p := &c.pairs[k]; p.i >= 0 && p.j >= 0 {
				p.equal, _ = c.df.equalChildren(c.base, p.i, c.ours, p.j)
			}
		}
	})
}

// worthwhile is from how many bytes on several processors are faster than one.
const worthwhile = 64 << 10

// compareTrees goes into the pairs that are left. Each has its own part of both trees, so that they do not meet.
func (c *comparer) compareTrees() {
	var left []*memberPair
	size := 0
	for k := range c.pairs {
		if p := &c.pairs[k]; p.i >= 0 && p.j >= 0 && !p.equal {
			size += len(c.base.value(p.i).raw) + len(c.ours.value(p.j).raw)
			left = append(left, p)
		}
	}
	some := 1
	if size < worthwhile {
		some = len(left)
	}
	inParallel(len(left), some, func(from, to int) {
		for _, p := range left[from:to] {
			p.delta = c.df.values(c.base.value(p.i), c.ours.value(p.j))
		}
	})
	for k := len(left) - 1; k >= 0; k-- { // the last made is the first to go
		if p := left[k]; p.delta == nil {
			c.base.forget(p.i)
			c.ours.forget(p.j)
		}
	}
}
