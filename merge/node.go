package merge

import (
	"bytes"
	"slices"
	"strconv"
)

// node is one value. Until expand it is its text; from then on its children are looked at one by one, and a change
// below marks it dirty, so that its text is put together again from theirs.
type node struct {
	kind     kind
	raw      []byte // without white space around; stale when dirty
	expanded bool
	dirty    bool
	kids     []kid
	tail     []byte         // white space before the closing bracket
	index    map[string]int // objects with many members: name → place of the last one
}

// kid is a member or an element with the bytes around it. The text of a container is
//
//	{ before key colon value after , before key colon value tail }
type kid struct {
	before []byte
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

func newNode(raw []byte) *node { return &node{kind: kindOfText(raw), raw: raw} }

func (n *node) container() bool { return n.kind == kindObject || n.list() }
func (n *node) list() bool      { return n.kind == kindArray || n.kind == kindLines }

// text of the value as it is now.
func (n *node) text() []byte {
	if !n.dirty {
		return n.raw
	}
	return n.appendTo(nil)
}

func (n *node) appendTo(out []byte) []byte {
	if !n.dirty {
		return append(out, n.raw...)
	}
	if n.kind != kindLines {
		out = append(out, byte(n.kind))
	}
	for i := range n.kids {
		if i > 0 && n.kind != kindLines {
			out = append(out, ',')
		}
		k := &n.kids[i]
		out = append(append(append(out, k.before...), k.key...), k.colon...)
		out = append(k.value.appendTo(out), k.after...)
	}
	out = append(out, n.tail...)
	switch n.kind {
	case kindObject:
		out = append(out, '}')
	case kindArray:
		out = append(out, ']')
	}
	return out
}

// expand splits the text into children. It was validated: nothing here can fail.
func (n *node) expand() {
	if n.expanded || !n.container() {
		return
	}
	n.expanded = true
	if n.kind == kindLines {
		n.expandLines()
		return
	}
	src := n.raw
	i := 1
	for {
		var k kid
		start := i
		i = skipSpace(src, i)
		if src[i] == '}' || src[i] == ']' { // an empty container
			n.tail = src[start:i]
			return
		}
		k.before = src[start:i]
		if n.kind == kindObject {
			start = i
			i, _ = scanString(src, i)
			k.key = src[start:i]
			start = i
			i = skipSpace(src, skipSpace(src, i)+1)
			k.colon = src[start:i]
		}
		start = i
		i, _ = scanValue(src, i)
		k.value = newNode(src[start:i])
		start = i
		i = skipSpace(src, i)
		if src[i] != ',' {
			n.tail = src[start:i]
			n.kids = append(n.kids, k)
			return
		}
		k.after = src[start:i]
		n.kids = append(n.kids, k)
		i++
	}
}

func (n *node) expandLines() {
	src := n.raw
	i := 0
	if bytes.HasPrefix(src, utf8BOM) {
		i = len(utf8BOM)
	}
	for start := 0; ; start = i {
		begin := skipSpace(src, i)
		if begin == len(src) {
			n.tail = src[start:]
			return
		}
		end, _ := scanValue(src, begin)
		i = end
		for i < len(src) && src[i] != '\n' {
			i++
		}
		if i < len(src) {
			i++
		}
		n.kids = append(n.kids, kid{before: src[start:begin], value: newNode(src[begin:end]), after: src[end:i]})
	}
}

func (k *kid) name() string { return decodeString(k.key) }

// child returns the value one step down, nil if there is none.
func (n *node) child(step string) *node {
	if i := n.place(step); i >= 0 {
		return n.kids[i].value
	}
	return nil
}

// place finds a step among the children, -1 if it is not there.
func (n *node) place(step string) int {
	if !n.container() {
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

// indexFrom is the number of members from which an index pays.
const indexFrom = 16

// lookup finds the last member of that name.
func (n *node) lookup(name string) int {
	if n.index == nil && len(n.kids) < indexFrom {
		for i := len(n.kids) - 1; i >= 0; i-- {
			if sameName(n.kids[i].key, name) {
				return i
			}
		}
		return -1
	}
	if n.index == nil {
		n.index = make(map[string]int, len(n.kids))
		for i := range n.kids {
			n.index[n.kids[i].name()] = i
		}
	}
	if i, ok := n.index[name]; ok {
		return i
	}
	return -1
}

func sameName(key []byte, name string) bool {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key[1:len(key)-1]) == name
	}
	return decodeString(key) == name
}

// insert puts k at place i. The white space of its neighbours is the caller's business.
func (n *node) insert(i int, k kid) {
	n.kids = slices.Insert(n.kids, i, k)
	switch {
	case n.index == nil:
	case i == len(n.kids)-1 && n.kind == kindObject:
		n.index[k.name()] = i
	default:
		n.index = nil
	}
}

// remove takes the child at place i out. The first child's leading white space stays first.
func (n *node) remove(i int) {
	if i == 0 && len(n.kids) > 1 && n.kind != kindLines {
		n.kids[1].before = n.kids[0].before
	}
	if i == len(n.kids)-1 && i > 0 && n.kind != kindLines {
		n.kids[i-1].after = nil // what was before its comma
	}
	n.kids = slices.Delete(n.kids, i, i+1)
	if len(n.kids) == 0 && n.kind != kindLines {
		n.tail = nil
	}
	n.index = nil
}

// snapshot remembers the children for an undo.
func (n *node) snapshot() func() {
	kids, tail, expanded, dirty, index := slices.Clone(n.kids), n.tail, n.expanded, n.dirty, n.index
	return func() { n.kids, n.tail, n.expanded, n.dirty, n.index = kids, tail, expanded, dirty, index }
}
