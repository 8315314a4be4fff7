package merge

import "fmt"

// listAppend: the array only grows. What ours added goes to the end, what it put in the place of something else, too; what
// it deleted, and what it changed inside an element, is refused.
func (m *merger) listAppend(theirs *node, at Pointer, l *listDelta) {
	add := func(n *node) { m.insert(theirs, len(at), len(theirs.kids), nil, n.text()) }
	for i := range len(l.fate) + 1 {
		for _, added := range l.insert[i] {
			add(added)
		}
		if i == len(l.fate) || m.additions {
			continue
		}
		here := append(at[:len(at):len(at)], fmt.Sprint(i))
		switch f := l.fate[i]; {
		case f.gone:
			m.conflict(here, l.nodes[i], nil, l.nodes[i], TakenTheirs, "deleted from a list that only grows")
		case f.change != nil && !similar(f.change.base, f.change.ours): // paired for their places only
			m.conflict(here, l.nodes[i], nil, l.nodes[i], TakenTheirs, "deleted from a list that only grows")
			add(f.change.ours)
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

// listKeyed: elements are records named by key members, like the members of an object. Elements without a key of their own,
// or sharing one, are beyond naming: those that ours added are appended, as often as it added them, and none is taken away.
func (m *merger) listKeyed(theirs *node, at Pointer, e *delta, key []string) {
	e.base.expand()
	e.ours.expand()
	k := keyedMerge{m, theirs, at, keysOf(e.base, key), keysOf(e.ours, key), keysOf(theirs, key)}
	gone := map[int]bool{}
	if !m.additions {
		k.deletions(e, key, gone)
	}
	held := countOf(e.base)
	for i := range e.ours.kids {
		element := e.ours.kids[i].value
		name, ok := elementKey(element, key)
		if ok && k.ours.unique(name) && !k.base.shared(name) && !k.there.shared(name) {
			k.named(e, name, element)
			continue
		}
		if print := fingerprint(element.text()); held[print] > 0 {
			held[print]--
			continue
		}
		k.add(element.text())
	}
	m.takeOut(theirs, gone)
}

// keyedMerge is one run of listKeyed.
type keyedMerge struct {
	m                 *merger
	theirs            *node
	at                Pointer
	base, ours, there keys
}

func (k *keyedMerge) place(i int) Pointer { return append(k.at[:len(k.at):len(k.at)], fmt.Sprint(i)) }

func (k *keyedMerge) add(raw []byte) {
	k.m.insert(k.theirs, len(k.at), len(k.theirs.kids), nil, raw)
}

// named merges a record that every side that has it can tell from all others.
func (k *keyedMerge) named(e *delta, name string, element *node) {
	var before *node
	if b, ok := k.base[name]; ok {
		before = e.base.kids[b].value
	}
	change := k.m.df.values(before, element)
	if change == nil {
		return
	}
	if j, ok := k.there[name]; ok {
		k.m.both(k.theirs, j, k.place(j), change, k.m.pol.rule(k.place(j)))
		return
	}
	here := k.place(len(k.theirs.kids))
	if raw, take := k.m.revive(here, change, k.m.pol.rule(here)); take {
		k.add(raw)
	}
}

// deletions marks what ours deleted. What cannot be named stays, and that is said.
func (k *keyedMerge) deletions(e *delta, key []string, gone map[int]bool) {
	held := countOf(e.ours)
	for i := range e.base.kids {
		element := e.base.kids[i].value
		name, ok := elementKey(element, key)
		if ok && k.base.unique(name) && !k.there.shared(name) {
			j, there := k.there[name]
			if _, kept := k.ours[name]; there && !kept && k.m.mayDelete(k.place(j), &delta{base: element}, k.theirs.kids[j].value, k.m.pol.rule(k.place(j))) {
				gone[j] = true
			}
			continue
		}
		print := fingerprint(element.text())
		if held[print] > 0 {
			held[print]--
			continue
		}
		for j := range k.theirs.kids {
			if have := k.theirs.kids[j].value; fingerprint(have.text()) == print {
				k.m.conflict(k.place(j), element, nil, have, TakenTheirs, "deleted by ours, without a key of its own")
				break
			}
		}
	}
}

// keys maps the key of a record to its place; to shared where several have it.
type keys map[string]int

const sharedKey = -1

func (k keys) unique(name string) bool { i, ok := k[name]; return ok && i != sharedKey }
func (k keys) shared(name string) bool { i, ok := k[name]; return ok && i == sharedKey }

func keysOf(n *node, key []string) keys {
	out := make(keys, len(n.kids))
	for i := range n.kids {
		name, ok := elementKey(n.kids[i].value, key)
		if !ok {
			continue
		}
		if _, twice := out[name]; twice {
			i = sharedKey
		}
		out[name] = i
	}
	return out
}

// elementKey is the text of the key members of a record, exact; ok is false where one is missing.
func elementKey(n *node, key []string) (string, bool) {
	if n.kind != kindObject {
		return "", false
	}
	var out []byte
	for _, name := range key {
		v := n.child(name)
		if v == nil || v.container() {
			return "", false
		}
		text := string(v.raw)
		switch v.kind {
		case kindString:
			text = decodeString(v.raw)
		case kindNumber:
			text = canonicalNumber(v.raw)
		}
		out = fmt.Appendf(out, "%c%d:%s", v.kind, len(text), text)
	}
	return string(out), true
}

// countOf is how often each element is in a list.
func countOf(n *node) map[uint64]int {
	count := make(map[uint64]int, len(n.kids))
	for i := range n.kids {
		count[fingerprint(n.kids[i].value.text())]++
	}
	return count
}
