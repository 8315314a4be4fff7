package merge

import "bytes"

// MadeFrom answers which of several versions ours was made from, where that is not known: the index of one of bases. They
// are in the order of their age, the newest first, and nil is a missing document. likely is the one that the thread which
// writes was given last; newer ones were given to others of its process.
//
// It is the likely one, unless ours has what happened between that and a newer one and takes nothing of it back: then one
// thread read and another writes, as goroutines and pools of threads do. Or unless ours takes back what happened between
// an older one and the likely one, takes up nothing of it, and does something of its own to the older one: then its writer
// had the older one in memory. Forgetting and deleting cannot always be told apart; a program that means to delete what
// others added is taken at its word as long as it changes nothing else.
//
// A version that does not parse is chosen only where none does.
func MadeFrom(ours []byte, bases [][]byte, likely int, f Format, pol *Policy) int {
	if len(bases) < 2 {
		return 0
	}
	m := maker{ours: ours, bases: bases, f: f, pol: pol, known: make([]map[editKey]int, len(bases))}
	for likely < len(bases) && m.edits(likely) == nil {
		likely++
	}
	if likely >= len(bases) {
		return 0
	}
	for newer := range likely {
		if others := m.between(likely, newer); len(others) > 0 && m.takesUp(others, m.edits(likely), m.edits(newer)) {
			return newer
		}
	}
	undone := m.edits(likely)
	for older := likely + 1; older < len(bases) && len(undone) > 0; older++ {
		others := m.between(older, likely)
		if len(others) == 0 {
			continue
		}
		if mine := m.edits(older); len(mine) > 0 && m.fromMemory(others, mine, undone) {
			likely, undone = older, mine // and maybe from one that is older still
		}
	}
	return likely
}

type maker struct {
	ours  []byte
	bases [][]byte
	f     Format
	pol   *Policy
	known []map[editKey]int // from each base to ours; nil: not asked for yet
}

// edits from a base to ours; nil if the base does not parse.
func (m maker) edits(base int) map[editKey]int {
	if m.known[base] == nil {
		m.known[base] = m.diff(m.bases[base], m.ours)
	}
	return m.known[base]
}

func (m maker) between(older, newer int) map[editKey]int {
	if a, b := m.bases[older], m.bases[newer]; (a == nil) == (b == nil) && bytes.Equal(a, b) {
		return nil
	}
	return m.diff(m.bases[older], m.bases[newer])
}

func (m maker) diff(a, b []byte) map[editKey]int {
	c, err := Diff(a, b, m.f, m.pol)
	if err != nil {
		return nil
	}
	return editsOf(c)
}

// takesUp: ours has something of what others did, and takes nothing of it back.
func (m maker) takesUp(others, mine, undone map[editKey]int) bool {
	has := false
	for e := range others {
		has = has || mine[e] > 0 && !m.counts(e)
		if undone[editKey{e.at, e.new, e.old}] > 0 {
			return false
		}
	}
	return has
}

// fromMemory: of what others did, ours has nothing and takes something back.
func (m maker) fromMemory(others, mine, undone map[editKey]int) bool {
	takenBack := false
	for e := range others {
		if mine[e] > 0 && !m.counts(e) {
			return false
		}
		if undone[editKey{e.at, e.new, e.old}] > 0 {
			takenBack = true
		}
	}
	return takenBack
}

// counts: where numbers are summed, two who counted on from the same one did the same edit, and neither has taken up the other's.
func (m maker) counts(e editKey) bool {
	at, err := ParsePointer(e.at)
	if err != nil {
		return false
	}
	rule, _ := m.pol.Rule(at)
	return rule.Merge == Sum
}

// editKey is an edit without the index of an element, which other edits shift. Values are fingerprints, 0 for a missing
// one.
type editKey struct {
	at       string
	old, new uint64
}

func editsOf(c *Change) map[editKey]int {
	edits := map[editKey]int{}
	c.root.places("", func(at string, old, new *node) {
		edits[editKey{at, printOf(old), printOf(new)}]++
	})
	return edits
}

func printOf(n *node) uint64 {
	if n == nil {
		return 0
	}
	return n.print()
}

func (e *delta) places(at string, visit func(at string, old, new *node)) {
	switch {
	case e == nil:
	case e.replaces():
		visit(at, e.base, e.ours)
	case e.list != nil:
		at += "/-"
		l := e.list
		for _, r := range l.insert {
			for j := r.from; j < r.to; j++ {
				visit(at, nil, l.ours.value(j))
			}
		}
		for i, f := range l.fate {
			switch c := f.change; {
			case f.gone:
				visit(at, l.base.value(l.front+i), nil)
			case c != nil && !similar(c.base, c.ours): // paired for their place only
				visit(at, c.base, nil)
				visit(at, nil, c.ours)
			default:
				c.places(at, visit)
			}
		}
	default:
		for _, m := range e.members {
			m.places(at+Pointer{m.name}.String(), visit)
		}
	}
}
