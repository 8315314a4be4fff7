package merge

import (
	"bytes"
	"fmt"
)

// Change is what one writer did between base and ours, ready to be merged into any number of documents. It shares the
// bytes of both.
type Change struct {
	base, ours []byte
	format     Format
	style      style
	additions  bool // nothing is deleted or changed, only added
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
	key   []byte   // as ours writes it, as base does for a deletion
	after []string // names in front of it in ours, nearest first: where a new one goes
	alias bool     // the writer has another name for it
	*delta
}

// replaces says whether the value is taken as a whole: a scalar, another type, or missing on one side.
func (e *delta) replaces() bool { return e.members == nil && e.list == nil }

// Diff finds what ours changed of base. An empty text is a missing document. It needs no lock, and no theirs.
func Diff(base, ours []byte, f Format, pol *Policy) (*Change, error) {
	c := &Change{base: base, ours: ours, format: f}
	b, err := Parse(base, f)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	o, err := Parse(ours, f)
	if err != nil {
		return nil, fmt.Errorf("ours: %w", err)
	}
	c.style = *o.styleOf()
	if !bytes.Equal(base, ours) {
		differ := differ{strict: pol.strict()}
		c.root = differ.values(b.root, o.root)
	}
	return c, nil
}

// Base and Ours are the texts that c is the difference of. They must not be modified.
func (c *Change) Base() []byte { return c.base }
func (c *Change) Ours() []byte { return c.ours }

// Empty says whether ours is base by value; its formatting may differ.
func (c *Change) Empty() bool { return c.root == nil }

// AdditionsOnly is the part of c that adds members and elements; what it deletes or replaces is left out. It is for a
// version that may be the beginning of a longer one.
func (c *Change) AdditionsOnly() *Change {
	out := *c
	out.additions = true
	return &out
}

type differ struct{ strict bool }

func (df differ) values(base, ours *node) *delta {
	switch {
	case base == nil && ours == nil:
		return nil
	case base == nil || ours == nil:
		return &delta{base: base, ours: ours}
	case bytes.Equal(base.raw, ours.raw):
		return nil
	case base.kind == kindObject && ours.kind == kindObject:
		return df.objects(base, ours)
	case base.list() && base.kind == ours.kind:
		return df.lists(base, ours)
	case equalValues(base.raw, ours.raw, df.strict):
		return nil
	}
	return &delta{base: base, ours: ours}
}

func (df differ) objects(base, ours *node) *delta {
	base.expand()
	ours.expand()
	out := &delta{base: base, ours: ours}
	for i := range base.kids {
		k := &base.kids[i]
		// The same member at the same place needs no lookup: most of a document is like that.
		if i < len(ours.kids) && bytes.Equal(k.key, ours.kids[i].key) && bytes.Equal(k.value.raw, ours.kids[i].value.raw) {
			continue
		}
		name := k.name()
		if base.lookup(name) != i {
			continue // an earlier double
		}
		if ours.lookup(name) < 0 {
			out.members = append(out.members, memberDelta{name: name, key: k.key, delta: &delta{base: k.value}})
		}
	}
	for i := range ours.kids {
		k := &ours.kids[i]
		if i < len(base.kids) && bytes.Equal(k.key, base.kids[i].key) && bytes.Equal(k.value.raw, base.kids[i].value.raw) {
			continue
		}
		name := k.name()
		if ours.lookup(name) != i {
			continue
		}
		var before *node
		if j := base.lookup(name); j >= 0 {
			before = base.kids[j].value
		}
		if d := df.values(before, k.value); d != nil {
			out.members = append(out.members, memberDelta{name: name, key: k.key, after: namesBefore(ours, i), delta: d})
		}
	}
	if out.members == nil {
		return nil
	}
	return out
}

// namesBefore lists the nearest preceding siblings; further away than that, the end is as good a place.
func namesBefore(n *node, i int) []string {
	const near = 8
	var names []string
	for j := i - 1; j >= 0 && len(names) < near; j-- {
		names = append(names, n.kids[j].name())
	}
	return names
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
			walkEdits(append(p[:len(p):len(p)], m.name), m.delta, visit)
		}
	}
}

func nodeText(n *node) []byte {
	if n == nil {
		return nil
	}
	return n.text()
}
