package merge

import (
	"fmt"
	"strconv"
)

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

// listKeyed: elements are records named by key members, like the members of an object. Elements without a key of their own,
// or sharing one, are beyond naming: those that ours added are appended, as often as it added them, and none is taken away.
func (m *merger) listKeyed(theirs *node, at Pointer, e *delta, key []string) {
	k := keyedMerge{m, theirs, at, keysOf(e.base, key), keysOf(e.ours, key), keysOf(theirs, key)}
	gone, first := map[int]bool{}, len(m.conflicts)
	if !m.additions {
		k.deletions(e, key, gone)
	}
	held := countOf(e.base)
	for i := range e.ours.kids {
		name, ok := elementKey(e.ours, i, key)
		if ok && k.ours.unique(name) && !k.base.shared(name) && !k.there.shared(name) {
			k.named(e, name, i)
			continue
		}
		if print := e.ours.fingerprint(i); held[print] > 0 {
			held[print]--
			continue
		}
		k.add(e.ours.rawChild(i))
	}
	m.takeOut(theirs, gone)
	moveDown(m.conflicts[first:], len(at), gone)
}

// keyedMerge is one run of listKeyed.
type keyedMerge struct {
	m                 *merger
	theirs            *node
	at                Pointer
	base, ours, there keys
}

func (k *keyedMerge) place(i int) Pointer { return k.at.child(strconv.Itoa(i)) }

func (k *keyedMerge) add(raw []byte) {
	k.m.push(k.theirs, k.at, raw)
}

// named merges a record that every side that has it can tell from all others.
func (k *keyedMerge) named(e *delta, name string, i int) {
	var before *node
	if b, ok := k.base[name]; ok {
		before = e.base.value(b)
	}
	change := k.m.df.values(before, e.ours.value(i))
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
		name, ok := elementKey(e.base, i, key)
		if ok && k.base.unique(name) && !k.there.shared(name) {
			j, there := k.there[name]
			if _, kept := k.ours[name]; there && !kept && k.m.mayDelete(k.place(j), e.base.value(i), k.theirs.value(j), k.m.pol.rule(k.place(j))) {
				gone[j] = true
			}
			continue
		}
		print := e.base.fingerprint(i)
		if held[print] > 0 {
			held[print]--
			continue
		}
		for j := range k.theirs.kids {
			if k.theirs.fingerprint(j) == print {
				k.m.conflict(k.place(j), e.base.value(i), nil, k.theirs.value(j), TakenTheirs, "deleted by ours, without a key of its own")
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
	n.expand()
	out := make(keys, len(n.kids))
	for i := range n.kids {
		name, ok := elementKey(n, i, key)
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

// elementKey is the text of the key members of element i, exact; ok is false where one is missing.
func elementKey(n *node, i int, key []string) (string, bool) {
	raw := n.rawChild(i)
	if raw[0] != '{' {
		return "", false
	}
	record := &node{kind: kindObject, raw: raw}
	record.expand()
	var out []byte
	for _, name := range key {
		j := record.lookup(name)
		if j < 0 {
			return "", false
		}
		value := record.rawChild(j)
		text := string(value)
		k := kindOfText(value)
		switch {
		case k.container():
			return "", false
		case k == kindString:
			text = decodeString(value)
		case k == kindNumber:
			text = canonicalNumber(value)
		}
		out = fmt.Appendf(out, "%c%d:%s", k, len(text), text)
	}
	return string(out), true
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

// moveDown corrects the index at one level of pointers for the elements in front of it that went.
func moveDown(conflicts []Conflict, level int, gone map[int]bool) {
	for k := range conflicts {
		p, _ := ParsePointer(conflicts[k].At)
		i, _ := arrayIndex(p[level])
		less := 0
		for j := range gone {
			if j < i {
				less++
			}
		}
		p[level] = strconv.Itoa(i - less)
		conflicts[k].At = p.String()
	}
}
