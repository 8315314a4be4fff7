package merge

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
)

// Writers that spell one name in several ways are brought together when their changes go in: a change is found in the
// writer's own spelling, where its base and ours agree, and only then are its names mapped. A name that the document
// still has in the old spelling keeps it for changes to what is there; Normalize joins what is there.

type placedRename struct {
	at Pattern
	Rename
}

// spellings maps the names of one object; the first that matches decides.
type spellings []Spelling

func (s spellings) of(name string) string {
	for _, one := range s {
		if one.Match.MatchString(name) {
			return one.To
		}
	}
	return name
}

// spellingsAt collects what applies to the object at a place.
func (r *rules) spellingsAt(at Pointer) spellings {
	var all spellings
	for _, n := range r.renames {
		if n.at.Matches(at) {
			all = append(all, n.Spellings...)
		}
	}
	return all
}

func (r *rules) renamesBelow(at Pointer) bool {
	return slices.ContainsFunc(r.renames, func(n placedRename) bool { return n.at.reaches(at) })
}

// onFold leaves out what only Normalize applies.
func (r *rules) onFold() *rules {
	if !slices.ContainsFunc(r.renames, func(n placedRename) bool { return n.OnRequest }) {
		return r
	}
	out := *r
	out.renames = slices.DeleteFunc(slices.Clone(r.renames), func(n placedRename) bool { return n.OnRequest })
	return &out
}

// checkSpellings refuses renames that, done again, would go on renaming: what a name ends as would depend on how often
// a document was folded.
func (r *rules) checkSpellings() error {
	for _, set := range []*rules{r, r.onFold()} {
		for _, n := range set.renames {
			var met spellings // all that may ever apply to one object together with n
			for _, other := range set.renames {
				if n.at.meets(other.at) {
					met = append(met, other.Spellings...)
				}
			}
			for _, s := range n.Spellings {
				if again := met.of(s.To); again != s.To {
					return fmt.Errorf("renaming in %q: %q becomes %q, which another spelling makes %q: a name that was mapped must stay", n.Rename.At, s.Match, s.To, again)
				}
			}
		}
	}
	return nil
}

// translate maps the names inside the values of a change and tells whether the change has any name to be mapped. Names
// of members that are merged one by one are left to the merge, which knows what the document has.
func (m *merger) translate(e *delta, at Pointer) (out *delta, mapped bool) {
	if e == nil || !m.pol.renamesBelow(at) {
		return e, false
	}
	if e.replaces() || e.list != nil {
		base, inBase := m.normalized(e.base, at)
		ours, inOurs := m.normalized(e.ours, at)
		switch {
		case !inBase && !inOurs:
			return e, false
		case e.replaces():
			return &delta{base: base, ours: ours}, true
		default:
			return m.df.values(base, ours), true
		}
	}
	names := m.pol.spellingsAt(at)
	copied := *e
	copied.members = make([]memberDelta, 0, len(e.members))
	for _, member := range e.members {
		name := names.of(member.name)
		inner, inside := m.translate(member.delta, at.child(name))
		mapped = mapped || inside || name != member.name
		if member.delta = inner; inner != nil { // nil: the same, once it is spelled alike
			copied.members = append(copied.members, member)
		}
	}
	if len(copied.members) == 0 && len(e.members) > 0 {
		return nil, mapped
	}
	return &copied, mapped
}

// normalized returns a value with its names mapped; n may be nil.
func (m *merger) normalized(n *node, at Pointer) (*node, bool) {
	if n == nil || !n.kind.container() || !m.pol.renamesBelow(at) {
		return n, false
	}
	raw := n.text()
	d := &Document{src: raw, format: m.d.format, style: m.style, root: textNode(n.kind, raw)}
	inner := &merger{d: d, pol: m.pol, df: m.df, style: m.style}
	inner.normalize(d.root, at)
	m.conflicts = append(m.conflicts, inner.conflicts...)
	if len(inner.joins) == 0 {
		return n, false
	}
	return textNode(n.kind, d.root.text()), true
}

