package merge

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
)

// Compute gives the value that is derived from an object, as JSON text. It must obey ctx.
type Compute func(ctx context.Context, object []byte) ([]byte, error)

type placedDerivation struct {
	at      Pattern
	compute Compute
}

// derives says whether the value at a place is computed: what writers think of it does not matter then.
func (r *rules) derives(at Pointer) bool {
	return slices.ContainsFunc(r.derived, func(p placedDerivation) bool { return p.at.Matches(at) })
}

// onlyDerived says whether a change touches computed values only: its writer did nothing to the record.
func (m *merger) onlyDerived(at Pointer, e *delta) bool {
	switch {
	case len(m.pol.derived) == 0 || e.base == nil:
		return false
	case m.pol.derives(at):
		return true
	case e.replaces() || e.list != nil:
		return false
	}
	for _, member := range e.members {
		if here := at.child(member.name); !m.pol.derives(here) && !m.onlyDerived(here, member.delta) {
			return false
		}
	}
	return true
}

// Derive computes the derived values of every object that is not what it was in before: an input changed, or somebody wrote
// the value itself, which then has to be what its inputs make of it all the same. It is called once, after the last merge;
// derivations follow each other in the order of the policy, so that a later one sees what an earlier one computed. A
// derivation that fails, or that ctx ends, keeps the value that is there: it is one of the errors returned, of which none
// undoes anything.
func (d *Document) Derive(ctx context.Context, before []byte, pol *Policy) []error {
	r, err := pol.compile()
	if err != nil {
		return []error{err}
	}
	if len(r.derived) == 0 || d.root == nil || bytes.Equal(before, d.Bytes()) {
		return nil
	}
	var old *node
	if was, err := Parse(before, d.format); err == nil {
		old = was.root
	}
	var failed []error
	for _, p := range r.derived {
		last := len(p.at) - 1
		v := deriver{d: d, left: r.left, ctx: ctx, name: p.at[last], holder: p.at[:last], compute: p.compute}
		v.walk(d.root, old, nil)
		failed = append(failed, v.failed...)
	}
	return failed
}

// deriver is one derivation on its way through a document.
type deriver struct {
	d       *Document
	left    *leftOut
	ctx     context.Context
	name    string
	holder  Pattern
	compute Compute
	failed  []error
}

func (v *deriver) walk(n, old *node, at Pointer) {
	if !n.kind.container() || !v.holder.reaches(at) || v.left.isUnfit() {
		return
	}
	if old != nil && !n.dirty && bytes.Equal(n.raw, old.raw) {
		return
	}
	n.expand()
	if n.kind == kindObject && v.holder.Matches(at) && (old == nil || n.print() != old.print()) {
		v.set(n, at)
	}
	if n.kind.list() {
		v.elements(n, old, at)
		return
	}
	for i := range n.kids {
		if !n.there(i) {
			continue
		}
		name := n.name(i)
		if n.lookup(name) != i {
			continue
		}
		var was *node
		if old != nil {
			was = old.child(name)
		}
		v.walk(n.value(i), was, at.child(name))
	}
}

// elements have no name that says which they were: one that was anywhere in the list is no new one.
func (v *deriver) elements(n, old *node, at Pointer) {
	if v.left.isIn(n.text()) { // an element has another index
		v.left.unfit.Store(true)
	}
	known := map[uint64]*node{}
	if old != nil && old.kind.list() {
		old.expand()
		for i := range old.kids {
			known[old.value(i).print()] = old.value(i)
		}
	}
	for i := range n.kids {
		e := n.value(i)
		was := known[e.print()]
		if was == nil && old != nil && old.kind.list() && i < len(old.kids) {
			was = old.value(i) // for what is below it
		}
		v.walk(e, was, at.child(strconv.Itoa(i)))
	}
}

func (v *deriver) set(n *node, at Pointer) {
	here := at.child(v.name)
	if v.left.isIn(n.text()) {
		v.left.unfit.Store(true)
		return
	}
	raw, err := v.compute(v.ctx, n.text())
	if err == nil {
		err = Valid(raw, JSON)
	}
	if err == nil && len(bytes.TrimSpace(raw)) == 0 {
		err = fmt.Errorf("%w: no value", ErrType)
	}
	if err == nil {
		err = v.d.Do(Op{Kind: OpSet, At: here.String(), Value: bytes.TrimSpace(raw)})
	}
	if err != nil {
		v.failed = append(v.failed, fmt.Errorf("%s is not derived: %w", here, err))
	}
}
