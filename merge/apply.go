package merge

import (
	"bytes"
	"context"
	"fmt"
)

// Conflict is one place that both sides changed, or that one changed and the other deleted. A nil value is missing.
type Conflict struct {
	At                 string // RFC 6901 pointer into the outcome
	Base, Ours, Theirs []byte
	Taken              string // TakenOurs or TakenTheirs
	Refused            bool   // the policy said fail
	Reason             string
}

// What a conflict ended in.
const (
	TakenOurs   = "ours"
	TakenTheirs = "theirs"
)

func (c Conflict) String() string {
	show := func(raw []byte) string {
		if raw == nil {
			return "missing"
		}
		return string(Compact(nil, raw))
	}
	return fmt.Sprintf("%s: %s (base %s, ours %s, theirs %s; %s taken)", c.At, c.Reason, show(c.Base), show(c.Ours), show(c.Theirs), c.Taken)
}

// Outcome is what a merge did beside changing the document.
type Outcome struct {
	Conflicts []Conflict
	Moves     Moves   // of the writer's version, see [Change.From]
	Underived []error // derived values that could not be computed, of [Merge] only; see [Document.Derive]
}

// Merge is the three-way merge of texts. A missing document is an empty text. The error is a *SyntaxError that says which
// text is no document, ErrRefused for duplicates that the policy rejects, or what Check finds wrong with the policy.
func Merge(base, ours, theirs []byte, f Format, pol *Policy) ([]byte, Outcome, error) {
	c, err := Diff(base, ours, f, pol)
	if err != nil {
		return nil, Outcome{}, err
	}
	d, err := c.ParseTheirs(theirs)
	if err != nil {
		return nil, Outcome{}, fmt.Errorf("theirs: %w", err)
	}
	out, err := d.Merge(c, pol)
	if err != nil {
		return nil, Outcome{}, err
	}
	out.Underived = d.Derive(context.Background(), theirs, pol)
	return d.Bytes(), out, nil
}

// Merge applies c to d, which is theirs, all of it but what the policy refuses, or nothing: then the error says why.
func (d *Document) Merge(c *Change, policy *Policy) (Outcome, error) {
	pol, err := policy.compile()
	if err != nil {
		return Outcome{}, err
	}
	pol = pol.onFold()
	if len(pol.renames) == 0 && d.names != nil {
		pol.renames = d.names.renames
	}
	if pol.duplicates == "reject" {
		for _, side := range []*Document{c.ours, d} {
			if err := side.rejectDuplicates(); err != nil {
				return Outcome{}, err
			}
		}
	}
	m := &merger{d: d, pol: pol, df: differ{pol.strict(), endsOf(c.base, d), pol.left}, additions: c.additions, counts: c.counts, style: c.ours.styleOf(), moves: c.moves.Clone()}
	root, mapped := m.translate(c.root, nil)
	asItIs := !mapped && len(c.moves) == 0 // the writer's text may stand in the document
	switch {
	case asItIs && d.is(c.ours) && !pol.accumulates(nil): // both did the same
	case asItIs && d.is(c.base) && !c.additions: // nobody else wrote: the writer's own bytes
		d.become(c.ours)
	case root == nil:
		if pol.adopt && asItIs && c.ours != c.base && !c.additions && d.root != nil && c.base.root != nil && equalNodes(d.root, c.base.root, pol.strict()) {
			d.become(c.ours)
		}
	default:
		d.style = d.styleOf().completed(m.style)
		m.verbatim = d.styleOf().fits(m.style)
		m.whole(c, root, mapped)
	}
	if pol.duplicates == "collapse" {
		d.collapseDuplicates()
	}
	return Outcome{Conflicts: m.conflicts, Moves: m.moves}, nil
}

// become takes over another text, byte for byte.
func (d *Document) become(other *Document) {
	changed := d.changed || d.edited || !bytes.Equal(d.src, other.src)
	names := d.names
	*d = other.fresh()
	d.changed, d.names = changed, names
}

type merger struct {
	d         *Document
	pol       *rules
	df        differ
	style     *style // of ours
	additions bool
	counts    bool
	verbatim  bool    // ours is written like theirs: its text fits as it is
	chain     []*node // from the root to where we are
	conflicts []Conflict
	joins     []join
	moves     Moves
}

