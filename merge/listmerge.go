package merge

import "fmt"

// listEdits is diff3: what ours did to each element of base and between them, done to theirs. Only edits to one
// element can conflict; insertions of both sides at one place are both kept, theirs first.
func (m *merger) listEdits(theirs *node, at Pointer, e *delta) {
	l, t := e.list, m.df.align(e.base, theirs)
	pos := 0
	gone := map[int]bool{} // places in theirs.kids to take out at the end, all at once
	for i := range len(l.fate) + 1 {
		pos += len(t.insert[i])
		for _, added := range l.insert[i] {
			m.insert(theirs, len(at), pos, nil, added.text())
			pos++
		}
		if i == len(l.fate) {
			break
		}
		of, tf := l.fate[i], t.fate[i]
		var added *node
		if m.additions && of.change != nil && !similar(of.change.base, of.change.ours) {
			added, of.change = of.change.ours, nil // they were paired for their place only
		}
		here := append(at[:len(at):len(at)], fmt.Sprint(pos))
		rule := m.pol.rule(here)
		switch {
		case tf.gone && (of.gone || of.change == nil):
		case tf.gone:
			if raw, take := m.revive(here, of.change, rule); take {
				m.insert(theirs, len(at), pos, nil, raw)
				pos++
			}
		case of.gone:
			if m.mayDelete(here, &delta{base: l.nodes[i]}, theirs.kids[pos].value, rule) {
				gone[pos] = true
			}
			pos++
		default:
			if of.change != nil {
				m.both(theirs, pos, here, of.change, rule)
			}
			pos++
		}
		if added != nil {
			m.insert(theirs, len(at), pos, nil, added.text())
			pos++
		}
	}
	m.takeOut(theirs, gone)
}

// takeOut removes many children in one pass.
func (m *merger) takeOut(n *node, gone map[int]bool) {
	if len(gone) == 0 {
		return
	}
	m.touched()
	first := n.kids[0].before
	kept := n.kids[:0:0]
	for i, k := range n.kids {
		if !gone[i] {
			kept = append(kept, k)
		}
	}
	n.kids, n.index = kept, nil
	if n.kind == kindLines {
		return
	}
	if len(kept) == 0 {
		n.tail = nil
		return
	}
	kept[0].before = first
	kept[len(kept)-1].after = nil
}

// listAppend: the array only grows. What ours added goes to the end; what it deleted or changed is refused.
func (m *merger) listAppend(theirs *node, at Pointer, l *listDelta) {
	for i := range len(l.fate) + 1 {
		for _, added := range l.insert[i] {
			m.insert(theirs, len(at), len(theirs.kids), nil, added.text())
		}
		if i == len(l.fate) || m.additions {
			continue
		}
		here := append(at[:len(at):len(at)], fmt.Sprint(i))
		switch f := l.fate[i]; {
		case f.gone:
			m.conflict(here, l.nodes[i], nil, l.nodes[i], TakenTheirs, "deleted from a list that only grows")
		case f.change != nil:
			m.conflict(here, f.change.base, f.change.ours, l.nodes[i], TakenTheirs, "changed in a list that only grows")
		}
	}
}

// listSet: elements equal by value are one; ours' additions and deletions are done to the set that is there.
func (m *merger) listSet(theirs *node, at Pointer, e *delta) {
	e.base.expand()
	e.ours.expand()
	inBase, inOurs, inTheirs := setOf(e.base), setOf(e.ours), setOf(theirs)
	if !m.additions {
		gone := map[int]bool{}
		for i := range theirs.kids {
			print := fingerprint(theirs.kids[i].value.text())
			if inBase[print] && !inOurs[print] {
				gone[i] = true
			}
		}
		m.takeOut(theirs, gone)
	}
	for i := range e.ours.kids {
		raw := e.ours.kids[i].value.text()
		print := fingerprint(raw)
		if !inBase[print] && !inTheirs[print] {
			inTheirs[print] = true
			m.insert(theirs, len(at), len(theirs.kids), nil, raw)
		}
	}
}

func setOf(n *node) map[uint64]bool {
	set := make(map[uint64]bool, len(n.kids))
	for i := range n.kids {
		set[fingerprint(n.kids[i].value.text())] = true
	}
	return set
}

// listKeyed: elements are records named by key members, like the members of an object. Elements without a key of
// their own, or sharing one, are beyond naming: those that ours added are appended, none is taken away.
func (m *merger) listKeyed(theirs *node, at Pointer, e *delta, key []string) {
	e.base.expand()
	e.ours.expand()
	base, ours := keysOf(e.base, key), keysOf(e.ours, key)
	gone := map[int]bool{}
	there := keysOf(theirs, key)
	for i := range e.base.kids {
		name, ok := elementKey(e.base.kids[i].value, key)
		if !ok || base[name] != i {
			continue
		}
		if _, kept := ours[name]; kept {
			continue
		}
		j, ok := there[name]
		if !ok || j < 0 {
			continue
		}
		here := append(at[:len(at):len(at)], fmt.Sprint(j))
		if m.mayDelete(here, &delta{base: e.base.kids[i].value}, theirs.kids[j].value, m.pol.rule(here)) {
			gone[j] = true
		}
	}
	unnamed := setOf(e.base)
	for i := range e.ours.kids {
		element := e.ours.kids[i].value
		name, ok := elementKey(element, key)
		if !ok || ours[name] < 0 || base[name] < 0 && hasKey(base, name) || there[name] < 0 && hasKey(there, name) {
			if !unnamed[fingerprint(element.text())] {
				m.insert(theirs, len(at), len(theirs.kids), nil, element.text())
			}
			continue
		}
		var before *node
		if b, ok := base[name]; ok {
			before = e.base.kids[b].value
		}
		change := m.df.values(before, element)
		if change == nil {
			continue
		}
		j, ok := there[name]
		here := append(at[:len(at):len(at)], fmt.Sprint(j))
		if ok {
			m.both(theirs, j, here, change, m.pol.rule(here))
			continue
		}
		if raw, take := m.revive(append(at[:len(at):len(at)], fmt.Sprint(len(theirs.kids))), change, m.pol.rule(here)); take {
			m.insert(theirs, len(at), len(theirs.kids), nil, raw)
		}
	}
	m.takeOut(theirs, gone)
}

func hasKey(keys map[string]int, name string) bool {
	_, ok := keys[name]
	return ok
}

// keysOf maps each key to the place of its element; -1 where two share it.
func keysOf(n *node, key []string) map[string]int {
	keys := make(map[string]int, len(n.kids))
	for i := range n.kids {
		name, ok := elementKey(n.kids[i].value, key)
		if !ok {
			continue
		}
		if _, twice := keys[name]; twice {
			i = -1
		}
		keys[name] = i
	}
	return keys
}
