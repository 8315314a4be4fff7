package merge

import "bytes"

// equalValues compares two valid texts by value: numbers exactly at any size, strings decoded, objects without order,
// NaN equal to itself. strict tells an integer from a number with a point or exponent. White space around is ignored.
func equalValues(a, b []byte, strict bool) bool {
	if bytes.Equal(a, b) {
		return true
	}
	c := comparison{a: a, b: b, strict: strict}
	c.i, c.j = skipSpace(a, 0), skipSpace(b, 0)
	if c.i == len(a) || c.j == len(b) {
		return c.i == len(a) && c.j == len(b)
	}
	return c.values()
}

// equalNodes is equalValues for values that may have been changed, and for JSON Lines, whose text is not one value.
func equalNodes(a, b *node, strict bool) bool {
	switch {
	case a.kind != b.kind:
		return false
	case !a.dirty && !b.dirty && bytes.Equal(a.raw, b.raw):
		return true
	case !a.dirty && !b.dirty && a.kind != kindLines:
		return equalValues(a.raw, b.raw, strict)
	}
	a.expand()
	b.expand()
	if a.kind.list() {
		if a.len() != b.len() {
			return false
		}
		for i := range a.kids {
			if !equalChildren(a, i, b, i, strict) {
				return false
			}
		}
		return true
	}
	names := 0
	for i := range a.kids {
		if !a.there(i) {
			continue
		}
		name := a.name(i)
		if a.lookup(name) != i {
			continue // an earlier double
		}
		names++
		if j := b.lookup(name); j < 0 || !equalChildren(a, i, b, j, strict) {
			return false
		}
	}
	for i := range b.kids {
		if b.there(i) && b.lookup(b.name(i)) == i {
			names--
		}
	}
	return names == 0
}

func equalChildren(a *node, i int, b *node, j int, strict bool) bool {
	x, y := a.madeOf(i), b.madeOf(j)
	if (x == nil || !x.value.dirty) && (y == nil || !y.value.dirty) {
		return equalValues(a.rawChild(i), b.rawChild(j), strict)
	}
	return equalNodes(a.value(i), b.value(j), strict)
}

// comparison walks two texts side by side. Each method reads over what it compares on both sides, whatever it finds,
// so that everything is read once, but for members in another order.
type comparison struct {
	a, b   []byte
	i, j   int
	strict bool
}

func (c *comparison) values() bool {
	k := kindOfText(c.a[c.i:])
	if k == kindOfText(c.b[c.j:]) {
		switch k {
		case kindObject:
			return c.objects()
		case kindArray:
			return c.lists()
		}
	}
	start, other := c.i, c.j
	c.i, _ = scanValue(c.a, c.i)
	c.j, _ = scanValue(c.b, c.j)
	a, b := c.a[start:c.i], c.b[other:c.j]
	switch {
	case bytes.Equal(a, b):
		return true
	case k != kindOfText(b):
		return false
	case k == kindString:
		return equalStrings(a, b)
	case k == kindNumber:
		return (!c.strict || isInteger(a) == isInteger(b)) && equalNumbers(a, b)
	}
	return false
}

func equalStrings(a, b []byte) bool {
	if bytes.IndexByte(a, '\\') < 0 && bytes.IndexByte(b, '\\') < 0 {
		return bytes.Equal(a, b)
	}
	return decodeString(a) == decodeString(b)
}

// nextIn goes to the next value or name in a container, from its opening bracket or from the end of the value before; ok
// is false behind the closing bracket.
func nextIn(src []byte, i int) (next int, ok bool) {
	if i = skipSpace(src, i); src[i] == '[' || src[i] == '{' || src[i] == ',' {
		i = skipSpace(src, i+1)
	}
	if src[i] == ']' || src[i] == '}' {
		return i + 1, false
	}
	return i, true
}

func (c *comparison) lists() bool {
	equal := true
	i, inA := nextIn(c.a, c.i)
	j, inB := nextIn(c.b, c.j)
	for inA && inB {
		c.i, c.j = i, j
		equal = c.values() && equal
		i, inA = nextAfter(c.a, c.i)
		j, inB = nextAfter(c.b, c.j)
	}
	equal = equal && inA == inB
	c.i, c.j = closeRest(c.a, i, inA), closeRest(c.b, j, inB)
	return equal
}

// nextAfter is nextIn from the end of a value.
func nextAfter(src []byte, i int) (next int, ok bool) {
	if i = skipSpace(src, i); src[i] == ',' {
		return skipSpace(src, i+1), true
	}
	return i + 1, false
}

// closeRest reads over the elements from i to the end of their array.
func closeRest(src []byte, i int, in bool) int {
	for in {
		i, _ = scanValue(src, i)
		i, in = nextAfter(src, i)
	}
	return i
}

// objects compares members side by side as long as the names are the same, and by name from there. A name that comes
// again overrides what was found about it before.
func (c *comparison) objects() bool {
	var unequal map[string]bool
	i, inA := nextIn(c.a, c.i)
	j, inB := nextIn(c.b, c.j)
	begin, other := i, j
	for inA && inB {
		endA, _ := scanString(c.a, i)
		endB, _ := scanString(c.b, j)
		key := c.a[i:endA]
		if !equalStrings(key, c.b[j:endB]) {
			break
		}
		c.i, _ = scanKey(c.a, i)
		c.j, _ = scanKey(c.b, j)
		if !c.values() {
			if unequal == nil {
				unequal = map[string]bool{}
			}
			unequal[decodeString(key)] = true
		} else if unequal != nil {
			delete(unequal, decodeString(key))
		}
		i, inA = nextAfter(c.a, c.i)
		j, inB = nextAfter(c.b, c.j)
	}
	if !inA && !inB {
		c.i, c.j = i, j
		return len(unequal) == 0
	}
	return c.byName(begin, i, inA, other, j, inB, unequal)
}

// byName compares what is left of two objects, from i and j; begin and other are their first members.
func (c *comparison) byName(begin, i int, inA bool, other, j int, inB bool, unequal map[string]bool) bool {
	restA, endA := members(c.a, i, len(c.a), inA)
	restB, endB := members(c.b, j, len(c.b), inB)
	defer func() { c.i, c.j = endA, endB }()
	// A name that is left on one side only may be one that came before, with another value then.
	var beforeA, beforeB map[string]int
	for name, at := range restA {
		to, ok := restB[name]
		if !ok {
			if beforeB == nil {
				beforeB, _ = members(c.b, other, j, other < j)
			}
			to, ok = beforeB[name]
		}
		c.i, c.j = at, to
		if !ok || !c.values() {
			return false
		}
		delete(unequal, name)
	}
	for name, to := range restB {
		if _, ok := restA[name]; ok {
			continue
		}
		if beforeA == nil {
			beforeA, _ = members(c.a, begin, i, begin < i)
		}
		at, ok := beforeA[name]
		c.i, c.j = at, to
		if !ok || !c.values() {
			return false
		}
		delete(unequal, name)
	}
	return len(unequal) == 0
}

// members are the last value of each name, from the name at i up to stop or the end of the object.
func members(src []byte, i, stop int, in bool) (values map[string]int, end int) {
	values = map[string]int{}
	for in && i < stop {
		key, _ := scanString(src, i)
		name := decodeString(src[i:key])
		i, _ = scanKey(src, i)
		values[name] = i
		i, _ = scanValue(src, i)
		i, in = nextAfter(src, i)
	}
	return values, i
}