func (m *merger) whole(c *Change, e *delta, mapped bool) {
	d := m.d
	rule := m.pol.rule(nil)
	switch {
	case d.root == nil && e.ours == nil: // deleted by both
	case d.root == nil && e.base == nil: // created by ours
		d.become(c.ours)
	case d.root == nil && m.additions:
		if e.ours != nil && e.ours.kind.container() && !e.replaces() {
			d.setRoot(emptyNode(e.ours.kind))
			m.inside(d.root, nil, e, rule)
		}
	case d.root == nil: // changed by ours, deleted by theirs
		if _, take := m.revive(nil, e, rule); take {
			d.become(c.ours)
		}
	case e.ours == nil: // deleted by ours
		if m.mayDelete(nil, e.base, d.root, rule) {
			d.become(c.ours)
		}
	case m.descends(e, d.root, rule):
		m.inside(d.root, nil, m.rebased(e, d.root), rule)
	default:
		raw, take := m.choose(nil, e, d.root, rule)
		if take && d.format == Lines {
			d.become(c.ours) // their text is not one value
		} else if take {
			d.edited, d.changed = true, true
			d.root = newNode(m.fit(d.layoutOfRoot(), raw))
		}
	}
	if mapped && d.is(c.ours) {
		m.normalize(d.root, nil)
	}
	d.undo = d.undo[:0] // a merge is never taken back
}

func emptyNode(k kind) *node {
	if k == kindLines {
		return &node{kind: kindLines}
	}
	return newNode([]byte{byte(k), closing(byte(k))})
}

// descends says whether both sides are containers of one kind that are merged inside.
func (m *merger) descends(e *delta, theirs *node, rule Rule) bool {
	if rule.whole() || e.ours == nil || !e.ours.kind.container() || e.ours.kind != theirs.kind {
		return false
	}
	return e.base == nil || !e.replaces()
}

// rebased gives a value that both sides added an empty base: what each put in is an addition to nothing.
func (m *merger) rebased(e *delta, theirs *node) *delta {
	if e.base != nil {
		return e
	}
	empty := emptyNode(theirs.kind)
	if out := m.df.values(empty, e.ours); out != nil {
		return out
	}
	return &delta{base: empty, ours: e.ours, members: []memberDelta{}}
}

func (m *merger) inside(theirs *node, at Pointer, e *delta, rule Rule) {
	m.chain = append(m.chain, theirs)
	defer func() { m.chain = m.chain[:len(m.chain)-1] }()
	theirs.expand()
	if e.list == nil {
		m.objectEdits(theirs, at, e, rule)
		return
	}
	same := m.sameList(theirs, e.ours)
	switch {
	case same && !m.pol.accumulates(at): // both did the same
	case same && rule.Merge != Append:
		m.listEdits(theirs, at, e.list, false)
	case rule.Merge == Append:
		m.listAppend(theirs, at, e.list)
	case rule.Merge == Set:
		m.listSet(theirs, at, e)
	case rule.Merge == Keyed:
		m.listKeyed(theirs, at, e, rule.Key)
	default:
		m.listEdits(theirs, at, e.list, true)
	}
}

func (m *merger) newChild(n *node, depth int, key, raw []byte) *child {
	m.write(raw)
	return m.d.newChild(n, depth, key, raw, m.verbatim)
}

// touched marks everything from the root to here as changed.
func (m *merger) touched() {
	m.d.edited, m.d.changed = true, true
	for _, n := range m.chain {
		n.dirty = true
	}
}

// sameList is equalNodes; that two differ is found out by their fingerprints, which are kept, so that lists inside of
// lists are not compared again at each level.
func (m *merger) sameList(theirs, ours *node) bool {
	if theirs.kind == kindArray && !theirs.dirty && theirs.print() != ours.print() {
		return false
	}
	return equalNodes(theirs, ours, m.df.strict)
}

// revive decides about a value of ours that theirs does not have: new, or deleted there.
func (m *merger) revive(here Pointer, e *delta, rule Rule) (raw []byte, take bool) {
	switch {
	case e.base == nil:
		return e.ours.text(), true
	case m.additions:
		return nil, false
	case rule.Merge == Sum && e.base.kind == kindNumber && e.ours.kind == kindNumber:
		if diff, err := subNumbers(e.ours.raw, e.base.raw); err == nil {
			return diff, true
		}
	case m.pol.derives(here):
		return e.ours.text(), true
	case rule.Merge == Delete || rule.Merge == Theirs || rule.Merge == First:
		m.conflict(here, e.base, e.ours, nil, TakenTheirs, "changed by ours, deleted by theirs")
		return nil, false
	case rule.Merge == Fail:
		m.refuse(here, e.base, e.ours, nil, "changed by ours, deleted by theirs")
		return nil, false
	}
	m.conflict(here, e.base, e.ours, nil, TakenOurs, "changed by ours, deleted by theirs")
	return e.ours.text(), true
}

