package merge

import "slices"

// A keyed merge passes over a record that is equal in base, ours and theirs, and keeps it where it is in theirs: what is left out of all
// three need not be there, unless an element that is there has the same key, or, without one, is equal to one that is left out.

// passesOver says whether a keyed merge of lists does to their excerpts what it would do to them.
func (l *leftOut) passesOver(key []string, lists ...*node) bool {
	if l == nil {
		return true
	}
	var marks []*elementsLeft
	there := map[uint64]bool{}
	for k, n := range lists {
		n.expand()
		var in []*elementsLeft
		for i := range n.kids {
			raw := n.rawChild(i)
			if e := l.of(raw); e != nil {
				in = append(in, e)
			} else {
				there[identityOf(raw, key)] = true
			}
		}
		if k == 0 {
			marks = in
		} else if !slices.Equal(marks, in) {
			l.unfit.Store(true)
			return false
		}
	}
	for _, e := range marks {
		e.count = 0
		err := e.each(func(value []byte, _ int64) {
			e.count++
			if there[identityOf(value, key)] {
				l.unfit.Store(true)
			}
		})
		if err != nil {
			l.unfit.Store(true)
		}
	}
	return !l.unfit.Load()
}

// identityOf is what a keyed merge tells an element from others by: its key, or all of it.
func identityOf(raw []byte, key []string) uint64 {
	if name, ok := keyOf(raw, key); ok {
		return name
	}
	return fingerprint(raw)
}

// places are those of the elements of a list with all that is left out and was passed over; nil where nothing is.
type places []int

func (l *leftOut) placesOf(n *node) places {
	if l == nil {
		return nil
	}
	p := make(places, 0, len(n.kids)+1)
	at := 0
	for i := range n.kids {
		p = append(p, at)
		at++
		if e := l.of(n.rawChild(i)); e != nil {
			at += e.count - 1
		}
	}
	return append(p, at)
}

// of is the place of element i, which may be a new one behind all.
func (p places) of(i int) int {
	if p == nil {
		return i
	}
	last := len(p) - 1
	return p[min(i, last)] + max(0, i-last)
}
