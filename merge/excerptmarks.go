package merge

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// readRest reads what is not left out.
func (x *Excerpts) readRest() bool {
	for i, t := range x.texts {
		at := int64(0)
		for _, g := range x.gaps {
			t.rest = append(t.rest, t.part(at, g.places[i].start))
			at = g.places[i].end
		}
		if t.rest = append(t.rest, t.part(at, t.size)); t.err != nil {
			return false
		}
	}
	return true
}

// mark makes up what stands in the place of each gap. It is a member whose name comes in order if all names do, or an element; and a
// text that has characters beyond ASCII shows how it writes them, in its excerpt as well.
func (x *Excerpts) mark() bool {
	names, ok := x.names()
	if !ok {
		return false
	}
	escapes, show, ok := x.escapes()
	if !ok {
		return false
	}
	token := 1e18 + rand.Uint64N(8e18)
	for k := range x.gaps {
		g := &x.gaps[k]
		g.token = strconv.FormatUint(token+uint64(k), 10)
		name := ""
		if !g.list {
			if name, ok = x.texts[0].nameFor(g, names); !ok {
				return false
			}
		}
		shown := ""
		if show {
			shown, show = "é", false
		}
		for i := range x.texts {
			ascii := escapes[i] != escapeNone
			// The number of zeros says whose bytes these are, and nothing else.
			number := g.token + "." + strings.Repeat("0", g.alike[i]+1)
			var mark []byte
			switch {
			case !g.list:
				mark = append(append(encodeString(name+shown, ascii), ':'), number...)
			case shown != "":
				mark = fmt.Appendf(nil, "[%s,%s]", number, encodeString(shown, ascii))
			default:
				mark = []byte(number)
			}
			g.marks = append(g.marks, mark)
		}
		var left *elementsLeft
		if g.list {
			left = &elementsLeft{text: x.texts[0], place: g.places[0], format: x.format}
		}
		x.left.runs[g.token] = left
	}
	return true
}

// names are the hashes of all names in what is not left out. In what is, none of them may come again: it would be another member
// of that name.
func (x *Excerpts) names() (map[uint64]bool, bool) {
	names := map[uint64]bool{}
	for _, t := range x.texts {
		for _, src := range t.rest {
			for i := 0; ; {
				next := bytes.IndexByte(src[i:], '"')
				if next < 0 {
					break
				}
				start := i + next
				end, err := scanString(src, start)
				if err != nil {
					return nil, false
				}
				if i = skipSpace(src, end); i < len(src) && src[i] == ':' {
					names[hashString(src[start:end])] = true
				}
			}
		}
	}
	return names, true
}

// nameFor is what a gap in an object is named: behind all that is left out if their names are in order, and the one in front of
// them, else out of order. It is false where one of names is left out.
func (t *excerptedText) nameFor(g *gap, names map[uint64]bool) (string, bool) {
	const longest = 4 << 10 // name that is read
	place := g.places[0]
	var first string
	var last []byte
	sorted := true
	for at := g.before; at < place.end; at++ {
		w := t.atLeast(at, min(longest, cap(t.window)))
		i := skipSpace(w, 0)
		end, value, err := ScanName(w, i)
		if err != nil {
			return "", false
		}
		key := w[i:end]
		name := nameOf(key)
		if at == g.before {
			first = string(name)
		} else if sorted = sorted && bytes.Compare(name, last) > 0; names[hashString(key)] {
			return "", false
		}
		last = append(last[:0], name...)
		if at = t.behindChild(at+int64(value), place.end); at < 0 {
			return "", false
		}
	}
	if sorted {
		return string(last) + "\x00" + g.token, true
	}
	name := "\x00" + g.token
	return name, name < first
}

// behindChild goes from the value of a child to the comma behind it, or to the end of the last one; -1: not read.
func (t *excerptedText) behindChild(at, end int64) int64 {
	depth, state := 0, outside
	for at < end {
		w := t.from(at)
		if w = w[:min(int64(len(w)), end-at)]; len(w) == 0 {
			return -1
		}
		for i := 0; i < len(w); i++ {
			if state != outside {
				i = state.goOn(w, i)
				continue
			}
			switch w[i] {
			case '"':
				state = inString
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			case ',':
				if depth == 0 {
					return at + int64(i)
				}
			}
		}
		at += int64(len(w))
	}
	return end
}

// escapes are how each text writes characters beyond ASCII. show: what is not left out of them does not show it.
func (x *Excerpts) escapes() (all []escape, show, ok bool) {
	gaps := make([][]escape, len(x.texts))
	for i, t := range x.texts {
		shown := escapeAsGiven
		for _, src := range t.rest {
			shown = max(shown, readEscape(bytes.TrimPrefix(src, utf8BOM)))
		}
		e := shown
		lines := bytes.IndexByte(t.rest[0], '\n') >= 0
		for k, g := range x.gaps {
			if first := g.alike[i]; first < i && lines {
				gaps[i] = append(gaps[i], gaps[first][k])
			} else {
				also, newline := t.escapeIn(g.places[i].start, g.places[i].end)
				if newline && !lines {
					return nil, false, false // its first one is left out
				}
				gaps[i] = append(gaps[i], also)
			}
			e = max(e, gaps[i][k])
		}
		show = show || shown != e
		all = append(all, e)
	}
	return all, show, !show || !slices.Contains(all, escapeAsGiven)
}

// escapeIn reads a part of a text, also for whether there is a newline in it.
func (t *excerptedText) escapeIn(from, to int64) (e escape, newline bool) {
	const overlap = 5 // of an escape that the window cuts
	for at := from; at < to; {
		w := t.atLeast(at, overlap+1)
		if w = w[:min(int64(len(w)), to-at)]; len(w) == 0 {
			return e, newline
		}
		e = max(e, readEscape(w))
		newline = newline || bytes.IndexByte(w, '\n') >= 0
		if at += int64(len(w)); at < to {
			at -= min(overlap, int64(len(w)-1))
		}
	}
	return e, newline
}

// write makes the excerpts.
func (x *Excerpts) write() bool {
	for i, t := range x.texts {
		var out []byte
		for k, g := range x.gaps {
			out = append(append(out, t.rest[k]...), g.marks[i]...)
		}
		t.excerpt, t.rest = append(out, t.rest[len(x.gaps)]...), nil
		if Valid(t.excerpt, x.format) != nil {
			return false
		}
	}
	return true
}
