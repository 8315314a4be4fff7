package merge

import "bytes"

// MadeFrom answers which of several versions ours was made from, where that is not known: the index of one of bases. They
// are in the order of likelihood, the most recent first, and nil is a missing document.
//
// It is the first, unless ours takes back what happened between an older one and the first, takes up nothing of it, and
// does something of its own to the older one: then its writer had the older one in memory. Forgetting and deleting
// cannot always be told apart; a program that means to delete what others added is taken at its word as long as it
// changes nothing else.
//
// A version that does not parse is never chosen before one that does.
func MadeFrom(ours []byte, bases [][]byte, f Format, pol *Policy) int {
	newest := -1
	var own *Change
	for i, b := range bases {
		if own, _ = Diff(b, ours, f, pol); own != nil {
			newest = i
			break
		}
	}
	if newest < 0 {
		return 0
	}
	if own.Empty() {
		return newest
	}
	undone := editsOf(own)
	for i := newest + 1; i < len(bases); i++ {
		older := bases[i]
		if bytes.Equal(older, bases[newest]) {
			continue
		}
		others, err := Diff(older, bases[newest], f, pol)
		if err != nil || others.Empty() {
			continue
		}
		mine, err := Diff(older, ours, f, pol)
		if err != nil || mine.Empty() {
			continue
		}
		if fromMemory(editsOf(others), editsOf(mine), undone) {
			return i
		}
	}
	return newest
}

// fromMemory: of what others did, ours has nothing and takes something back.
func fromMemory(others, mine, undone map[editKey]int) bool {
	takenBack := false
	for e := range others {
		if mine[e] > 0 {
			return false
		}
		if undone[editKey{e.at, e.new, e.old}] > 0 {
			takenBack = true
		}
	}
	return takenBack
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
