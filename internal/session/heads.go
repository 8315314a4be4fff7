package session

import (
	"cmp"
	"slices"
)

// Heads infers which version of one file a write was made from. It sees what processes do and knows no content: its
// answer is a list of candidates, best first, and whoever has the contents chooses among them (merge.MadeFrom).
//
// A candidate is a head: a version that a process read and has not written anything from yet, or what it wrote last. A
// write consumes its base, so that a program which reads and writes in a loop has few of them. What a process wrote is
// what it knows then, not what a merge made of it. Reads belong to the thread that made them, are copied to a forked
// child, and pass to the parent when the child ends (in jq . f > tmp; mv tmp f the shell never reads f, nor does mv).
//
// P names a process. Heads is not safe for use by several goroutines.
type Heads[P, V comparable] struct {
	processes map[P]*process[P, V]
	ended     []*process[P, V] // the last of them: a child may be noticed when its parent is gone
	clock     uint64
	started   int
}

type process[P, V comparable] struct {
	name   P
	parent P
	start  V         // the version there was when the process started
	heads  []head[V] // in the order they came
	copied []uint64  // the order of each that is its parent's

	mine    []V    // what it wrote, or a process that it knows from, the last of it
	foreign uint64 // order of the last thing here that others did and that the process came to know, or may not know yet
	orphan  bool   // it knows what several knew of which one was its parent
	pooled  bool   // it has written in one thread what it read in another: threads tell nothing
	own     bool   // some of them are no parent's
	number  int    // in the order of starting
}

// head is a version that a process knows.
type head[V comparable] struct {
	version V
	thread  int
	own     bool // written, not read
	direct  bool // by the process itself: not known from its parent or a child
	order   uint64
}

// A process may read a file again and again without ever writing it: of many heads the oldest (what it may hold in
// memory) and the newest are kept.
const (
	oldestKept = 4
	newestKept = 4
	mineKept   = 16
	endedKept  = 16
)

// NewHeads returns an empty Heads.
func NewHeads[P, V comparable]() *Heads[P, V] {
	return &Heads[P, V]{processes: map[P]*process[P, V]{}}
}

// Known says whether p was started and has not exited.
func (h *Heads[P, V]) Known(p P) bool { return h.processes[p] != nil }

// Start notes a process and what the file is now. It knows what its parent knows, or knew at its end; thread is its first one. Of a
// process that has no known parent that is nothing.
func (h *Heads[P, V]) Start(p, parent P, thread int, current V) {
	h.started++
	child := &process[P, V]{name: p, parent: parent, start: current, number: h.started}
	h.processes[p] = child
	if from := h.processes[parent]; from != nil {
		child.inherit(from, thread)
		return
	}
	for _, from := range h.ended {
		if from.name == parent {
			child.inherit(from, thread)
		}
	}
}

// StartOrphan is Start for a process whose parent had ended before anybody noticed whose child it is. It was one of those for which may
// says so, if that ended lately: p may know what any of them knew, or what the file is now.
func (h *Heads[P, V]) StartOrphan(p, adopter P, thread int, current V, may func(parent P) bool) {
	h.Start(p, adopter, thread, current)
	child := h.processes[p]
	for _, from := range h.ended {
		if may(from.name) {
			child.inherit(from, thread)
			child.orphan, child.foreign = true, h.clock+1
		}
	}
}

// inherit: fork copies the memory, and the one thread that called it.
func (p *process[P, V]) inherit(from *process[P, V], thread int) {
	p.foreign = max(p.foreign, from.foreign)
	for _, v := range from.mine {
		p.made(v)
	}
	behind := from.behind()
	for _, k := range from.heads {
		if k.order < behind || slices.ContainsFunc(p.heads, func(known head[V]) bool { return known.version == k.version && known.own == k.own }) {
			continue
		}
		k.thread, k.direct = thread, false
		p.heads = append(p.heads, k)
		p.copied = append(p.copied, k.order)
	}
	p.sort()
}

// behind is the order up to which what p knows is behind its next child: a child of it has written since, and p has looked again. p
// itself may have something older in memory, as an editor that reads the file once more to make a backup.
func (p *process[P, V]) behind() (order uint64) {
	looked := false
	for _, k := range p.heads {
		switch {
		case k.own && !k.direct:
			order, looked = k.order, false
		case k.direct && !k.own:
			looked = true
		}
	}
	if !looked {
		return 0
	}
	return order
}

// Exit forgets a process. Its heads pass to its parent: what a child of a shell read or wrote is what the shell's next
// child builds on. What the child had from its parent and has written from is behind the parent, too, unless that knows it
// by itself: in jq . f > tmp; mv tmp f; jq . f > tmp; mv tmp f the second mv writes nothing that was made of the first version.
func (h *Heads[P, V]) Exit(p P, parentThread int) {
	gone := h.processes[p]
	if gone == nil {
		return
	}
	delete(h.processes, p)
	if len(gone.heads) > 0 {
		h.ended = append(h.ended[max(0, len(h.ended)+1-endedKept):], gone)
	}
	parent := h.processes[gone.parent]
	if parent == nil {
		return
	}
	if slices.ContainsFunc(parent.heads, func(k head[V]) bool { return k.direct }) && slices.ContainsFunc(gone.heads, func(k head[V]) bool {
		return k.own && !slices.Contains(parent.mine, k.version)
	}) {
		parent.foreign = h.clock + 1 // it may have a version in memory from before that
	}
	parent.foreign = max(parent.foreign, gone.foreign)
	for _, v := range gone.mine {
		parent.made(v)
	}
	parent.heads = slices.DeleteFunc(parent.heads, func(known head[V]) bool {
		return !known.direct && slices.Contains(gone.copied, known.order) &&
			!slices.ContainsFunc(gone.heads, func(k head[V]) bool { return k.order == known.order })
	})
	for _, k := range gone.heads {
		if !slices.ContainsFunc(parent.heads, func(known head[V]) bool { return known.version == k.version }) {
			k.thread, k.direct = parentThread, false
			parent.heads = append(parent.heads, k)
			parent.own = true
		}
	}
	parent.sort()
}