// mayDelete decides about a value that ours deleted.
func (m *merger) mayDelete(here Pointer, base, theirs *node, rule Rule) bool {
	const reason = "deleted by ours, changed by theirs"
	switch {
	case m.additions:
		return false
	case equalNodes(theirs, base, m.df.strict):
		return true
	case m.pol.derives(here):
		return false
	case rule.Merge == Delete || rule.Merge == Last:
		m.conflict(here, base, nil, theirs, TakenOurs, reason)
		return true
	case rule.Merge == Fail:
		m.refuse(here, base, nil, theirs, reason)
		return false
	}
	m.conflict(here, base, nil, theirs, TakenTheirs, reason)
	return false
}

// both merges a value that ours changed or added into the one that is there.
func (m *merger) both(n *node, i int, here Pointer, e *delta, rule Rule) {
	theirs := n.value(i)
	if m.descends(e, theirs, rule) {
		m.inside(theirs, here, m.rebased(e, theirs), rule)
		return
	}
	m.forget(here)
	if raw, take := m.choose(here, e, theirs, rule); take {
		m.replace(n, i, len(here)-1, raw)
	}
}

func (m *merger) replace(n *node, i, depth int, raw []byte) {
	m.touched()
	n.own(i).value = newNode(m.fit(m.d.layoutOfChild(n, i, depth), raw))
}

// choose settles a place that cannot be merged inside: a scalar, or values of different types.
func (m *merger) choose(here Pointer, e *delta, theirs *node, rule Rule) (raw []byte, take bool) {
	switch {
	case m.additions && e.base != nil && !(m.counts && rule.Merge == Sum && numbers(e.base, e.ours, theirs)):
		return nil, false
	case e.base != nil && equalNodes(theirs, e.base, m.df.strict):
		return e.ours.text(), true
	case reduces(rule.Merge):
		if raw, ok := reduce(rule.Merge, e, theirs); ok {
			return raw, !bytes.Equal(raw, theirs.raw)
		}
	}
	if equalNodes(theirs, e.ours, m.df.strict) {
		return nil, false
	}
	reason := "changed by both"
	if e.base == nil {
		reason = "added by both"
	}
	switch {
	case m.pol.derives(here): // computed afterwards
		return e.ours.text(), true
	case rule.Merge == Fail:
		m.refuse(here, e.base, e.ours, theirs, reason)
		return nil, false
	case rule.Merge == Theirs || rule.Merge == First || m.additions:
		m.conflict(here, e.base, e.ours, theirs, TakenTheirs, reason)
		return nil, false
	}
	m.conflict(here, e.base, e.ours, theirs, TakenOurs, reason)
	return e.ours.text(), true
}

func numbers(nodes ...*node) bool {
	for _, n := range nodes {
		if n.kind != kindNumber {
			return false
		}
	}
	return true
}

func reduces(s Strategy) bool { return s == Sum || s == Max || s == Min }

// reduce computes a number out of the three; ok is false where they are not all numbers.
func reduce(s Strategy, e *delta, theirs *node) (raw []byte, ok bool) {
	base := []byte("0")
	if e.base != nil {
		base = e.base.raw
	}
	if e.base != nil && !numbers(e.base) || !numbers(e.ours, theirs) {
		return nil, false
	}
	switch s {
	case Sum:
		diff, err := subNumbers(e.ours.raw, base)
		if err != nil {
			return nil, false
		}
		sum, err := addNumbers(theirs.raw, diff)
		return sum, err == nil
	case Max:
		if compareNumbers(e.ours.raw, theirs.raw) > 0 {
			return e.ours.raw, true
		}
	case Min:
		if compareNumbers(e.ours.raw, theirs.raw) < 0 {
			return e.ours.raw, true
		}
	}
	return theirs.raw, true
}

// fit writes a value of ours into theirs: as it is where both are written alike.
func (m *merger) fit(l layout, raw []byte) []byte {
	m.write(raw)
	if m.verbatim {
		return bytes.Clone(raw)
	}
	return l.render(nil, raw)
}

// write: what is left out of a value cannot be written in another way.
func (m *merger) write(raw []byte) {
	if !m.verbatim && m.df.left.isIn(raw) {
		m.df.left.unfit.Store(true)
	}
}

func (m *merger) conflict(at Pointer, base, ours, theirs *node, taken, reason string) {
	m.conflicts = append(m.conflicts, Conflict{
		At: at.String(), Base: bytes.Clone(nodeText(base)), Ours: bytes.Clone(nodeText(ours)), Theirs: bytes.Clone(nodeText(theirs)),
		Taken: taken, Reason: reason,
	})
}

func (m *merger) refuse(at Pointer, base, ours, theirs *node, reason string) {
	m.conflict(at, base, ours, theirs, TakenTheirs, reason+", refused by policy")
	m.conflicts[len(m.conflicts)-1].Refused = true
}
