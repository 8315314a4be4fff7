package merge

import (
	"bytes"
	"fmt"
)

// Change is what one writer did between base and ours, ready to be merged into any number of documents, one after the
// other. It shares the bytes of both.
type Change struct {
	base, ours *Document
	additions  bool // nothing is deleted or changed, only added
	counts     bool // additions, and what is summed
	moves      Moves
	root       *delta
}

// delta is the difference of one value: nil is none.
type delta struct {
	base, ours *node // nil: missing
	members    []memberDelta
	list       *listDelta
}

// memberDelta is a member that ours added, deleted or changed.
type memberDelta struct {
	name  string
	key   []byte // nil: as ours writes it
	at    int    // its place in ours, -1 for a deletion
	alias bool   // the writer has another name for it
	last  bool   // a new one goes to the end
	*delta
}

// replaces says whether the value is taken as a whole: a scalar, another type, or missing on one side.
func (e *delta) replaces() bool { return e.members == nil && e.list == nil }

// Diff finds what ours changed of base. An empty text is a missing document. It needs no lock, and no theirs.
func Diff(base, ours []byte, f Format, pol *Policy) (*Change, error) {
	var b, o *Document
	var berr, oerr error
	var e ends
	together(len(base)+len(ours) > worthwhile,
		func() { b, berr = Parse(base, f) },
		func() {
			if e = commonEnds(base, ours); !e.most(ours) {
				o, oerr = Parse(ours, f)
			}
		})
	switch {
	case berr != nil:
		return nil, fmt.Errorf("base: %w", berr)
	case e.prefix == len(base) && e.prefix == len(ours):
		return &Change{base: b, ours: b}, nil
	case o == nil && oerr == nil:
		o, oerr = b.parseAlike(ours, e)
	}
	if oerr != nil {
		return nil, fmt.Errorf("ours: %w", oerr)
	}
	o.besides(b, e)
	df := differ{pol.strict(), endsOf(b, o), pol.leftOut()}
	return &Change{base: b, ours: o, root: df.values(b.root, o.root)}, nil
}

// ParseTheirs is [Parse] for a text that c is going to be merged into. Where it has much in common with the base of c,
// only the rest of it is read.
func (c *Change) ParseTheirs(src []byte) (*Document, error) {
	e := commonEnds(c.base.src, src)
	if e.most(src) {
		return c.base.parseAlike(src, e)
	}
	d, err := Parse(src, c.base.format)
	if err == nil {
		d.besides(c.base, e)
	}
	return d, err
}

// Base and Ours are the texts that c is the difference of. They must not be modified.
func (c *Change) Base() []byte { return c.base.src }
func (c *Change) Ours() []byte { return c.ours.src }

// Empty says whether ours is base by value; its formatting may differ.
func (c *Change) Empty() bool { return c.root == nil }

// AdditionsOnly is the part of c that adds members and elements; what it deletes or replaces is left out. It is for a
// version that may be the beginning of a longer one.
func (c *Change) AdditionsOnly() *Change {
	out := *c
	out.additions = true
	return &out
}

// GrowthOnly is [Change.AdditionsOnly], and numbers that the policy sums: who adds a record and counts it does both at once. It is for a
// whole version whose writer may not be done; what it counts later, it counts from there.
func (c *Change) GrowthOnly() *Change {
	out := c.AdditionsOnly()
	out.counts = true
	return out
}

// differ compares top down, by bytes first: what is written alike is equal, and most of a document is.
type differ struct {
	strict bool
	ends
	left *leftOut // of excerpts; nil for whole texts
}

// smallBytes is up to where two containers are compared by value before anybody looks for where they differ. That they
// are equal is the common case: a program that loads and dumps a document restyles all of it.
const smallBytes = 4 << 10

func (df differ) values(base, ours *node) *delta {
	switch {
	case base == nil && ours == nil:
		return nil
	case base == nil || ours == nil:
		return &delta{base: base, ours: ours}
	case df.same(base.piece(), ours.piece()):
		return nil
	case base.kind != ours.kind || !base.kind.container():
		if base.kind == ours.kind && equalValues(base.raw, ours.raw, df.strict) {
			return nil
		}
		return &delta{base: base, ours: ours}
	case base.kind == kindObject:
		return df.objects(base, ours)
	}
	return df.lists(base, ours)
}

// children is values for a child of each, made nodes only where they differ.
func (df differ) children(base *node, i int, ours *node, j int) *delta {
	if equal, _ := df.equalChildren(base, i, ours, j); equal {
		return nil
	}
	d := df.values(base.value(i), ours.value(j))
	if d == nil {
		base.forget(i)
		ours.forget(j)
	}
	return d
}

// equalChildren compares a child of each, unless they are written differently and large: then nothing is known.
func (df differ) equalChildren(base *node, i int, ours *node, j int) (equal, known bool) {
	x, y := base.pieceOf(i), ours.pieceOf(j)
	if df.same(x, y) {
		return true, true
	}
	if len(x.raw) > smallBytes && kindOfText(x.raw).container() || len(y.raw) > smallBytes && kindOfText(y.raw).container() {
		return false, false
	}
	return equalValues(x.raw, y.raw, df.strict), true
}

// sameEnds counts the children at the beginning and at the end that are the same.
func sameEnds(a, b *node, known *ends, same func(a *node, i int, b *node, j int) bool) (front, back int) {
	a.expand()
	b.expand()
	n := min(len(a.kids), len(b.kids))
	front, back = known.sameChildren(a, b)
	for front < n && (sameText(a, front, b, front) || same(a, front, b, front)) {
		front++
	}
	back = min(back, n-front)
	for i, j := len(a.kids)-1-back, len(b.kids)-1-back; back < n-front && (sameText(a, i, b, j) || same(a, i, b, j)); i, j = i-1, j-1 {
		back++
	}
	return front, back
}

// sameText says whether two children are the very same piece of one text.
func sameText(a *node, i int, b *node, j int) bool {
	return a.ext == b.ext && a.ext != nil && a.off == b.off && a.kids[i].isText() && a.kids[i] == b.kids[j]
}

// sameMember says whether two members are written alike.
func (df differ) sameMember(a *node, i int, b *node, j int) bool {
	return bytes.Equal(a.key(i), b.key(j)) && df.same(a.pieceOf(i), b.pieceOf(j))
}

// Edit is one step of a Change as people read it. A nil value is a missing one.
type Edit struct {
	At       string // RFC 6901 pointer; elements have their index in base, added ones the place they went to
	Old, New []byte
}

// Edits lists what ours did, in the order of its text.
func (c *Change) Edits() []Edit {
	var edits []Edit
	walkEdits(nil, c.root, func(p Pointer, old, new *node) {
		edits = append(edits, Edit{p.String(), nodeText(old), nodeText(new)})
	})
	return edits
}

func walkEdits(p Pointer, e *delta, visit func(Pointer, *node, *node)) {
	switch {
	case e == nil:
	case e.replaces():
		visit(p, e.base, e.ours)
	case e.list != nil:
		e.list.walk(p, visit)
	default:
		for _, m := range e.members {
			walkEdits(p.child(m.name), m.delta, visit)
		}
	}
}

func nodeText(n *node) []byte {
	if n == nil {
		return nil
	}
	return n.text()
}
