package model

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
)

// Config is one world to search.
type Config struct {
	// Programs holds one string for each process, a letter for each change:
	// J journaled: acknowledged after the sidecar's fsync
	// R journaled, and refused by the policy: it belongs into quarantine
	// D default: appended without fsync, acknowledged when its watermark is known durable
	// T default, but the lock is not to be had in time: synced then, and promised to be kept pending
	// L a change that found no guard directory, and replaces the target under <target>.lock alone; the first of its process
	// U Update: carried in memory by the folder, acknowledged after step 7
	// A process folds once more at its end, and whenever it was started again.
	Programs []string
	Kills    int // how many processes are killed
	Losses   int // how often the power fails
	// Outsiders is how often a program without any lock replaces the target by what it read and an edit of its own.
	// The target's directory then keeps the order of renames over a power cut.
	Outsiders  int
	Faults     int  // how many calls fail: fsync with EIO, opening a sidecar with EMFILE
	ParentLies bool // after a failed fsync of the target's directory the next one returns success and does nothing
	Inherit    bool // <target>.lock is held by an ancestor of all: only guard/lock excludes
	Truncate   bool // a process cuts its own sidecar back
}

func (c Config) String() string {
	var b strings.Builder
	b.WriteString(strings.Join(c.Programs, " "))
	for _, x := range []struct {
		n    int
		what string
	}{{c.Kills, "kills"}, {c.Losses, "power losses"}, {c.Outsiders, "outsiders"}, {c.Faults, "faults"}} {
		if x.n > 0 {
			fmt.Fprintf(&b, ", %s %d", x.what, x.n)
		}
	}
	for _, x := range []struct {
		is   bool
		what string
	}{{c.ParentLies, "the directory lies after a failed fsync"}, {c.Inherit, "inherited lock"}, {c.Truncate, "truncation"}} {
		if x.is {
			b.WriteString(", " + x.what)
		}
	}
	return b.String()
}

// Breach is a kind of broken promise.
type Breach string

const (
	Kept     Breach = ""
	Torn     Breach = "torn"     // the target is not a complete version
	Lost     Breach = "lost"     // an acknowledged change, or an outsider's edit, is gone
	Twice    Breach = "twice"    // a change is in the target twice, or one that was refused is in it
	Stuck    Breach = "stuck"    // nobody can go on: no valid record, or everybody waits
	Contrary Breach = "contrary" // what is on disk contradicts itself
)

// Model is a protocol, weakened or not, in a world.
type Model struct {
	Config
	whole    bool // not weakened
	weak     weakness
	next     [stepCount]step
	resolve  [stepCount]step
	programs []string
	base     [maxProcs]int // the first change of each process
	collect  step          // where a fold goes on that knows its watermarks
	refused  uint8
	owner    [maxChanges]int
	changes  int
}

// New builds the model of a variant; the zero Variant is the protocol itself.
func New(c Config, v Variant) *Model {
	m := &Model{Config: c, weak: v.weak, programs: c.Programs, whole: v.weak == 0 && len(v.Without)+len(v.Move) == 0}
	for i := range m.resolve {
		m.resolve[i] = step(i)
	}
	for _, sequence := range order {
		steps := slices.Clone(sequence)
		for _, x := range v.Without {
			if i := slices.Index(steps, x); i >= 0 {
				m.resolve[x] = steps[i+1]
				steps = slices.Delete(steps, i, i+1)
			}
		}
		for _, mv := range v.Move {
			i := slices.Index(steps, mv.step)
			if i < 0 {
				continue
			}
			steps = slices.Delete(steps, i, i+1)
			steps = slices.Insert(steps, slices.Index(steps, mv.before), mv.step)
		}
		for i := range steps[:len(steps)-1] {
			m.next[steps[i]] = steps[i+1]
		}
	}
	m.collect = m.next[writeSettledHappened]
	for range v.Without { // a removed step may lead to a removed step
		for i := range m.resolve {
			m.resolve[i] = m.resolve[m.resolve[i]]
		}
	}
	for i, program := range c.Programs {
		m.base[i] = m.changes
		for _, op := range program {
			m.owner[m.changes] = i
			if op == 'R' {
				m.refused |= 1 << m.changes
			}
			m.changes++
		}
	}
	return m
}

