package merge

import (
	"bytes"
	"slices"
	"strconv"
)

// node is one value. Until expand it is its text; from then on its children are looked at one by one, and a change
// below marks it dirty, so that its text is put together again from theirs.
type node struct {
	raw   []byte   // without white space around; stale when dirty
	ext   *extents // of the text that raw is a part of; nil for a short one
	off   int      // of raw in that text
	kind  kind
	dirty bool

	expanded bool
	kids     []kid
	gone     int // children of an object that were taken out and left their place behind
	// White space of a container: behind its opening bracket, in front of a child that is new at its place, in front of
	// the closing bracket. Of JSON Lines: the byte order mark, nothing, what follows the last line.
	head, between, tail []byte
	index               map[string]int // objects with many members: name → place of the last one
	doubles             bool           // known with index: two members share a name
	read                int            // names compared before there was an index
}

// kid is a member or an element: its place in the text of its container, and, once somebody has gone into it or
// changed it, what it is made of. The text of a container is
//
//	{ before key colon value after , before key colon value tail }
type kid struct {
	at, end int // from the white space in front to the end of the value; at is -1 for one that is not from there
	own     *child
}

type child struct {
	before []byte // nil for a new one: as its siblings
	key    []byte // as written, with its quotes; nil in arrays
	colon  []byte // from the end of the key to the value
	value  *node
	after  []byte // before the comma; in Lines: up to and with the end of the line
}

type kind byte

const (
	kindObject kind = '{'
	kindArray  kind = '['
	kindString kind = '"'
	kindNumber kind = '0'
	kindOther  kind = 't' // true, false, null
	kindLines  kind = 'L' // the lines of a JSON Lines document, as an array
)

// String is a kind as messages name it.
func (k kind) String() string {
	switch k {
	case kindObject:
		return "an object"
	case kindArray:
		return "an array"
	case kindString:
		return "a string"
	case kindNumber:
		return "a number"
	case kindLines:
		return "a list of lines"
	default:
		return "true, false or null"
	}
}

func (k kind) container() bool { return k == kindObject || k.list() }
func (k kind) list() bool      { return k == kindArray || k == kindLines }

func kindOfText(raw []byte) kind {
	switch c := raw[0]; c {
	case '{', '[', '"':
		return kind(c)
	case 't', 'f', 'n':
		return kindOther
	default: // digits, '-', NaN, Infinity
		return kindNumber
	}
}

// newNode is a value that is a text of its own.
func newNode(raw []byte) *node {
	n := &node{kind: kindOfText(raw), raw: raw}
	if len(raw) > coverBytes && n.kind.container() {
		n.ext = new(extents)
		_, _ = scan(raw, 0, n.ext) // it is valid
		n.ext.seal()
	}
	return n
}

// textNode is newNode for a kind that is known: the text of JSON Lines does not tell.
func textNode(k kind, raw []byte) *node {
	if k == kindLines {
		return &node{kind: k, raw: raw}
	}
	return newNode(raw)
}

// text of the value as it is now.
func (n *node) text() []byte {
	if !n.dirty {
		return n.raw
	}
	return textOf(n)
}

// expand splits the text into children. It was validated: nothing here can fail.
func (n *node) expand() {
	if n.expanded || !n.kind.container() {
		return
	}
	n.expanded = true
	if n.kind == kindLines {
		n.expandLines()
		return
	}
	ext := n.ext
	if len(n.raw) < coverBytes {
		ext = nil // nothing in it can be that large
	}
	src := n.raw
	i := skipSpace(src, 1)
	n.head = src[1:i]
	if src[i] == closing(byte(n.kind)) {
		n.head, n.tail = nil, n.head
		return
	}
	for at := 1; ; {
		if n.kind == kindObject {
			i, _ = scanKey(src, i)
		}
		i = ext.skipValue(src, i, n.off)
		n.add(kid{at: at, end: i})
		end := i
		i = skipSpace(src, i)
		if src[i] != ',' {
			n.tail = src[end:i]
			break
		}
		at = i + 1
		i = skipSpace(src, at)
	}
	n.kids = slices.Clip(n.kids)
}

