package merge

import (
	"bytes"
	"slices"
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
	made     []*child // children that somebody has gone into, changed or added
	gone     int      // children of an object that were taken out and left their place behind
	// White space of a container: behind its opening bracket, in front of a child that is new at its place, in front of
	// the closing bracket. Of JSON Lines: the byte order mark, nothing, what follows the last line.
	head, between, tail []byte
	index               *nameIndex // of objects with many members
	read                int        // names compared before there was an index
	seen                int        // place+1 of a member that was looked up, the last one of its name
	written             int        // children that were written since they were text, see consolidate
}

// kid is a member or an element. As long as nobody has gone into it, it is the end of its value in the text of its
// container, where it begins behind what the kid in front of it ends with: long lists take one word an element. The text of
// a container is
//
//	{ before key colon value after , before key colon value tail }
//
// A negative one is ^i for made[i], or, with takenOut set in that, the end of what was there.
type kid int64

const takenOut = 1 << 62

func (k kid) isText() bool { return k >= 0 }
func (k kid) isGone() bool { return k < 0 && ^k&takenOut != 0 }

// child is a kid that is made of something of its own.
type child struct {
	at, end int    // its place in the text, as a kid's; at is -1 for one that is not from there
	before  []byte // nil for a new one: as its siblings
	key     []byte // as written, with its quotes; nil in arrays
	colon   []byte // from the end of the key to the value
	value   *node
	after   []byte // before the comma; in Lines: up to and with the end of the line
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
		n.ext = &extents{size: len(raw)}
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
	if ends := ext.childrenOf(n.off); ends != nil {
		n.kids = make([]kid, len(ends))
		for k, end := range ends {
			n.kids[k] = kid(end)
		}
		n.tail = src[n.kids[len(n.kids)-1] : len(src)-1]
		return
	}
	for {
		if n.kind == kindObject {
			i, _ = scanKey(src, i)
		}
		i = ext.skipValue(src, i, n.off)
		n.add(i)
		end := i
		i = skipSpace(src, i)
		if src[i] != ',' {
			n.tail = src[end:i]
			break
		}
		i = skipSpace(src, i+1)
	}
	n.kids = slices.Clip(n.kids)
}

// add appends a child of the text.
func (n *node) add(end int) {
	if have := len(n.kids); have >= wideChildren && have == cap(n.kids) {
		n.kids = slices.Grow(n.kids, likelyMore(have, end, len(n.raw)))
	}
	n.kids = append(n.kids, kid(end))
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
		n.add(i)
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
func (n *node) there(i int) bool { return !n.kids[i].isGone() }

// madeOf is what child i is made of, nil if it is its text.
func (n *node) madeOf(i int) *child {
	if k := n.kids[i]; !k.isText() && !k.isGone() {
		return n.made[^k]
	}
	return nil
}

// end of child i in the text; of no use for one that is not from there.
func (n *node) end(i int) int {
	switch k := n.kids[i]; {
	case k.isText():
		return int(k)
	case k.isGone():
		return int(^k &^ takenOut)
	default:
		return n.made[^k].end
	}
}

// at is where child i begins, which is its text, with the white space in front of it.
func (n *node) at(i int) int {
	switch {
	case n.kind == kindLines && i == 0:
		return len(n.head)
	case i == 0:
		return 1
	}
	end := n.end(i - 1)
	if n.kind == kindLines {
		return end + len(restOfLine(n.raw[end:]))
	}
	return skipSpace(n.raw, end) + 1
}

// behindComma is the white space in front of a child that is not the first one of the text; ok is false for that one and
// for new ones.
func (n *node) behindComma(i int) (space []byte, ok bool) {
	if c := n.madeOf(i); c != nil {
		return c.before, c.at > 1
	}
	if !n.kids[i].isText() || i == 0 {
		return nil, false
	}
	at := n.at(i)
	return n.raw[at:skipSpace(n.raw, at)], true
}

// kidOf makes a kid that is made of c.
func (n *node) kidOf(c *child) kid {
	n.made = append(n.made, c)
	return ^kid(len(n.made) - 1)
}

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
	if c := n.madeOf(i); c != nil {
		return c.key
	}
	start := skipSpace(n.raw, n.at(i))
	end, _ := scanString(n.raw, start)
	return n.raw[start:end]
}

func (n *node) name(i int) string { return decodeString(n.key(i)) }

// start is where the value of a child begins that is still its text.
func (n *node) start(i int) int {
	start := skipSpace(n.raw, n.at(i))
	if n.kind == kindObject {
		start, _ = scanKey(n.raw, start)
	}
	return start
}

// rawChild is the text of the value of child i; it is put together only if it was changed.
func (n *node) rawChild(i int) []byte {
	if c := n.madeOf(i); c != nil {
		return c.value.text()
	}
	return n.raw[n.start(i):n.end(i)]
}

// own makes child i a thing of its own.
func (n *node) own(i int) *child {
	if c := n.madeOf(i); c != nil {
		return c
	}
	src := n.raw
	c := &child{at: n.at(i), end: n.end(i)}
	at := skipSpace(src, c.at)
	c.before = src[c.at:at]
	start := at
	if n.kind == kindObject {
		end, _ := scanString(src, at)
		c.key = src[at:end]
		start, _ = scanKey(src, at)
		c.colon = src[end:start]
	}
	c.after = n.after(i)
	c.value = &node{kind: kindOfText(src[start:]), raw: src[start:c.end], ext: n.ext, off: n.off + start}
	n.kids[i] = n.kidOf(c)
	return c
}

// standAlone makes child i, if there is one, independent of the kid in front of it, which is to become another one.
func (n *node) standAlone(i int) {
	if i < len(n.kids) && n.kids[i].isText() {
		n.own(i)
	}
}

// after is what follows child i before the comma, or up to the end of its line.
func (n *node) after(i int) []byte {
	if c := n.madeOf(i); c != nil {
		return c.after
	}
	start := n.end(i)
	if n.kind == kindLines {
		return restOfLine(n.raw[start:])
	}
	end := skipSpace(n.raw, start)
	if n.raw[end] != ',' {
		return nil // the last one: that is the tail
	}
	return n.raw[start:end]
}

func (n *node) value(i int) *node { return n.own(i).value }

// forget gives back what looking into child i took. Only for trees that nobody changes.
func (n *node) forget(i int) {
	k := n.kids[i]
	if k.isText() {
		return
	}
	n.kids[i] = kid(n.made[^k].end)
	if n.made[^k] = nil; int(^k) == len(n.made)-1 {
		n.made = n.made[:len(n.made)-1]
	}
}