func (m *Model) index(s *state, p *process) int {
	for i := range s.procs {
		if &s.procs[i] == p {
			return i
		}
	}
	panic("not a process of this state")
}

func (m *Model) id(s *state, p *process) uint8 { return uint8(m.index(s, p)) + 1 }

// op is what p is at: a letter of its program, 0 behind its end.
func (m *Model) op(s *state, p *process) byte {
	program := m.programs[m.index(s, p)]
	if int(p.next) >= len(program) {
		return 0
	}
	return program[p.next]
}

func (m *Model) current(s *state, p *process) int { return m.base[m.index(s, p)] + int(p.next) }

func (m *Model) initial() state {
	s := state{kills: uint8(m.Kills), losses: uint8(m.Losses), outsiders: uint8(m.Outsiders), faults: uint8(m.Faults)}
	s.inodes[1] = written | onDisk
	s.parent.target, s.parent.targetDisk = 1, 1
	for gen := uint8(2); gen <= 3; gen++ {
		r := record{gen: gen, valid: 1}
		s.commits[m.file(gen)] = commitFile{disk: r, cache: r}
	}
	s.settled = 3
	for i := range s.sidecars {
		s.sidecars[i].linkedMaybe = 1
	}
	for i := range m.programs {
		p := &s.procs[i]
		p.flags = needsFold
		m.arrive(&s, p, m.proceed(&s, p))
	}
	s.canonical(m)
	return s
}

// event names a transition.
type event struct {
	what string
	proc int // -1: nobody
}

// successors calls emit for every transition of s, in a fixed order. cut says whether the power cuts of a state, whose
// processes have all been started again, are to be followed: they lead to the same disks whatever the processes did.
func (m *Model) successors(s *state, cut func(*state) bool, emit func(*state, event)) {
	for i := range m.programs {
		m.stepsOf(s, i, emit)
	}
	if s.kills > 0 {
		for i := range m.programs {
			t := *s
			m.restart(&t, &t.procs[i])
			if pc := s.procs[i].pc; pc == done || pc == stopped || t == *s {
				continue
			}
			t.kills--
			emit(&t, event{"killed", i})
		}
	}
	if s.outsiders > 0 && !m.anyoneAt(s, rename) {
		// Between the check of step 7 and the rename nothing helps: a limit that is documented.
		t := *s
		t.outsiders--
		inode, _ := t.fresh()
		t.inodes[inode] = t.inodes[t.parent.target].with(outside) | written | onDisk
		t.parent.add(opRename, 0, inode)
		t.acked |= 1 << outside
		emit(&t, event{"an outsider replaces the target", -1})
	}
	if s.losses > 0 {
		t := *s
		t.losses--
		for i := range m.programs {
			m.restart(&t, &t.procs[i])
		}
		if cut(&t) {
			t.powerCuts(m.Outsiders > 0, func(u *state) {
				if u.inodes[u.parent.target].count(outside) == 0 {
					u.acked &^= 1 << outside // it was not synced by anybody
				}
				emit(u, event{"the power fails", -1})
			})
		}
	}
}

func (m *Model) stepsOf(s *state, i int, emit func(*state, event)) {
	pc := s.procs[i].pc
	if pc == done || pc == stopped {
		return
	}
	tr := &transitions[pc]
	if pc == lockTarget || pc == lockGuard && m.Inherit {
		t := *s
		if p := &t.procs[i]; m.seesSettled(&t, p) {
			t.acked |= 1 << m.current(&t, p)
			m.arrive(&t, p, m.afterFold(&t, p))
			emit(&t, event{"sees settled cover its change: acknowledge", i})
		}
	}
	if tr.ready != nil && !tr.ready(m, s, &s.procs[i]) {
		return
	}
	t := *s
	m.arrive(&t, &t.procs[i], tr.do(m, &t, &t.procs[i]))
	emit(&t, event{tr.label, i})
	if tr.fault != nil && s.faults > 0 {
		t := *s
		t.faults--
		tr.fault(m, &t, &t.procs[i])
		emit(&t, event{tr.label + ": FAILS", i})
	}
}

