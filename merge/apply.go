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
	Taken              string // TakenOurs, TakenTheirs or TakenBoth (a reducer)
	Refused            bool   // the policy said fail
	Reason             string
}

// What a conflict ended in.
const (
	TakenOurs   = "ours"
	TakenTheirs = "theirs"
	TakenBoth   = "both"
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

// Merge is the three-way merge of texts. A missing document is an empty text.
func Merge(base, ours, theirs []byte, f Format, pol *Policy) ([]byte, Outcome, error) {
	d, err := Parse(theirs, f)
	if err != nil {
		return nil, Outcome{}, fmt.Errorf("theirs: %w", err)
	}
	c, err := Diff(base, ours, f, pol)
	if err != nil {
		return nil, Outcome{}, err
	}
	out, err := d.Merge(c, pol)
	if err != nil {
		return nil, out, err
	}
	out.Underived = d.Derive(context.Background(), theirs, pol)
	return d.Bytes(), out, nil
}

// Merge applies c to d, which is theirs.
func (d *Document) Merge(c *Change, policy *Policy) (Outcome, error) {
	pol, err := policy.compile()
	if err != nil {
		return Outcome{}, err
	}
	pol = pol.onFold()
	if len(pol.renames) == 0 && d.names != nil {
		pol.renames = d.names.renames
	}
	theirs := d.Bytes()
	m := &merger{d: d, pol: pol, df: differ{pol.strict()}, additions: c.additions, style: &c.style, moves: c.moves.Clone()}
	root, mapped := m.translate(c.root, nil)
	m.mapped = mapped
	asItIs := !mapped && len(c.moves) == 0 // the writer's text may stand in the document
	switch {
	case asItIs && bytes.Equal(theirs, c.ours) && !pol.accumulates(nil):
	case asItIs && bytes.Equal(theirs, c.base) && !c.additions && (root != nil || pol.adopt || policy == nil):
		d.become(c.ours) // nobody else wrote: the writer's own bytes
	case root == nil && pol.adopt && asItIs && d.equals(c.base, pol.strict()):
		d.become(c.ours)
	case root == nil:
	default:
		m.verbatim = c.style == *d.styleOf()
		m.whole(c, root)
	}
	if err := d.checkDuplicates(pol.duplicates); err != nil {
		return Outcome{}, err
	}
	return Outcome{Conflicts: m.conflicts, Moves: m.moves}, nil
}

// become takes over another text, byte for byte. It was parsed before.
func (d *Document) become(src []byte) {
	next, err := Parse(src, d.format)
	if err != nil {
		panic(err) // Diff parsed it
	}
	next.changed, next.names = true, d.names
	*d = *next
}

// equals says whether d is a text by value. The text was parsed before.
func (d *Document) equals(src []byte, strict bool) bool {
	other, err := Parse(src, d.format)
	return err == nil && d.root != nil && other.root != nil && equalNodes(d.root, other.root, strict)
}

type merger struct {
	d         *Document
	pol       *rules
	df        differ
	style     *style // of ours
	mapped    bool   // ours has names that are mapped
	additions bool
	verbatim  bool    // ours is written like theirs: its text fits as it is
	chain     []*node // from the root to where we are
	conflicts []Conflict
	joins     []join
	moves     Moves
}

func (m *merger) whole(c *Change, e *delta) {
	d := m.d
	rule := m.pol.rule(nil)
	switch {
	case d.root == nil: // created by ours, or changed by ours and deleted by theirs
		if e.base != nil {
			m.conflict(nil, e.base, e.ours, nil, TakenOurs, "changed by ours, deleted by theirs")
		}
		d.become(c.ours)
		if m.mapped {
			m.normalize(d.root, nil)
		}
	case e.ours == nil:
		m.conflict(nil, e.base, nil, d.root, TakenTheirs, "deleted by ours, changed by theirs")
	case m.descends(e, d.root, rule):
		m.inside(d.root, nil, m.rebased(e, d.root), rule)
	default:
		if raw, take := m.choose(nil, e, d.root, rule); take {
			d.changed = true
			d.root = newNode(m.fit(layout{d.styleOf(), 0, d.styleOf().multiline}, raw))
		}
	}
}

// descends says whether both sides are containers of one kind that are merged inside.
func (m *merger) descends(e *delta, theirs *node, rule Rule) bool {
	if rule.whole() || e.ours == nil || !e.ours.container() || e.ours.kind != theirs.kind {
		return false
	}
	return e.base == nil || !e.replaces()
}

// rebased gives a value that both sides added an empty base: what each put in is an addition to nothing.
func (m *merger) rebased(e *delta, theirs *node) *delta {
	if e.base != nil {
		return e
	}
	empty := newNode([]byte{byte(theirs.kind), closing(byte(theirs.kind))})
	if out := m.df.values(empty, e.ours); out != nil {
		return out
	}
	return &delta{base: empty, ours: e.ours, members: []memberDelta{}}
}

func (m *merger) inside(theirs *node, at Pointer, e *delta, rule Rule) {
	if equalNodes(theirs, e.ours, m.df.strict) && !m.pol.accumulates(at) {
		return
	}
	m.chain = append(m.chain, theirs)
	defer func() { m.chain = m.chain[:len(m.chain)-1] }()
	theirs.expand()
	if e.list == nil {
		names := m.pol.spellingsAt(at)
		for _, member := range e.members {
			member = m.spelled(theirs, names, member)
			if rule.Merge == Renumber {
				member = m.renumbered(theirs, at, e, member)
			}
			m.member(theirs, at, e, member)
		}
		return
	}
	switch rule.Merge {
	case Append:
		m.listAppend(theirs, at, e.list)
	case Set:
		m.listSet(theirs, at, e)
	case Keyed:
		m.listKeyed(theirs, at, e, rule.Key)
	default:
		m.listEdits(theirs, at, e)
	}
}

// touched marks everything from the root to here as changed.
func (m *merger) touched() {
	m.d.changed = true
	for _, n := range m.chain {
		n.dirty = true
	}
}

func (m *merger) member(n *node, at Pointer, parent *delta, e memberDelta) {
	here := append(at[:len(at):len(at)], e.name)
	rule := m.pol.rule(here)
	i := n.lookup(e.name)
	switch {
	case i < 0 && e.ours == nil: // deleted by both
	case i < 0:
		if raw, take := m.revive(here, e.delta, rule); take {
			m.insert(n, len(at), m.placeFor(n, parent, e), e.key, raw)
		}
	case e.ours == nil && e.alias:
		m.takeBack(n, i, here, e.base)
	case e.ours == nil:
		m.forget(here)
		if raw, ok := m.lessOf(here, e.base, n.kids[i].value); ok && !equalNodes(n.kids[i].value, e.base, m.df.strict) {
			m.touched() // others went on counting: to delete a count is to take one's own part of it back
			n.kids[i].value = newNode(raw)
		} else if m.mayDelete(here, e.delta, n.kids[i].value, rule) {
			m.touched()
			n.removeAt(i)
		}
	default:
		m.both(n, i, here, e.delta, rule)
	}
}

// revive decides about a value of ours that theirs does not have: new, or deleted there.
func (m *merger) revive(here Pointer, e *delta, rule Rule) (raw []byte, take bool) {
	switch {
	case e.base == nil:
		return e.ours.text(), true
	case m.additions:
		return nil, false
	case rule.Merge == Sum && e.base.kind == kindNumber && e.ours.kind == kindNumber:
		diff, err := subNumbers(e.ours.raw, e.base.raw)
		return diff, err == nil
	case m.pol.derives(here):
		return e.ours.text(), true
	case rule.Merge == Delete || rule.Merge == Theirs || rule.Merge == First:
		m.conflict(here, e.base, e.ours, nil, TakenTheirs, "changed by ours, deleted by theirs")
		return nil, false
	case rule.Merge == Fail:
		m.refuse(here, e, nil, "changed by ours, deleted by theirs")
		return nil, false
	}
	m.conflict(here, e.base, e.ours, nil, TakenOurs, "changed by ours, deleted by theirs")
	return e.ours.text(), true
}

// mayDelete decides about a value that ours deleted.
func (m *merger) mayDelete(here Pointer, e *delta, theirs *node, rule Rule) bool {
	const reason = "deleted by ours, changed by theirs"
	switch {
	case m.additions:
		return false
	case equalNodes(theirs, e.base, m.df.strict):
		return true
	case m.pol.derives(here):
		return false
	case rule.Merge == Delete || rule.Merge == Last:
		m.conflict(here, e.base, nil, theirs, TakenOurs, reason)
		return true
	case rule.Merge == Fail:
		m.refuse(here, e, theirs, reason)
		return false
	}
	m.conflict(here, e.base, nil, theirs, TakenTheirs, reason)
	return false
}

// both merges a value that ours changed or added into the one that is there.
func (m *merger) both(n *node, i int, here Pointer, e *delta, rule Rule) {
	theirs := n.kids[i].value
	if m.descends(e, theirs, rule) {
		m.inside(theirs, here, m.rebased(e, theirs), rule)
		return
	}
	m.forget(here)
	raw, take := m.choose(here, e, theirs, rule)
	if !take {
		return
	}
	l := m.d.layoutIn(n, len(here)-1)
	if theirs.container() {
		theirs.expand()
		if len(theirs.kids) > 0 {
			l.multiline = bytes.IndexByte(theirs.kids[0].before, '\n') >= 0
		}
	}
	m.touched()
	n.kids[i].value = newNode(m.fit(l, raw))
}

// choose settles a place that cannot be merged inside: a scalar, or values of different types.
func (m *merger) choose(here Pointer, e *delta, theirs *node, rule Rule) (raw []byte, take bool) {
	switch {
	case m.additions && e.base != nil:
		return nil, false
	case e.base != nil && equalNodes(theirs, e.base, m.df.strict):
		return e.ours.text(), true
	case reduces(rule.Merge):
		if raw, ok := m.reduce(rule.Merge, e, theirs); ok {
			return raw, !equalValues(raw, theirs.raw, true)
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
		m.refuse(here, e, theirs, reason)
		return nil, false
	case rule.Merge == Theirs || rule.Merge == First || m.additions:
		m.conflict(here, e.base, e.ours, theirs, TakenTheirs, reason)
		return nil, false
	}
	m.conflict(here, e.base, e.ours, theirs, TakenOurs, reason)
	return e.ours.text(), true
}

func reduces(s Strategy) bool { return s == Sum || s == Max || s == Min }

// reduce computes a number out of the three; ok is false where they are not all numbers.
func (m *merger) reduce(s Strategy, e *delta, theirs *node) (raw []byte, ok bool) {
	base := []byte("0")
	if e.base != nil {
		base = e.base.raw
	}
	if e.base != nil && e.base.kind != kindNumber || e.ours.kind != kindNumber || theirs.kind != kindNumber {
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

// placeFor is where a new member goes: behind its nearest preceding sibling in ours, and behind what theirs put there.
func (m *merger) placeFor(n *node, parent *delta, e memberDelta) int {
	for _, name := range e.after {
		i := n.lookup(name)
		if i < 0 {
			continue
		}
		i++
		for i < len(n.kids) && parent.base.lookup(n.kids[i].name()) < 0 && parent.ours.lookup(n.kids[i].name()) < 0 {
			i++
		}
		return i
	}
	if len(e.after) == 0 {
		return 0
	}
	return len(n.kids)
}

// insert puts a new child with the white space of its siblings.
func (m *merger) insert(n *node, depth, i int, key, raw []byte) {
	m.touched()
	m.d.placeChild(n, depth, i, key, raw)
	if m.verbatim && n.kind != kindLines {
		n.kids[i].value = newNode(bytes.Clone(raw))
	}
	m.d.undo = m.d.undo[:0] // a merge is never taken back
}

// fit writes a value of ours into theirs: as it is where both are written alike.
func (m *merger) fit(l layout, raw []byte) []byte {
	if m.verbatim {
		return raw
	}
	return l.render(nil, raw)
}

func (m *merger) conflict(at Pointer, base, ours, theirs *node, taken, reason string) {
	m.conflicts = append(m.conflicts, Conflict{
		At: at.String(), Base: bytes.Clone(nodeText(base)), Ours: bytes.Clone(nodeText(ours)), Theirs: bytes.Clone(nodeText(theirs)),
		Taken: taken, Reason: reason,
	})
}

func (m *merger) refuse(at Pointer, e *delta, theirs *node, reason string) {
	m.conflict(at, e.base, e.ours, theirs, TakenTheirs, reason+", refused by policy")
	m.conflicts[len(m.conflicts)-1].Refused = true
}

// checkDuplicates enforces a policy on names that come twice in one object.
func (d *Document) checkDuplicates(policy string) error {
	if policy == "" || d.root == nil {
		return nil
	}
	var walk func(n *node, at Pointer) (changed bool, err error)
	walk = func(n *node, at Pointer) (bool, error) {
		n.expand()
		changed := false
		for i := 0; i < len(n.kids); i++ {
			step := fmt.Sprint(i)
			if n.kind == kindObject {
				step = n.kids[i].name()
				if n.lookup(step) != i {
					if policy == "reject" {
						return false, fmt.Errorf("%w: %s: two members are named %q", ErrRefused, quotePointer(at), step)
					}
					n.remove(i)
					i--
					changed = true
					continue
				}
			}
			below, err := walk(n.kids[i].value, append(at[:len(at):len(at)], step))
			if err != nil {
				return false, err
			}
			changed = changed || below
		}
		n.dirty = n.dirty || changed
		return changed, nil
	}
	changed, err := walk(d.root, nil)
	d.changed = d.changed || changed
	return err
}
