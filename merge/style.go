package merge

import (
	"bytes"
)

// style is how a document is written, read off its own text, so that new text looks like its siblings.
type style struct {
	multiline bool   // containers have one child a line
	newline   string // "\n" or "\r\n"
	indent    string // one level
	colon     string // between key and value: ":" or ": "
	comma     string // behind a comma, on one line: "" or " "
	escape    escape
}

type escape int

const (
	escapeAsGiven escape = iota // the document shows no preference
	escapeASCII                 // \u00e9, as Python's json.dump writes
	escapeNone                  // é
)

// defaultStyle is for a document without any structure yet.
var defaultStyle = style{multiline: true, newline: "\n", indent: "  ", colon: ": ", comma: " "}

func (d *Document) styleOf() *style {
	if d.style == nil {
		s := readStyle(d.src, d.format)
		d.style = &s
	}
	return d.style
}

// readStyle looks at the first containers; a document that changes its mind later is written like its beginning.
func readStyle(src []byte, f Format) style {
	s := defaultStyle
	if i := bytes.IndexByte(src, '\n'); i > 0 && src[i-1] == '\r' {
		s.newline = "\r\n"
	}
	s.escape = readEscape(src)
	if f == Lines {
		s.multiline = false
	}
	i := 0
	if bytes.HasPrefix(src, utf8BOM) {
		i = len(utf8BOM)
	}
	if i = skipSpace(src, i); i == len(src) || src[i] != '{' && src[i] != '[' {
		return s
	}
	readLayout(src, i, f, &s)
	return s
}

// readLayout walks tokens until it has seen a colon, and white space behind a bracket and behind a comma.
func readLayout(src []byte, i int, f Format, s *style) {
	var colonSeen, openSeen, commaSeen bool
	depth := 0
	const limit = 1 << 16 // bytes to look at
	for end := min(len(src), i+limit); i < end && !(colonSeen && openSeen && commaSeen); {
		c := src[i]
		switch c {
		case '"':
			next, err := scanString(src, i)
			if err != nil {
				return
			}
			i = next
			continue
		case '{', '[', ',':
			stop := skipSpace(src, i+1)
			space := src[i+1 : stop]
			if c == ',' && depth == 0 {
				return // behind the first line of JSON Lines
			}
			if c != ',' {
				depth++
			}
			empty := stop < len(src) && (src[stop] == '}' || src[stop] == ']')
			broken := bytes.LastIndexByte(space, '\n')
			switch {
			case c != ',' && !openSeen && !empty && f == JSON:
				openSeen = true
				s.multiline = broken >= 0
				if broken >= 0 && depth == 1 {
					s.indent = string(space[broken+1:])
				}
			case c == ',' && broken < 0 && !commaSeen:
				commaSeen = true
				s.comma = string(space)
			case c == ',' && !commaSeen && s.multiline:
				commaSeen = true // one a line: how it would be on one line does not show
			}
			i = stop
			continue
		case '}', ']':
			depth--
			if depth == 0 {
				return
			}
		case ':':
			if !colonSeen {
				colonSeen = true
				s.colon = string(src[i:skipSpace(src, i+1)])
				if s.colon == ":" && !commaSeen {
					s.comma = ""
				}
			}
		}
		i++
	}
}

// readEscape: one raw character beyond ASCII settles it, else an escape of one does.
func readEscape(src []byte) escape {
	for _, c := range src {
		if c >= 0x80 && !bytes.HasPrefix(src, utf8BOM) {
			return escapeNone
		}
	}
	for rest := src; ; {
		i := bytes.Index(rest, []byte(`\u`))
		if i < 0 {
			return escapeAsGiven
		}
		if i+6 <= len(rest) && string(rest[i+2:i+4]) != "00" || i+6 <= len(rest) && rest[i+4] >= '8' {
			return escapeASCII
		}
		rest = rest[i+2:]
	}
}

// layout is where a new text goes.
type layout struct {
	*style
	depth     int
	multiline bool
}

