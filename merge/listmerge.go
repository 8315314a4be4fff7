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
