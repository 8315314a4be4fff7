package merge

import "bytes"

// layout is where a new value goes: the depth of the line it starts on, and whether its own children are one a line.
type layout struct {
	*style
	depth     int
	multiline bool
}

func closing(open byte) byte { return open + 2 } // '{' + 2 = '}', '[' + 2 = ']'

// render writes a value as the document would have: its own white space goes, its literals stay.
func (l layout) render(out, raw []byte) []byte {
	switch raw[0] {
	case '"':
		return l.renderString(out, raw)
	case '{', '[':
	default:
		return append(out, raw...)
	}
	isObject := raw[0] == '{'
	n := newNode(raw)
	n.expand()
	if len(n.kids) == 0 {
		return append(out, raw[0], closing(raw[0]))
	}
	inner := layout{l.style, l.depth + 1, l.multiline}
	out = append(out, raw[0])
	for i := range n.kids {
		if i > 0 {
			out = append(out, ',')
		}
		switch {
		case l.multiline:
			out = l.appendLineStart(out, l.depth+1)
		case i > 0:
			out = append(out, l.comma...)
		case isObject:
			out = append(out, l.pad...)
		}
		if isObject {
			out = l.renderString(out, n.key(i))
			out = append(out, l.colon...)
		}
		out = inner.render(out, n.rawChild(i))
	}
	switch {
	case l.multiline:
		out = l.appendLineStart(out, l.depth)
	case isObject:
		out = append(out, l.pad...)
	}
	return append(out, closing(raw[0]))
}

func (s *style) appendLineStart(out []byte, depth int) []byte {
	out = append(out, s.newline...)
	for range depth {
		out = append(out, s.indent...)
	}
	return out
}

func (s *style) renderString(out, raw []byte) []byte {
	if s.escape == escapeAsGiven || !needsEscaping(raw, s.escape) {
		return append(out, raw...)
	}
	return append(out, encodeString(decodeString(raw), s.escape == escapeASCII)...)
}

// needsEscaping says whether raw is written the other way; a string that is not keeps its own escapes ("\/").
func needsEscaping(raw []byte, e escape) bool {
	if e == escapeASCII {
		return !isASCII(raw)
	}
	return readEscape(raw) == escapeASCII
}

func (d *Document) layoutOfRoot() layout {
	s := d.styleOf()
	return layout{s, 0, s.multiline}
}

// layoutOfChild is where a value goes that takes the place of child i of n, which is depth levels down; without child
// (-1), a new one. Its own children are laid out as those of the value that is there, else as those of its last sibling,
// else as n itself.
func (d *Document) layoutOfChild(n *node, i, depth int) layout {
	s := d.styleOf()
	if n.kind == kindLines {
		return layout{s, 0, false}
	}
	l := layout{s, depth + 1, breaksLines(n, s)}
	for _, like := range [2]int{i, n.last()} {
		if like < 0 {
			continue
		}
		if head, ok := headOfChild(n, like); ok {
			l.multiline = bytes.IndexByte(head, '\n') >= 0
			break
		}
	}
	return l
}

// breaksLines says whether the children of n are one a line.
func breaksLines(n *node, s *style) bool {
	if n.expand(); n.head != nil {
		return bytes.IndexByte(n.head, '\n') >= 0
	}
	return s.multiline
}

// headOfChild is the white space behind the opening bracket of child i, if that is a container with something in it.
func headOfChild(n *node, i int) (head []byte, ok bool) {
	var raw []byte
	if c := n.madeOf(i); c == nil {
		raw = n.raw[n.start(i):n.end(i)]
	} else if c.value.expanded {
		return c.value.head, c.value.head != nil
	} else {
		raw = c.value.raw
	}
	if raw[0] != '{' && raw[0] != '[' {
		return nil, false
	}
	end := skipSpace(raw, 1)
	return raw[1:end], raw[end] != closing(raw[0])
}

// newChild makes a child for n, which is depth levels down, with white space as its siblings have it. With verbatim its
// text is taken as it is.
func (d *Document) newChild(n *node, depth int, key, raw []byte, verbatim bool) *child {
	l := d.layoutOfChild(n, -1, depth)
	c := &child{at: -1}
	if verbatim {
		c.value = newNode(bytes.Clone(raw))
	} else {
		c.value = newNode(l.render(nil, raw))
	}
	switch n.kind {
	case kindLines:
		n.between, c.after = []byte(l.newline), []byte(l.newline)
		return c
	case kindObject:
		c.key = l.renderString(nil, key)
		if verbatim {
			c.key = bytes.Clone(key)
		}
		c.colon = []byte(l.colon)
		if i := n.last(); i >= 0 {
			c.colon = n.own(i).colon
		}
	}
	if n.between == nil {
		n.setSpace(l.style, depth)
	}
	return c
}

// setSpace fills in the white space that new children of n need.
func (n *node) setSpace(s *style, depth int) {
	multiline := breaksLines(n, s)
	if n.head == nil { // it was empty
		n.head, n.tail = []byte{}, nil
		switch {
		case multiline:
			n.head, n.tail = s.appendLineStart(nil, depth+1), s.appendLineStart(nil, depth)
		case n.kind == kindObject:
			n.head, n.tail = []byte(s.pad), []byte(s.pad)
		}
	}
	n.between = []byte(s.comma)
	if multiline {
		n.between = n.head
	}
	for i := len(n.kids) - 1; i >= 0; i-- {
		if space, ok := n.behindComma(i); ok {
			n.between = space
			break
		}
	}
}
