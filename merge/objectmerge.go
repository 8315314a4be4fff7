package merge

import "slices"

// objectEdits does what ours did to an object to theirs.
func (m *merger) objectEdits(theirs *node, at Pointer, e *delta, rule Rule) {
	names := m.pol.spellingsAt(at)
	var news additions
	var next int64
	for _, member := range e.members {
		member = m.spelled(theirs, names, member)
		if rule.Merge == Renumber {
			member = m.renumbered(theirs, at, e, member, &next)
		}
		here := at.child(member.name)
		rule := m.pol.rule(here)
		if _, ok := news.at[member.name]; ok { // another spelling of one that is new
			news.putIn()
			news = additions{}
		}
		i := theirs.lookup(member.name)
		switch {
		case i < 0 && member.ours == nil: // deleted by both
		case i < 0 && m.onlyDerived(here, member.delta): // deleted by theirs, not changed by ours
		case i < 0:
			if raw, take := m.revive(here, member.delta, rule); take {
				m.touched()
				if news.at == nil {
					news = placesIn(theirs, e, names)
				}
				key := member.key
				if key == nil {
					key = e.ours.key(member.at)
				}
				news.add(member, m.newChild(theirs, len(at), key, raw))
			}
		case member.ours == nil && member.alias:
			m.takeBack(theirs, i, here, member.base)
		case member.ours == nil:
			m.forget(here)
			there := theirs.value(i)
			if raw, ok := m.lessOf(here, member.base, there); ok && !m.additions && !equalNodes(there, member.base, m.df.strict) {
				m.replace(theirs, i, len(at), raw) // others went on counting: to delete a count is to take one's own part of it back
			} else if m.mayDelete(here, member.base, there, rule) {
				m.touched()
				theirs.remove(i)
			}
		default:
			m.both(theirs, i, here, member.delta, rule)
		}
	}
	news.putIn()
}

// additions are the members that ours adds to an object of theirs. They are put in all at once.
type additions struct {
	theirs, ours, base *node
	names              spellings
	sorted             bool
	at                 map[string]int // place of each: in front of this member of theirs
	list               []addition
}

type addition struct {
	at    int
	child *child
}

func placesIn(theirs *node, e *delta, names spellings) additions {
	return additions{theirs: theirs, ours: e.ours, base: e.base, names: names, sorted: theirs.len()+e.ours.len() > 2 && theirs.isSorted() && e.ours.isSorted(), at: map[string]int{}}
}

// add finds the place of a new member: behind its nearest preceding sibling in ours, and behind what theirs put at the
// same place; in objects with sorted names, among those.
func (a *additions) add(e memberDelta, c *child) {
	at := len(a.theirs.kids)
	if !e.last {
		at = a.placeOf(e)
	}
	a.at[e.name] = at
	a.list = append(a.list, addition{at, c})
}

func (a *additions) placeOf(e memberDelta) int {
	at, j := 0, e.at-1
	for ; j >= 0; j-- {
		sibling := a.ours.name(j)
		i := a.theirs.lookup(sibling)
		if i < 0 {
			sibling = a.names.of(sibling)
			i = a.theirs.lookup(sibling)
		}
		if i >= 0 {
			at = i + 1
			break
		}
		if place, ok := a.at[sibling]; ok {
			at = place
			break
		}
	}
	for ; at < len(a.theirs.kids); at++ {
		if !a.theirs.there(at) {
			continue
		}
		other := a.theirs.name(at)
		if j < 0 && !a.sorted || a.base.lookup(other) >= 0 || a.ours.lookup(other) >= 0 || a.sorted && other > e.name {
			break
		}
	}
	return at
}

func (a *additions) putIn() {
	if len(a.list) == 0 {
		return
	}
	slices.SortStableFunc(a.list, func(x, y addition) int { return x.at - y.at })
	n := a.theirs
	for _, add := range a.list {
		n.standAlone(add.at)
	}
	out := make([]kid, 0, len(n.kids)+len(a.list))
	from := 0
	for _, add := range a.list {
		out = append(out, n.kids[from:add.at]...)
		out = append(out, n.kidOf(add.child))
		from = add.at
	}
	n.kids = append(out, n.kids[from:]...)
	n.renamed()
}