func (m *Model) anyoneAt(s *state, pc step) bool {
	for i := range m.programs {
		if s.procs[i].pc == pc {
			return true
		}
	}
	return false
}

// broken says which promise s breaks, and how.
func (m *Model) broken(s *state) (Breach, string) {
	v := s.inodes[s.parent.target]
	if v&written == 0 {
		return Torn, "the target is not a complete version"
	}
	for c := range outside + 1 {
		if v.count(c) > 1 {
			return Twice, fmt.Sprintf("change %s is in the target %d times", letter(c), v.count(c))
		}
		if m.refused>>c&1 == 1 && v.count(c) > 0 {
			return Twice, fmt.Sprintf("refused change %s is in the target", letter(c))
		}
	}
	if s.acked>>outside&1 == 1 && v.count(outside) == 0 {
		return Lost, "the outsider's edit is lost"
	}
	// What package sidecar takes for damage must never be the protocol's own doing. A weakened one may do it on the way
	// to worse.
	if last := s.newest(); m.whole && last != nil && s.settled > last.gen {
		return Contrary, fmt.Sprintf("settled says g%d, the newest valid record is g%d", s.settled, last.gen)
	}
	return Kept, ""
}

// recovered kills everybody, lets one process recover, and says which promise is broken after that.
func (m *Model) recovered(t *state) (Breach, string) {
	p := &t.procs[0]
	for p.pc != done {
		if p.pc == stopped {
			return Stuck, "recovery stops: no valid commit record"
		}
		m.arrive(t, p, transitions[p.pc].do(m, t, p))
		if b, what := m.broken(t); b != Kept {
			return b, "during recovery, " + what
		}
	}
	v := t.inodes[t.parent.target]
	for c := range m.changes {
		if t.acked>>c&1 == 0 {
			continue
		}
		if m.refused>>c&1 == 1 {
			if t.quarantine>>c&1 == 0 {
				return Lost, fmt.Sprintf("refused change %s was acknowledged and is not in quarantine after recovery", letter(c))
			}
		} else if v.count(c) != 1 {
			return Lost, fmt.Sprintf("change %s was acknowledged and is not in the target after recovery", letter(c))
		}
	}
	return Kept, ""
}

// stuck says that nobody can take a step and somebody should: every wait must be for somebody who lives and goes on.
func (m *Model) stuck(s *state) bool {
	waiting := false
	for i := range m.programs {
		waiting = waiting || s.procs[i].pc != done && s.procs[i].pc != stopped
		moved := false
		m.stepsOf(s, i, func(*state, event) { moved = true })
		if moved {
			return false
		}
	}
	return waiting
}

// allDead is s after everybody was killed, with one process left that recovers and no budget for more mishaps.
func (m *Model) allDead(s *state) state {
	t := *s
	for i := range m.programs {
		p := &t.procs[i]
		p.next = uint8(len(m.programs[i]))
		m.restart(&t, p)
		if i > 0 {
			*p = process{next: p.next}
		}
	}
	t.kills, t.losses, t.outsiders, t.faults = 0, 0, 0, 0
	t.canonical(m)
	return t
}

func letter(change int) string {
	if change == outside {
		return "X"
	}
	return string(rune('a' + change))
}

// Result of a search.
type Result struct {
	States      int
	Transitions int
	Recoveries  int // different disks from which a recovery was run to its end
	Complete    bool
	Breach      Breach
	Violation   string // in words
	Trace       []string
}

