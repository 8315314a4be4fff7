package merge

import (
	"maps"
	"strconv"
	"strings"
)

// Moves tells how the document calls what one writer's version calls otherwise, because Renumber moved it: pointer of
// the object in the document → the writer's name → the document's. They belong to that version of the writer's: a
// change made from another base has nothing to do with them.
type Moves map[string]map[string]string

// Clone returns a copy that shares nothing.
func (m Moves) Clone() Moves {
	out := make(Moves, len(m))
	for at, names := range m {
		out[at] = maps.Clone(names)
	}
	return out
}

// From says where the document has what the base of c holds: the Moves of the Outcome when that base was merged as a
// writer's version. It returns a change that is merged accordingly.
func (c *Change) From(m Moves) *Change {
	out := *c
	out.moves = m
	return &out
}

// renumbered decides about a member of an object in which new members get the next free integer as their name. What
// both sides added under one name is two members; what the writer does later to the one that was moved follows it, for
// as long as its own version has it. next is the next free integer, 0 until it was looked for.
func (m *merger) renumbered(n *node, at Pointer, e *delta, member memberDelta, next *int64) memberDelta {
	path := at.String()
	to, moved := m.moves[path][member.name]
	_, integer := integerName(member.name)
	switch {
	case moved && member.base != nil:
		if member.ours == nil {
			m.drop(path, member.name)
		}
	case member.base == nil && integer && n.lookup(member.name) >= 0:
		if *next == 0 {
			*next = nextInteger(n, e.base, e.ours)
		}
		to = strconv.FormatInt(*next, 10)
		*next++
		if m.moves == nil {
			m.moves = Moves{}
		}
		if m.moves[path] == nil {
			m.moves[path] = map[string]string{}
		}
		m.moves[path][member.name] = to
	default:
		m.drop(path, member.name)
		return member
	}
	member.name, member.key, member.last = to, m.d.encodeName(to), true
	return member
}

// nextInteger is above every integer that anybody knows of as a name: one that is free in the document only may be the
// writer's name for something else.
func nextInteger(objects ...*node) int64 {
	next := int64(1)
	for _, n := range objects {
		if n == nil || n.kind != kindObject {
			continue
		}
		n.expand()
		for i := range n.kids {
			if !n.there(i) {
				continue
			}
			if v, ok := integerName(n.name(i)); ok && v >= next {
				next = v + 1
			}
		}
	}
	return next
}

// integerName reads a name as programs write an integer: digits without a leading zero, small enough to have a successor.
func integerName(name string) (int64, bool) {
	if name == "" || len(name) > 18 || name[0] == '0' && len(name) > 1 || strings.Trim(name, "0123456789") != "" {
		return 0, false
	}
	v, err := strconv.ParseInt(name, 10, 64)
	return v, err == nil
}

// movedName is what the document calls a member that the writer has.
func (m *merger) movedName(at Pointer, name string) string {
	if to, moved := m.moves[at.String()][name]; moved {
		return to
	}
	return name
}

func (m *merger) drop(path, name string) {
	delete(m.moves[path], name)
	if len(m.moves[path]) == 0 {
		delete(m.moves, path)
	}
}

// forget drops the moves at and below a place that the writer gave up.
func (m *merger) forget(at Pointer) {
	if len(m.moves) == 0 {
		return
	}
	path := at.String()
	for object := range m.moves {
		if object == path || strings.HasPrefix(object, path+"/") {
			delete(m.moves, object)
		}
	}
}