// Read notes that a thread was given version v.
func (h *Heads[P, V]) Read(p P, thread int, v V) {
	at := h.processes[p]
	if at == nil {
		return
	}
	known := slices.ContainsFunc(at.heads, func(k head[V]) bool { return k.version == v }) || len(at.heads) == 0 && v == at.start
	if !known && !slices.Contains(at.mine, v) {
		at.foreign = h.clock + 1
	}
	h.Unread(p, thread, v) // before
	h.add(at, head[V]{version: v, thread: thread})
}

// Unread takes back that a thread was given v, which it did not look at.
func (h *Heads[P, V]) Unread(p P, thread int, v V) {
	at := h.processes[p]
	if at == nil {
		return
	}
	at.heads = slices.DeleteFunc(at.heads, func(k head[V]) bool { return k.version == v && k.thread == thread && !k.own })
}

// Wrote notes that a thread wrote v, made from base. What the thread knew before that is behind it: all of it, where base is
// nothing that it knows, because the file was removed and is made anew.
func (h *Heads[P, V]) Wrote(p P, thread int, base, v V) {
	at := h.processes[p]
	if at == nil {
		return
	}
	var consumed uint64
	mine := false
	for _, k := range at.heads {
		if k.version == base && (k.thread == thread || !mine) {
			consumed, mine = k.order, k.thread == thread
		}
	}
	at.pooled = at.pooled || consumed > 0 && !mine
	at.heads = slices.DeleteFunc(at.heads, func(k head[V]) bool {
		return k.order == consumed || k.thread == thread && (k.own || consumed == 0 || k.order < consumed)
	})
	h.add(at, head[V]{version: v, thread: thread, own: true})
	at.made(v)
}

// Bases are the candidates for a write by thread now, the newest first, and which of them is the likely one: the thread's
// newest head, else the process's newest. A process that knows nothing of the file starts from what it was when the process
// started. What is older than the likely one is a candidate only where another one has written since: what a program undoes of its
// own, it undoes.
func (h *Heads[P, V]) Bases(p P, thread int) (bases []V, likely int) {
	at := h.processes[p]
	if at == nil {
		return nil, 0
	}
	if len(at.heads) == 0 {
		return []V{at.start}, 0
	}
	base := len(at.heads) - 1
	for i, k := range at.heads {
		if k.thread == thread && !at.pooled {
			base = i
		}
	}
	for i, k := range slices.Backward(at.heads) {
		if i < base && k.order > at.foreign || slices.Contains(bases, k.version) {
			continue
		}
		bases = append(bases, k.version)
	}
	if at.orphan && !slices.Contains(bases, at.start) {
		bases = append(bases, at.start)
	}
	return bases, slices.Index(bases, at.heads[base].version)
}

// Seen are the versions that p itself read or wrote, of those that may still become a base.
func (h *Heads[P, V]) Seen(p P) (seen []V) {
	if at := h.processes[p]; at != nil {
		for _, k := range at.heads {
			if k.direct {
				seen = append(seen, k.version)
			}
		}
	}
	return seen
}

// Holds are all versions that p knows and that may still become a base: what its parent or a child of it read or wrote, too.
func (h *Heads[P, V]) Holds(p P) (held []V) {
	if at := h.processes[p]; at != nil {
		for _, k := range at.heads {
			held = append(held, k.version)
		}
	}
	return held
}

// Knowing lists the processes that have read or written something themselves, or were told by a child, the youngest first:
// a child before its parent.
func (h *Heads[P, V]) Knowing() []P {
	var all []P
	for p, at := range h.processes {
		if at.own {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b P) int { return h.processes[b].number - h.processes[a].number })
	return all
}

// Memory is the base of a program that is known to write from memory: what the process wrote last, else the first that
// it read.
func (h *Heads[P, V]) Memory(p P) (v V) {
	at := h.processes[p]
	if at == nil {
		return v
	}
	if len(at.heads) == 0 {
		return at.start
	}
	v = at.heads[0].version
	for _, k := range at.heads {
		if k.own {
			v = k.version
		}
	}
	return v
}

// Versions calls f for every version that may still become a base.
func (h *Heads[P, V]) Versions(f func(V)) {
	for _, p := range h.processes {
		f(p.start)
		for _, k := range p.heads {
			f(k.version)
		}
	}
	for _, p := range h.ended {
		for _, k := range p.heads {
			f(k.version)
		}
	}
}

func (h *Heads[P, V]) add(p *process[P, V], k head[V]) {
	h.clock++
	k.order, k.direct = h.clock, true
	p.heads = append(p.heads, k)
	p.own = true
	p.prune()
}

// made notes a version that is no other's.
func (p *process[P, V]) made(v V) {
	if !slices.Contains(p.mine, v) {
		p.mine = append(p.mine, v)
	}
	if n := len(p.mine); n > mineKept {
		p.mine = slices.Delete(p.mine, 0, n-mineKept)
	}
}

// sort puts heads that came from several processes into their order.
func (p *process[P, V]) sort() {
	slices.SortStableFunc(p.heads, func(a, b head[V]) int { return cmp.Compare(a.order, b.order) })
	p.prune()
}

// prune drops from the middle.
func (p *process[P, V]) prune() {
	if n := len(p.heads); n > oldestKept+newestKept {
		p.heads = slices.Delete(p.heads, oldestKept, n-newestKept)
	}
}