// spelled gives a member the name that the document has for it.
func (m *merger) spelled(n *node, names spellings, e memberDelta) memberDelta {
	if len(names) == 0 {
		return e
	}
	name := names.of(e.name)
	if name == e.name || e.base != nil && n.lookup(e.name) >= 0 {
		return e
	}
	e.name, e.alias, e.key = name, true, m.d.encodeName(name)
	return e
}

// encodeName writes a name as the document writes strings.
func (d *Document) encodeName(name string) []byte {
	return encodeString(name, d.styleOf().escape == escapeASCII)
}

// takeBack removes from child i of n what a writer had put there under a name of its own, and no more: other writers'
// values are under the same name.
func (m *merger) takeBack(n *node, i int, here Pointer, base *node) {
	if m.additions {
		return
	}
	theirs := n.value(i)
	if equalNodes(theirs, base, m.df.strict) {
		m.touched()
		n.remove(i)
		return
	}
	if raw, ok := m.lessOf(here, base, theirs); ok {
		m.touched()
		n.own(i).value = newNode(raw)
		return
	}
	if theirs.kind != base.kind || !theirs.kind.container() {
		return // somebody else's value
	}
	m.chain = append(m.chain, theirs)
	theirs.expand()
	base.expand()
	if theirs.kind == kindObject {
		names := m.pol.spellingsAt(here)
		for k := range base.kids {
			name := base.name(k)
			if base.lookup(name) != k {
				continue
			}
			name = m.movedName(here, names.of(name))
			if j := theirs.lookup(name); j >= 0 {
				m.takeBack(theirs, j, here.child(name), base.value(k))
			}
		}
	} else {
		m.takeElements(theirs, base)
	}
	m.forget(here)
	m.chain = m.chain[:len(m.chain)-1]
	if m.nothingLeft(theirs, here) {
		m.touched()
		n.remove(i)
	}
}

// lessOf is a sum without what one writer had added to it.
func (m *merger) lessOf(here Pointer, base, theirs *node) ([]byte, bool) {
	if m.pol.rule(here).Merge != Sum || base.kind != kindNumber || theirs.kind != kindNumber {
		return nil, false
	}
	raw, err := subNumbers(theirs.raw, base.raw)
	return raw, err == nil
}

// takeElements removes one element of theirs for each equal one of base.
func (m *merger) takeElements(theirs, base *node) {
	held := countOf(base)
	gone := map[int]bool{}
	for i := range theirs.kids {
		if print := theirs.fingerprint(i); held[print] > 0 {
			held[print]--
			gone[i] = true
		}
	}
	m.takeOut(theirs, gone)
}

// nothingLeft: a record in which only sums of zero, empty containers and derived values remain is what no writer holds
// any more.
func (m *merger) nothingLeft(n *node, at Pointer) bool {
	if n.kind.list() {
		return n.len() == 0
	}
	for i := range n.kids {
		if !n.there(i) {
			continue
		}
		v, here := n.value(i), at.child(n.name(i))
		switch {
		case v.kind.container():
			v.expand()
			if v.len() > 0 {
				return false
			}
		case m.pol.derives(here):
		case v.kind == kindNumber && m.pol.rule(here).Merge == Sum && equalNumbers(v.raw, []byte("0")):
		default:
			return false
		}
	}
	return true
}

// Join is one name of an object that Normalize brought several members together under.
type Join struct {
	At     string   // RFC 6901 pointer of the object
	Into   string   // the name
	From   []string // the names that were there, in their order; Into may be one of them
	Before [][]byte // their values
	After  []byte   // the value now
}

// Normalize applies the renames of a policy, those on request included, to what the document holds. Members that come
// to one name are merged by the rules of the policy, as if their writers had committed in the order in which they stand.
// ErrRefused: a rule says fail; the document is half changed then and must not be used.
func (d *Document) Normalize(pol *Policy) ([]Join, Outcome, error) {
	r, err := pol.compile()
	if err != nil || d.root == nil || !r.renamesBelow(nil) {
		return nil, Outcome{}, err
	}
	m := &merger{d: d, pol: r, df: differ{strict: r.strict()}, style: d.styleOf()}
	m.normalize(d.root, nil)
	for _, c := range m.conflicts {
		if c.Refused {
			return nil, Outcome{Conflicts: m.conflicts}, fmt.Errorf("%w: %s", ErrRefused, c)
		}
	}
	for i := range m.joins {
		m.joins[i].After = bytes.Clone(m.joins[i].value.text())
	}
	return m.joinList(), Outcome{Conflicts: m.conflicts}, nil
}

