package merge

import (
	"slices"
	"strconv"
)

// listKeyed: elements are records named by key members, like the members of an object. Elements without a key of their own,
// or sharing one, are beyond naming: those that ours added are appended, as often as it added them, and none is taken away.
func (m *merger) listKeyed(theirs *node, at Pointer, e *delta, key []string) {
	if !m.df.left.passesOver(key, e.base, e.ours, theirs) {
		return
	}
	k := keyedMerge{m, theirs, at, m.df.left.placesOf(theirs), keysOf(e.base, key), keysOf(e.ours, key), keysOf(theirs, key)}
	gone, first := map[int]bool{}, len(m.conflicts)
	if !m.additions {
		k.deletions(e, key, gone)
	}
	var held map[uint64]int
	for i := range e.ours.kids {
		name, ok := keyOf(e.ours.rawChild(i), key)
		if ok && k.ours.unique(name) && !k.base.shared(name) && !k.there.shared(name) {
			k.named(e, name, i)
			continue
		}
		if held == nil {
			held = countOf(e.base)
		}
		if print := e.ours.fingerprint(i); held[print] > 0 {
			held[print]--
			continue
		}
		k.add(e.ours.rawChild(i))
	}
	var places []int
	for j := range gone {
		places = append(places, k.places.of(j))
	}
	m.takeOut(theirs, gone)
	moveDown(m.conflicts[first:], len(at), places)
}

// keyedMerge is one run of listKeyed.
type keyedMerge struct {
	m                 *merger
	theirs            *node
	at                Pointer
	places            places // of the elements of theirs
	base, ours, there keys
}

func (k *keyedMerge) place(j int) Pointer { return k.at.child(strconv.Itoa(k.places.of(j))) }

func (k *keyedMerge) add(raw []byte) {
	k.m.push(k.theirs, k.at, raw)
}

// named merges a record that every side that has it can tell from all others.
func (k *keyedMerge) named(e *delta, name uint64, i int) {
	var change *delta
	if b, ok := k.base[name]; ok {
		change = k.m.df.children(e.base, int(b), e.ours, i)
	} else {
		change = &delta{ours: e.ours.value(i)}
	}
	if change == nil {
		return
	}
	if j, ok := k.there[name]; ok {
		here := k.place(int(j))
		k.m.both(k.theirs, int(j), here, change, k.m.pol.rule(here))
		return
	}
	here := k.place(len(k.theirs.kids))
	if raw, take := k.m.revive(here, change, k.m.pol.rule(here)); take {
		k.add(raw)
	}
}

// deletions marks what ours deleted. What cannot be named stays, and that is said.
func (k *keyedMerge) deletions(e *delta, key []string, gone map[int]bool) {
	var held map[uint64]int
	for i := range e.base.kids {
		name, ok := keyOf(e.base.rawChild(i), key)
		if ok && k.base.unique(name) && !k.there.shared(name) {
			j, there := k.there[name]
			if _, kept := k.ours[name]; kept || !there {
				continue
			}
			here := k.place(int(j))
			if k.m.mayDelete(here, e.base.value(i), k.theirs.value(int(j)), k.m.pol.rule(here)) {
				gone[int(j)] = true
			}
			continue
		}
		if held == nil {
			held = countOf(e.ours)
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

// keys maps the key of a record to its place; to sharedKey where several have it.
type keys map[uint64]int32

const sharedKey = -1

func (k keys) unique(name uint64) bool { i, ok := k[name]; return ok && i != sharedKey }
func (k keys) shared(name uint64) bool { i, ok := k[name]; return ok && i == sharedKey }

func keysOf(n *node, key []string) keys {
	n.expand()
	out := make(keys, len(n.kids))
	for i := range n.kids {
		name, ok := keyOf(n.rawChild(i), key)
		if !ok {
			continue
		}
		place := int32(i)
		if _, twice := out[name]; twice {
			place = sharedKey
		}
		out[name] = place
	}
	return out
}

// keyOf is the fingerprint of the key members of an element; ok is false where one is missing, or is no scalar.
func keyOf(raw []byte, key []string) (name uint64, ok bool) {
	if raw[0] != '{' {
		return 0, false
	}
	var few [4]int
	at := few[:0] // where the value of each stands, the last one of its name
	for range key {
		at = append(at, -1)
	}
	i, in := nextIn(raw, 0)
	for in {
		end, value, _ := ScanName(raw, i)
		for k, want := range key {
			if string(nameOf(raw[i:end])) == want {
				at[k] = value
			}
		}
		i, _ = scanValue(raw, value)
		i, in = nextAfter(raw, i)
	}
	for _, i := range at {
		if i < 0 || kindOfText(raw[i:]).container() {
			return 0, false
		}
		p := printer{src: raw, i: i}
		name = mix(name ^ p.value() + 0x9e3779b97f4a7c15)
	}
	return name, true
}

// moveDown corrects the index at one level of pointers for the elements in front of it that went.
func moveDown(conflicts []Conflict, level int, gone []int) {
	slices.Sort(gone)
	for k := range conflicts {
		p, _ := ParsePointer(conflicts[k].At)
		i, _ := arrayIndex(p[level])
		less, _ := slices.BinarySearch(gone, i)
		p[level] = strconv.Itoa(i - less)
		conflicts[k].At = p.String()
	}
}