// render writes a value as the document would have: its own white space goes, its literals stay.
func (l layout) render(out, raw []byte) []byte {
	switch raw[0] {
	case '"':
		return l.renderString(out, raw)
	case '{', '[':
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
			out = append(out, inner.before(i)...)
			if n.kind == kindObject {
				out = l.renderString(out, n.kids[i].key)
				out = append(out, l.colon...)
			}
			out = inner.render(out, n.kids[i].value.raw)
		}
		return append(append(out, l.closingSpace()...), closing(raw[0]))
	default:
		return append(out, raw...)
	}
}

func closing(open byte) byte { return open + 2 } // '{' + 2 = '}', '[' + 2 = ']'

// before is the white space in front of child i of a container whose children are at this layout.
func (l layout) before(i int) []byte {
	switch {
	case l.multiline:
		return l.lineStart(l.depth)
	case i > 0:
		return []byte(l.comma)
	default:
		return nil
	}
}

// closingSpace is the white space in front of the bracket that closes a container at this layout.
func (l layout) closingSpace() []byte {
	if l.multiline {
		return l.lineStart(l.depth)
	}
	return nil
}

func (l layout) lineStart(depth int) []byte {
	out := []byte(l.newline)
	for range depth {
		out = append(out, l.indent...)
	}
	return out
}

func (l layout) renderString(out, raw []byte) []byte {
	if l.escape == escapeAsGiven || !needsEscaping(raw, l.escape) {
		return append(out, raw...)
	}
	return append(out, encodeString(decodeString(raw), l.escape == escapeASCII)...)
}

// needsEscaping says whether raw is written the other way; a string that is not keeps its own escapes ("\/").
func needsEscaping(raw []byte, e escape) bool {
	if e == escapeASCII {
		return bytes.ContainsFunc(raw, func(r rune) bool { return r >= 0x80 })
	}
	return readEscape(raw) == escapeASCII
}

// layoutIn is the layout of the children of n, which is depth levels down: as the children that are there, or as
// the document where there are none.
func (d *Document) layoutIn(n *node, depth int) layout {
	s := d.styleOf()
	l := layout{s, depth + 1, s.multiline}
	n.expand()
	if len(n.kids) > 0 {
		l.multiline = bytes.IndexByte(n.kids[0].before, '\n') >= 0
	}
	if n.kind == kindLines {
		l = layout{s, 0, false}
	}
	return l
}

// place puts a new child at i with the white space of its siblings.
func (d *Document) placeChild(n *node, depth, i int, key, raw []byte) {
	l := d.layoutIn(n, depth)
	k := kid{value: newNode(l.render(nil, raw))}
	if n.kind == kindObject {
		k.key = l.renderString(nil, key)
		k.colon = d.colonIn(n, l)
	}
	switch {
	case n.kind == kindLines:
		k.after = []byte(l.newline)
		if last := len(n.kids) - 1; i > last && last >= 0 && !bytes.HasSuffix(n.kids[last].after, []byte("\n")) {
			before := n.kids[last].after
			d.record(func() { n.kids[last].after = before })
			n.kids[last].after = append(bytes.Clone(before), l.newline...)
		}
	case len(n.kids) == 0:
		tail := n.tail
		d.record(func() { n.tail = tail })
		k.before = l.before(0)
		n.tail = layout{l.style, depth, l.multiline}.closingSpace()
	case i == 0:
		k.before = n.kids[0].before
		second := n.kids[0].before
		d.record(func() { n.kids[0].before = second })
		n.kids[0].before = d.betweenIn(n, l)
	default:
		k.before = d.betweenIn(n, l)
	}
	atEnd := i == len(n.kids)
	n.insert(i, k)
	n.dirty = true
	d.record(func() {
		if atEnd && n.kind == kindObject && n.index != nil {
			delete(n.index, n.kids[i].name())
			n.kids = n.kids[:i]
			return
		}
		n.index = nil
		n.kids = append(n.kids[:i:i], n.kids[i+1:]...)
	})
}

// betweenIn is the white space behind a comma of n.
func (d *Document) betweenIn(n *node, l layout) []byte {
	switch {
	case len(n.kids) > 1:
		return n.kids[len(n.kids)-1].before
	case l.multiline:
		return n.kids[0].before
	default:
		return []byte(l.comma)
	}
}

func (d *Document) colonIn(n *node, l layout) []byte {
	if len(n.kids) > 0 {
		return n.kids[len(n.kids)-1].colon
	}
	return []byte(l.colon)
}