// add appends a child of the text. In a long list it guesses their number from their size, in steps: to grow by doubling
// takes several times the memory.
func (n *node) add(k kid) {
	const few, step = 1 << 10, 16
	if have := len(n.kids); have >= few && have == cap(n.kids) {
		rest := int(float64(len(n.raw)-k.end) / float64(k.end) * float64(have) * 1.05)
		n.kids = slices.Grow(n.kids, min(rest+few, step*have))
	}
	n.kids = append(n.kids, k)
}

func (n *node) expandLines() {
	src := n.raw
	at := 0
	if bytes.HasPrefix(src, utf8BOM) {
		at = len(utf8BOM)
	}
	n.head = src[:at]
	for {
		i := skipSpace(src, at)
		if i == len(src) {
			n.tail = src[at:]
			return
		}
		i = n.ext.skipValue(src, i, n.off)
		n.add(kid{at: at, end: i})
		at = i + len(restOfLine(src[i:]))
	}
}

func restOfLine(src []byte) []byte {
	if i := bytes.IndexByte(src, '\n'); i >= 0 {
		return src[:i+1]
	}
	return src
}

// len is the number of children.
func (n *node) len() int { return len(n.kids) - n.gone }

// there says whether child i has not been taken out.
func (n *node) there(i int) bool { return n.kids[i].at >= 0 || n.kids[i].own != nil }

// last is the place of the last child, -1 if there is none.
func (n *node) last() int {
	for i := len(n.kids) - 1; i >= 0; i-- {
		if n.there(i) {
			return i
		}
	}
	return -1
}

// key of member i as it is written, with its quotes.
func (n *node) key(i int) []byte {
	k := &n.kids[i]
	if k.own != nil {
		return k.own.key
	}
	start := skipSpace(n.raw, k.at)
	end, _ := scanString(n.raw, start)
	return n.raw[start:end]
}

func (n *node) name(i int) string { return decodeString(n.key(i)) }

// start is where the value of a child begins that is still its text.
func (n *node) start(i int) int {
	start := skipSpace(n.raw, n.kids[i].at)
	if n.kind == kindObject {
		start, _ = scanKey(n.raw, start)
	}
	return start
}

// rawChild is the text of the value of child i; it is put together only if it was changed.
func (n *node) rawChild(i int) []byte {
	if own := n.kids[i].own; own != nil {
		return own.value.text()
	}
	return n.raw[n.start(i):n.kids[i].end]
}

// own makes child i a thing of its own.
func (n *node) own(i int) *child {
	k := &n.kids[i]
	if k.own != nil {
		return k.own
	}
	src := n.raw
	c := &child{}
	at := skipSpace(src, k.at)
	c.before = src[k.at:at]
	start := at
	if n.kind == kindObject {
		end, _ := scanString(src, at)
		c.key = src[at:end]
		start, _ = scanKey(src, at)
		c.colon = src[end:start]
	}
	c.after = n.after(i)
	c.value = &node{kind: kindOfText(src[start:]), raw: src[start:k.end], ext: n.ext, off: n.off + start}
	k.own = c
	return c
}

// after is what follows child i before the comma, or up to the end of its line.
func (n *node) after(i int) []byte {
	k := &n.kids[i]
	switch {
	case k.own != nil:
		return k.own.after
	case n.kind == kindLines:
		return restOfLine(n.raw[k.end:])
	}
	end := skipSpace(n.raw, k.end)
	if n.raw[end] != ',' {
		return nil // the last one: that is the tail
	}
	return n.raw[k.end:end]
}

func (n *node) value(i int) *node { return n.own(i).value }

// forget gives back what looking into child i took. Only for trees that nobody changes.
func (n *node) forget(i int) { n.kids[i].own = nil }

// child returns the value one step down, nil if there is none.
func (n *node) child(step string) *node {
	if i := n.place(step); i >= 0 {
		return n.value(i)
	}
	return nil
}