// Search visits the states breadth first, so that a violation comes with one of the shortest traces, until one is
// found, or all are visited, or limit is reached (0: none). States are kept as 64-bit hashes: with n states the
// probability that one is taken for another and not visited is about n²/2^65, 2e-4 for a hundred million.
func (m *Model) Search(limit int, progress func(states, depth int)) Result {
	seed := maphash.MakeSeed()
	visited, disks, cuts := newSet(), newSet(), newSet()
	type origin struct {
		parent uint32
		index  uint16
	}
	var origins []origin
	type entry struct {
		state state
		id    uint32
	}
	var result Result
	var frontier, after []entry
	add := func(t *state, parent uint32, index int) Breach {
		result.Transitions++
		t.canonical(m)
		if !visited.add(maphash.Comparable(seed, *t)) {
			return Kept
		}
		if index > 1<<16-1 {
			panic("too many successors")
		}
		origins = append(origins, origin{parent, uint16(index)})
		after = append(after, entry{*t, uint32(len(origins) - 1)})
		breach, what := m.broken(t)
		if breach == Kept && m.stuck(t) {
			breach, what = Stuck, "everybody waits for somebody"
		}
		if breach == Kept {
			if dead := m.allDead(t); disks.add(maphash.Comparable(seed, dead)) {
				breach, what = m.recovered(&dead)
			}
		}
		result.Breach, result.Violation = breach, what
		return breach
	}
	finish := func() Result {
		result.States, result.Recoveries = visited.n, disks.n
		if result.Breach == Kept {
			return result
		}
		var path []uint16
		for id := uint32(len(origins) - 1); id != 0; id = origins[id].parent {
			path = append(path, origins[id].index)
		}
		slices.Reverse(path)
		result.Trace = m.trace(path)
		return result
	}
	first := m.initial()
	if add(&first, 0, 0) != Kept {
		return finish()
	}
	for depth := 0; len(after) > 0; depth++ {
		if progress != nil {
			progress(visited.n, depth)
		}
		frontier, after = after, frontier[:0]
		for i := range frontier {
			e := &frontier[i]
			index, breach := 0, Kept
			m.successors(&e.state, func(t *state) bool {
				u := *t
				u.canonical(m)
				return cuts.add(maphash.Comparable(seed, u))
			}, func(t *state, _ event) {
				if breach == Kept {
					breach = add(t, e.id, index)
				}
				index++
			})
			if breach != Kept {
				return finish()
			}
			if limit > 0 && visited.n > limit {
				return finish()
			}
		}
	}
	result.Complete = true
	return finish()
}

// trace runs a path again, for a reader.
func (m *Model) trace(path []uint16) []string {
	s := m.initial()
	lines := []string{"start: " + m.describe(&s)}
	for n, want := range path {
		index := 0
		var to state
		var by event
		m.successors(&s, func(*state) bool { return true }, func(t *state, e event) {
			if index == int(want) {
				to, by = *t, e
			}
			index++
		})
		s = to
		s.canonical(m)
		who := "   "
		if by.proc >= 0 {
			who = fmt.Sprintf("P%d ", by.proc)
		}
		lines = append(lines, fmt.Sprintf("%3d %s%s", n+1, who, by.what), "        "+m.describe(&s))
	}
	if breach, what := m.broken(&s); breach != Kept {
		return append(lines, "broken: "+what)
	}
	if m.stuck(&s) {
		return append(lines, "broken: everybody waits for somebody")
	}
	dead := m.allDead(&s)
	_, what := m.recovered(&dead)
	return append(lines, "then everybody is killed and one process recovers: "+m.describe(&dead), "broken: "+what)
}

