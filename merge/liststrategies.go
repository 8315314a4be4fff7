package merge

import "strconv"

// listAppend: the array only grows. What ours added goes to the end, what it put in the place of something else, too; what
// it deleted, and what it changed inside an element, is refused.
func (m *merger) listAppend(theirs *node, at Pointer, l *listDelta) {
	counted := m.df.left.counting(l.base)
	for i := range len(l.fate) + 1 {
		for j := l.insert[i].from; j < l.insert[i].to; j++ {
			m.push(theirs, at, l.ours.rawChild(j))
		}
		if i == len(l.fate) || m.additions {
			continue
		}
		f := l.fate[i]
		if !f.gone && f.change == nil {
			continue
		}
		here, element := at.child(strconv.Itoa(l.front+i+counted.before(l.front+i))), l.base.value(l.front+i)
		switch {
		case f.gone:
			m.conflict(here, element, nil, element, TakenTheirs, "deleted from a list that only grows")
		case !similar(f.change.base, f.change.ours): // paired for their places only
			m.conflict(here, element, nil, element, TakenTheirs, "deleted from a list that only grows")
			m.push(theirs, at, f.change.ours.text())
		default:
			m.conflict(here, f.change.base, f.change.ours, element, TakenTheirs, "changed in a list that only grows")
		}
	}
}

// listSet: elements equal by value are one; ours' additions and deletions are done to the set that is there.
func (m *merger) listSet(theirs *node, at Pointer, e *delta) {
	inBase, inOurs, inTheirs := setOf(e.base), setOf(e.ours), setOf(theirs)
	left := func(print uint64) bool { return m.df.left.has(theirs, print) } // on all sides
	if !m.additions {
		gone := map[int]bool{}
		for i := range theirs.kids {
			print := theirs.fingerprint(i)
			if inBase[print] && !inOurs[print] && !left(print) {
				gone[i] = true
			}
		}
		m.takeOut(theirs, gone)
	}
	for i := range e.ours.kids {
		print := e.ours.fingerprint(i)
		if !inBase[print] && !inTheirs[print] && !left(print) {
			inTheirs[print] = true
			m.push(theirs, at, e.ours.rawChild(i))
		}
	}
}

func setOf(n *node) map[uint64]bool {
	n.expand()
	set := make(map[uint64]bool, len(n.kids))
	for i := range n.kids {
		set[n.fingerprint(i)] = true
	}
	return set
}

// countOf is how often each element is in a list.
func countOf(n *node) map[uint64]int {
	n.expand()
	count := make(map[uint64]int, len(n.kids))
	for i := range n.kids {
		count[n.fingerprint(i)]++
	}
	return count
}
