package merge

import (
	"slices"
)

// insert puts c at place i.
func (n *node) insert(i int, c *child) {
	n.standAlone(i)
	n.kids = slices.Insert(n.kids, i, n.kidOf(c))
	n.seen = 0
	switch {
	case n.index == nil:
	case i == len(n.kids)-1:
		n.index.add(n, i)
	default:
		n.renamed()
	}
}

// removeInserted takes out what insert put at the end or in between.
func (n *node) removeInserted(i int) {
	if i < len(n.kids)-1 {
		n.renamed()
	}
	n.kids = slices.Delete(n.kids, i, i+1)
}

// remove takes child i out and returns how to put it back. In an object it takes every member of the name (else an
// older double would come to light) and leaves their places empty, so that the others keep theirs.
func (n *node) remove(i int) (undo func()) {
	if n.kind != kindObject {
		n.standAlone(i + 1)
		k := n.kids[i]
		if i == 0 {
			n.kids = n.kids[1:]
		} else {
			n.kids = slices.Delete(n.kids, i, i+1)
		}
		return func() { n.kids = slices.Insert(n.kids, i, k) }
	}
	name := n.name(i)
	places := []int{i}
	if n.index == nil || n.index.doubles {
		n.read += i
		for j := range i {
			if n.there(j) && n.isNamed(j, name) {
				places = append(places, j)
			}
		}
	}
	taken := make([]kid, len(places))
	for k, j := range places {
		taken[k] = n.kids[j]
		n.takeOut(j)
	}
	return func() {
		for k, j := range places {
			n.kids[j] = taken[k]
		}
		n.gone -= len(places)
		for k := len(places) - 1; k >= 0 && n.index != nil; k-- { // it may be another one by now; the last member at last
			n.index.add(n, places[k])
		}
	}
}

// takeOut leaves the place of child i empty.
func (n *node) takeOut(i int) {
	n.kids[i] = ^(kid(n.end(i)) | takenOut)
	n.gone++
}

// removeBefore takes out the members of that name in front of i.
func (n *node) removeBefore(i int, name string) {
	for j := range i {
		if n.there(j) && n.isNamed(j, name) {
			n.takeOut(j)
		}
	}
}

// compact drops the empty places. Nobody may hold a place across it.
func (n *node) compact() {
	for i := range n.kids {
		if !n.there(i) {
			n.standAlone(i + 1)
		}
	}
	n.kids = slices.DeleteFunc(n.kids, kid.isGone)
	n.gone = 0
	n.renamed()
}
