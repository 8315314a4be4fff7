package merge

import "strconv"

// listEdits is diff3: what ours did to each element of base and between them, done to theirs. Only edits to one
// element can conflict; insertions of both sides at one place are both kept, theirs first. Without insert, what ours
// inserted is there already.
func (m *merger) listEdits(theirs *node, at Pointer, l *listDelta, insert bool) {
	t := m.df.align(l.base, theirs)
	pos := t.slot(l.front)
	out := theirs.kids[:pos:pos]
	counted := m.df.left.counting(l.base)
	changed, cut := false, false // cut: the last of out is not what stands in front of pos
	add := func(raw []byte) {
		out = append(out, theirs.kidOf(m.newChild(theirs, len(at), nil, raw)))
		changed, cut = true, true
	}
	keep := func() {
		if cut {
			theirs.standAlone(pos)
			cut = false
		}
		out = append(out, theirs.kids[pos])
		pos++
	}
	for i := range len(l.fate) + 1 {
		for range t.inserted(l.front + i) {
			keep()
		}
		for j := l.insert[i].from; insert && j < l.insert[i].to; j++ {
			add(l.ours.rawChild(j))
		}
		if i == len(l.fate) {
			break
		}
		base, of, gone := l.front+i, l.fate[i], t.gone(l.front+i)
		if of.change == nil && !of.gone {
			if !gone {
				keep()
			}
			continue
		}
		var added *node
		if m.additions && of.change != nil && !similar(of.change.base, of.change.ours) {
			added, of.change = of.change.ours, nil // they were paired for their place only
		}
		here := at.child(strconv.Itoa(len(out) + counted.before(base)))
		rule := m.pol.rule(here)
		switch {
		case gone && (of.gone || of.change == nil):
		case gone:
			if raw, take := m.revive(here, of.change, rule); take {
				add(raw)
			}
		case of.gone && m.mayDelete(here, l.base.value(base), theirs.value(pos), rule):
			changed, cut = true, true
			pos++
		case of.gone:
			keep()
		default:
			if of.change != nil {
				m.both(theirs, pos, here, of.change, rule)
			}
			keep()
		}
		if added != nil {
			add(added.text())
		}
	}
	if changed {
		m.touched()
		if cut {
			theirs.standAlone(pos)
		}
		theirs.kids = append(out, theirs.kids[pos:]...)
	}
}

// slot is the index in ours right behind element i-1 of base, in front of what was inserted there.
func (l *listDelta) slot(i int) int {
	switch {
	case i <= l.front:
		return i
	case i > l.front+len(l.fate):
		return i - len(l.base.kids) + len(l.ours.kids)
	}
	at := l.front
	for k := range i - l.front {
		at += l.insert[k].len()
		if !l.fate[k].gone {
			at++
		}
	}
	return at
}

// inserted is how many elements were put in front of element i of base.
func (l *listDelta) inserted(i int) int {
	if i < l.front || i > l.front+len(l.fate) {
		return 0
	}
	return l.insert[i-l.front].len()
}

func (l *listDelta) gone(i int) bool {
	return i >= l.front && i < l.front+len(l.fate) && l.fate[i-l.front].gone
}

// takeOut removes many children in one pass.
func (m *merger) takeOut(n *node, gone map[int]bool) {
	if len(gone) == 0 {
		return
	}
	m.touched()
	for i := range gone {
		n.standAlone(i + 1)
	}
	kept := n.kids[:0:0]
	for i, k := range n.kids {
		if !gone[i] {
			kept = append(kept, k)
		}
	}
	n.kids = kept
}

// push puts a value behind the last element.
func (m *merger) push(n *node, at Pointer, raw []byte) {
	m.touched()
	n.kids = append(n.kids, n.kidOf(m.newChild(n, len(at), nil, raw)))
}
