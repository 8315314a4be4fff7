package merge

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// style is how a document is written, read off its own text, so that new text looks like its siblings.
type style struct {
	multiline bool   // containers have one child a line
	newline   string // "\n" or "\r\n"
	indent    string // one level
	colon     string // between key and value: ":" or ": "
	comma     string // behind a comma, on one line: "" or " "
	pad       string // inside the braces of an object on one line: "" or " "
	escape    escape
	shown     features
}

// features are what a text showed of its style; the rest is by default.
type features struct{ lines, colon, comma, pad bool }

// completed takes from another style what s does not show.
func (s style) completed(by *style) *style {
	if !s.shown.lines {
		s.multiline, s.indent = by.multiline, by.indent
	}
	if !s.shown.colon {
		s.colon = by.colon
	}
	if !s.shown.comma && !s.shown.colon { // the colon tells what the comma is like
		s.comma = by.comma
	}
	if !s.shown.pad {
		s.pad = by.pad
	}
	return &s
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

// fits says whether text written in the other style can be put into a document of this one as it is.
func (s *style) fits(other *style) bool {
	x, y := *s, *other
	x.shown = y.shown
	if x.escape == escapeAsGiven || y.escape == escapeAsGiven {
		x.escape, y.escape = escapeAsGiven, escapeAsGiven
	}
	return x == y
}

// styleOf is readStyle for a text in pieces, of whole tokens each.
func styleOf(pieces [][]byte, f Format) style {
	const enough = 64 << 10
	var head []byte
	for _, p := range pieces {
		head = append(head, p[:min(len(p), enough-len(head))]...)
	}
	s := readStyle(head, f)
	s.escape = escapeAsGiven
	for _, p := range slices.Backward(pieces) {
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			s.newline = "\n"
			if i > 0 && p[i-1] == '\r' {
				s.newline = "\r\n"
			}
		}
		switch e := readEscape(bytes.TrimPrefix(p, utf8BOM)); {
		case e == escapeNone:
			s.escape = e
		case e == escapeASCII && s.escape == escapeAsGiven:
			s.escape = e
		}
	}
	return s
}

// readStyle looks at the first containers; a document that changes its mind later is written like its beginning.
func readStyle(src []byte, f Format) style {
	s := defaultStyle
	if i := bytes.IndexByte(src, '\n'); i > 0 && src[i-1] == '\r' {
		s.newline = "\r\n"
	}
	src = bytes.TrimPrefix(src, utf8BOM)
	s.escape = readEscape(src)
	if f == Lines {
		s.multiline = false
	}
	if i := skipSpace(src, 0); i < len(src) {
		s.readLayout(src, i, f)
	}
	return s
}

// readLayout walks over the beginning of the text until it has seen what there is to see.
func (s *style) readLayout(src []byte, i int, f Format) {
	seen := &s.shown
	depth := 0
	const limit = 16 << 10 // bytes to look at
	for end := min(len(src), i+limit); i < end && *seen != (features{true, true, true, true}); {
		c := src[i]
		switch c {
		case '"':
			next, err := scanString(src, i)
			if err != nil {
				return
			}
			i = next
			continue
		case '{', '[':
			depth++
			stop := skipSpace(src, i+1)
			space := src[i+1 : stop]
			broken := bytes.LastIndexByte(space, '\n')
			empty := stop < len(src) && src[stop] == closing(c)
			if !empty && !seen.lines && f == JSON {
				seen.lines = true
				s.multiline = broken >= 0
				if broken >= 0 {
					s.indent = string(space[broken+1:])
				}
			}
			if c == '{' && !empty && broken < 0 && !seen.pad {
				seen.pad = true
				s.pad = string(space)
			}
			i = stop
			continue
		case ',':
			stop := skipSpace(src, i+1)
			if space := src[i+1 : stop]; !seen.comma && bytes.IndexByte(space, '\n') < 0 {
				seen.comma = true
				s.comma = string(space)
				if len(space) == 0 && !seen.colon {
					s.colon = ":"
				}
			}
			i = stop
			continue
		case '}', ']':
			depth--
			if depth == 0 && f == JSON {
				return
			}
		case ':':
			if !seen.colon {
				seen.colon = true
				s.colon = string(src[i:skipSpace(src, i+1)])
				if s.colon == ":" && !seen.comma {
					s.comma = ""
				}
			}
		}
		i++
	}
}

// readEscape: one raw character beyond ASCII settles it, else an escape of one does.
func readEscape(src []byte) escape {
	if !isASCII(src) {
		return escapeNone
	}
	for rest := src; ; {
		i := bytes.Index(rest, []byte(`\u`))
		if i < 0 {
			return escapeAsGiven
		}
		if i+6 <= len(rest) && hex4(rest[i+2:]) >= 0x80 {
			return escapeASCII
		}
		rest = rest[i+2:]
	}
}

func isASCII(src []byte) bool {
	const tops = 0x8080808080808080
	for ; len(src) >= 32; src = src[32:] {
		if (binary.LittleEndian.Uint64(src)|binary.LittleEndian.Uint64(src[8:])|
			binary.LittleEndian.Uint64(src[16:])|binary.LittleEndian.Uint64(src[24:]))&tops != 0 {
			return false
		}
	}
	for _, c := range src {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
