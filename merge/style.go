package merge

import (
	"bytes"
	"encoding/binary"
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
	shown     bool // there was a container with something in it to read it off
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
	var colonSeen, openSeen, commaSeen, padSeen bool
	depth := 0
	const limit = 16 << 10 // bytes to look at
	for end := min(len(src), i+limit); i < end && !(colonSeen && openSeen && commaSeen && padSeen); {
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
			s.shown = s.shown || !empty
			if !empty && !openSeen && f == JSON {
				openSeen = true
				s.multiline = broken >= 0
				if broken >= 0 {
					s.indent = string(space[broken+1:])
				}
			}
			if c == '{' && !empty && broken < 0 && !padSeen {
				padSeen = true
				s.pad = string(space)
			}
			i = stop
			continue
		case ',':
			stop := skipSpace(src, i+1)
			if space := src[i+1 : stop]; !commaSeen && bytes.IndexByte(space, '\n') < 0 {
				commaSeen = true
				s.comma = string(space)
			}
			i = stop
			continue
		case '}', ']':
			depth--
			if depth == 0 && f == JSON {
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