// join is a Join under way.
type join struct {
	Join
	value *node
}

func (m *merger) joinList() []Join {
	out := make([]Join, len(m.joins))
	for i, j := range m.joins {
		out[i] = j.Join
	}
	return out
}

// normalize maps the names below n, from the outside in.
func (m *merger) normalize(n *node, at Pointer) {
	if !n.kind.container() || !m.pol.renamesBelow(at) {
		return
	}
	n.expand()
	m.chain = append(m.chain, n)
	defer func() { m.chain = m.chain[:len(m.chain)-1] }()
	if n.kind == kindObject {
		if names := m.pol.spellingsAt(at); len(names) > 0 {
			m.join(n, at, names)
		}
	}
	for i := range n.kids {
		if !n.there(i) {
			continue
		}
		step := strconv.Itoa(i)
		if n.kind == kindObject {
			step = n.name(i)
		}
		m.normalize(n.value(i), at.child(step))
	}
}

// join brings the members of n that have one name together, where the first of them stands.
func (m *merger) join(n *node, at Pointer, names spellings) {
	from := map[string][]string{} // name → the spellings of it that are there
	var order []string
	for i := range n.kids {
		if !n.there(i) {
			continue
		}
		name := n.name(i)
		if n.lookup(name) != i {
			continue
		}
		to := names.of(name)
		if from[to] == nil {
			order = append(order, to)
		}
		from[to] = append(from[to], name)
	}
	for _, to := range order {
		if spelt := from[to]; len(spelt) > 1 || spelt[0] != to {
			m.joinOne(n, at, to, spelt)
		}
	}
}

func (m *merger) joinOne(n *node, at Pointer, to string, spelt []string) {
	done := join{Join: Join{At: at.String(), Into: to, From: spelt}}
	for _, name := range spelt {
		i := n.lookup(name)
		done.Before = append(done.Before, bytes.Clone(n.value(i).text()))
		n.removeBefore(i, name) // an earlier double never counted
	}
	m.touched()
	seat := spelt[0]
	here := at.child(to)
	for _, name := range spelt[1:] {
		e := &delta{ours: n.value(n.lookup(name))}
		m.both(n, n.lookup(seat), here, e, m.pol.rule(here))
		n.remove(n.lookup(name))
	}
	i := n.lookup(seat)
	if seat != to {
		n.own(i).key = m.d.encodeName(to)
		n.renamed()
	}
	done.value = n.value(i)
	m.joins = append(m.joins, done)
}

// Under makes a document answer to the names that writers under a policy use: an operation whose pointer names a member
// that is not there in that spelling means the one that the policy renames it to.
func (d *Document) Under(pol *Policy) error {
	r, err := pol.compile()
	if err == nil {
		d.names = r.onFold()
	}
	return err
}

// spelled is p as the document spells it. A deletion by another spelling has no base that says what its writer had put
// there, so that it finds nothing: keepLast leaves the last step as it is.
func (d *Document) spelled(p Pointer, keepLast bool) Pointer {
	if d.names == nil || !d.names.renamesBelow(nil) {
		return p
	}
	n, out := d.root, make(Pointer, 0, len(p))
	for i, step := range p {
		if (i < len(p)-1 || !keepLast) && (n == nil || n.kind == kindObject && n.child(step) == nil) {
			step = d.names.spellingsAt(out).of(step)
		}
		out = append(out, step)
		if n != nil {
			n = n.child(step)
		}
	}
	return out
}

// spelledValue is a value that an operation puts at p, with its names as the document spells them.
func (d *Document) spelledValue(p Pointer, raw []byte) []byte {
	if d.names == nil || len(raw) == 0 {
		return raw
	}
	m := &merger{d: d, pol: d.names, df: differ{strict: d.names.strict()}, style: d.styleOf()}
	n, _ := m.normalized(newNode(raw), p)
	return n.text()
}