// place finds a step among the children, -1 if it is not there.
func (n *node) place(step string) int {
	if !n.kind.container() {
		return -1
	}
	n.expand()
	if n.kind == kindObject {
		return n.lookup(step)
	}
	if i, ok := arrayIndex(step); ok && i < len(n.kids) {
		return i
	}
	return -1
}

// arrayIndex reads an RFC 6901 array index: digits without a leading zero.
func arrayIndex(step string) (int, bool) {
	if len(step) == 0 || len(step) > 1 && step[0] == '0' || step[0] < '0' || step[0] > '9' {
		return 0, false
	}
	i, err := strconv.Atoi(step)
	return i, err == nil
}

// lookup finds the last member of that name, -1 if there is none. Objects in which much is looked up get an index.
func (n *node) lookup(name string) int {
	const few, often = 16, 4
	if n.index == nil && len(n.kids) >= few && n.read > often*len(n.kids) {
		n.makeIndex()
	}
	if n.index != nil {
		if i, ok := n.index[name]; ok {
			return i
		}
		return -1
	}
	for i := len(n.kids) - 1; i >= 0; i-- {
		n.read++
		if n.there(i) && sameName(n.key(i), name) {
			return i
		}
	}
	return -1
}

func (n *node) makeIndex() {
	n.index = make(map[string]int, len(n.kids))
	for i := range n.kids {
		if n.there(i) {
			n.index[n.name(i)] = i
		}
	}
	n.doubles = len(n.index) < n.len()
}

func sameName(key []byte, name string) bool {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key[1:len(key)-1]) == name
	}
	return decodeString(key) == name
}

// insert puts c at place i.
func (n *node) insert(i int, c *child) {
	n.kids = slices.Insert(n.kids, i, kid{at: -1, own: c})
	switch {
	case n.index == nil:
	case i == len(n.kids)-1:
		name := n.name(i)
		_, double := n.index[name]
		n.doubles = n.doubles || double
		n.index[name] = i
	default:
		n.index, n.read = nil, 0
	}
}

// removeInserted takes out what insert put at the end or in between.
func (n *node) removeInserted(i int) {
	switch {
	case n.index == nil:
	case i == len(n.kids)-1:
		delete(n.index, n.name(i))
	default:
		n.index, n.read = nil, 0
	}
	n.kids = slices.Delete(n.kids, i, i+1)
}

// remove takes child i out and returns how to put it back. In an object it takes every member of the name (else an
// older double would come to light) and leaves their places empty, so that the others keep theirs.
func (n *node) remove(i int) (undo func()) {
	if n.kind != kindObject {
		k := n.kids[i]
		if i == 0 {
			n.kids = n.kids[1:]
		} else {
			n.kids = slices.Delete(n.kids, i, i+1)
		}
		return func() { n.kids = slices.Insert(n.kids, i, k) }
	}
	if n.index == nil {
		n.makeIndex()
	}
	name := n.name(i)
	places := []int{i}
	if n.doubles {
		for j := range i {
			if n.there(j) && sameName(n.key(j), name) {
				places = append(places, j)
			}
		}
	}
	taken := make([]kid, len(places))
	for k, j := range places {
		taken[k] = n.kids[j]
		n.kids[j] = kid{at: -1}
	}
	n.gone += len(places)
	delete(n.index, name)
	return func() {
		for k, j := range places {
			n.kids[j] = taken[k]
		}
		n.gone -= len(places)
		if n.index != nil {
			n.index[name] = i
		}
	}
}

// removeBefore takes out the members of that name in front of i.
func (n *node) removeBefore(i int, name string) {
	for j := range i {
		if n.there(j) && sameName(n.key(j), name) {
			n.kids[j] = kid{at: -1}
			n.gone++
		}
	}
}

// compact drops the empty places. Nobody may hold a place across it.
func (n *node) compact() {
	n.kids = slices.DeleteFunc(n.kids, func(k kid) bool { return k.at < 0 && k.own == nil })
	n.gone, n.index, n.read = 0, nil, 0
}