// describe is a state in one line: programs' view, and in [brackets] what differs on disk.
func (m *Model) describe(s *state) string {
	var b strings.Builder
	d := &s.parent
	fmt.Fprintf(&b, "target v%d%s", d.target, s.inodes[d.target])
	if d.target != d.targetDisk {
		fmt.Fprintf(&b, " [v%d%s]", d.targetDisk, s.inodes[d.targetDisk])
	}
	for i := range d.temps {
		switch {
		case d.temps[i] != 0 && d.tempsDisk[i] != 0:
			fmt.Fprintf(&b, "; temp%d=v%d%s", i, d.temps[i], s.inodes[d.temps[i]])
		case d.temps[i] != 0:
			fmt.Fprintf(&b, "; temp%d=v%d%s [absent]", i, d.temps[i], s.inodes[d.temps[i]])
		case d.tempsDisk[i] != 0:
			fmt.Fprintf(&b, "; temp%d absent [v%d]", i, d.tempsDisk[i])
		}
	}
	if r := s.newest(); r != nil {
		c := s.commits[m.file(r.gen)]
		fmt.Fprintf(&b, "; commit g%d", r.gen)
		if r.temp != 0 {
			fmt.Fprintf(&b, " temp%d v%d→v%d", r.temp, r.from, r.to)
		}
		fmt.Fprintf(&b, " %s→%s", m.marksText(r.before), m.marksText(r.after))
		if c.cache != c.disk {
			if c.disk.valid == 1 {
				fmt.Fprintf(&b, " [g%d]", c.disk.gen)
			} else {
				b.WriteString(" [torn]")
			}
		}
	} else {
		b.WriteString("; no valid commit")
	}
	fmt.Fprintf(&b, "; settled g%d", s.settled)
	for i, c := range s.sidecars {
		if c.linked == 0 && c.linkedMaybe == 1 {
			continue
		}
		fmt.Fprintf(&b, "; sidecar %s", letter(i))
		if c.linked == 0 {
			b.WriteString(" removed [may return]")
		} else if c.linkedMaybe != 2 {
			b.WriteString(" [may be absent]")
		}
		b.WriteString(" {")
		for seq := range 3 {
			if c.lines>>seq&1 == 1 {
				fmt.Fprintf(&b, "%d:%s", seq+1, letter(int(c.first)+seq))
			}
		}
		b.WriteString("}")
		if c.linesMaybe != 1<<c.lines {
			b.WriteString(" [unsynced]")
		}
	}
	if s.quarantine != 0 {
		fmt.Fprintf(&b, "; quarantine %s", set(s.quarantine))
	}
	fmt.Fprintf(&b, "; acknowledged %s", set(s.acked))
	return b.String()
}

func (v version) String() string {
	if v&written == 0 {
		return "(torn)"
	}
	var b strings.Builder
	for c := range outside + 1 {
		b.WriteString(strings.Repeat(letter(c), v.count(c)))
	}
	if v&onDisk == 0 {
		return "(" + b.String() + " [torn])"
	}
	return "(" + b.String() + ")"
}

func (m *Model) marksText(w marks) string {
	var parts []string
	for i := range m.changes {
		if w.of(i) > 0 {
			parts = append(parts, fmt.Sprintf("%s:%d", letter(i), w.of(i)))
		}
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func set(bits uint8) string {
	var b strings.Builder
	for c := range 8 {
		if bits>>c&1 == 1 {
			b.WriteString(letter(c))
		}
	}
	return "{" + b.String() + "}"
}

// hashSet is a set of hashes with open addressing: 8 bytes a state at twice the size.
type hashSet struct {
	slots []uint64
	n     int
}

func newSet() *hashSet { return &hashSet{slots: make([]uint64, 1<<12)} }

func (h *hashSet) add(x uint64) bool {
	if x == 0 {
		x = 1
	}
	if h.n*4 > len(h.slots)*3 {
		old := h.slots
		h.slots, h.n = make([]uint64, 2*len(old)), 0
		for _, y := range old {
			if y != 0 {
				h.add(y)
			}
		}
	}
	mask := uint64(len(h.slots) - 1)
	for i := x & mask; ; i = (i + 1) & mask {
		switch h.slots[i] {
		case x:
			return false
		case 0:
			h.slots[i] = x
			h.n++
			return true
		}
	}
}
