package merge

import (
	"bytes"
	"slices"
)

// Parts is Bytes in pieces, one after the other: what was not changed are slices of what was parsed, so that a large
// document with a small change is not put together in memory. None is empty, and none may be modified.
func (d *Document) Parts() [][]byte {
	var out parts
	switch {
	case !d.edited:
		out.add(d.src)
	case d.root != nil:
		out.add(d.lead)
		d.root.appendTo(&out)
		out.add(d.trail)
	}
	return out.all()
}

// parts puts a text together. Pieces that follow each other in memory are one, and short ones are copied.
type parts struct {
	list   [][]byte
	copied bool   // the last of list is a copy, which may grow
	next   []byte // grows as long as what comes follows it in memory
}

// shortPiece is up to where it costs less to copy a piece than to keep it apart.
const shortPiece = 256

func (t *parts) add(p []byte) {
	if len(p) == 0 {
		return
	}
	if n := len(t.next); n > 0 && cap(t.next)-n >= len(p) {
		if whole := t.next[:n+len(p)]; &whole[n] == &p[0] {
			t.next = whole
			return
		}
	}
	t.flush()
	t.next = p
}

func (t *parts) flush() {
	last := len(t.list) - 1
	switch {
	case len(t.next) == 0:
	case len(t.next) > shortPiece:
		t.list = append(t.list, t.next)
		t.copied = false
	case t.copied:
		t.list[last] = append(t.list[last], t.next...)
	default:
		t.list = append(t.list, append(make([]byte, 0, 2*shortPiece), t.next...))
		t.copied = true
	}
	t.next = nil
}

func (t *parts) all() [][]byte {
	t.flush()
	return t.list
}

func (n *node) appendTo(out *parts) {
	switch {
	case !n.dirty:
		out.add(n.raw)
		return
	case n.kind == kindLines:
		n.appendLines(out)
		return
	}
	out.add(n.raw[:1])
	last := n.last()
	switch {
	case last < 0 && len(n.kids) == 0 && n.head == nil:
		out.add(n.tail) // it was empty from the beginning
	case last >= 0:
		first := true
		for i := 0; i <= last; i++ {
			switch {
			case !n.there(i):
			case !first && n.kids[i].isText():
				from := n.at(i) - 1
				i = n.endOfRun(i)
				out.add(n.raw[from:n.end(i)])
				if i < last {
					out.add(n.after(i))
				}
			default:
				n.appendChild(out, i, first, i == last)
				first = false
				n.written++
			}
		}
		out.add(n.tail)
	}
	out.add(n.raw[len(n.raw)-1:])
}

var comma = []byte(",")

// commaOf is the comma in front of a child, from where the text of the child follows if it has one.
func (n *node) commaOf(c *child) []byte {
	if p := n.raw[c.at-1 : c.at]; p[0] == ',' {
		return p
	}
	return comma
}

// endOfRun is the last of the children from i on that are still the text they were, one behind the other.
func (n *node) endOfRun(i int) int {
	for i+1 < len(n.kids) && n.kids[i+1].isText() {
		i++
	}
	return i
}

// appendChild writes a child with its white space: what stood in front of the first stays in front of whatever is first
// now, and what stood between the last and its comma goes with the comma.
func (n *node) appendChild(out *parts, i int, first, last bool) {
	c := n.own(i)
	switch {
	case first:
		out.add(n.head)
	case c.at > 1:
		out.add(n.commaOf(c))
		out.add(c.before)
	default: // new, or the first one of the text with another in front now
		out.add(comma)
		out.add(n.between)
	}
	out.add(c.key)
	out.add(c.colon)
	c.value.appendTo(out)
	if !last {
		out.add(c.after)
	}
}

func (n *node) appendLines(out *parts) {
	out.add(n.head)
	ended := true // what was written so far, by a newline
	for i := 0; i < len(n.kids); i++ {
		if !ended {
			out.add(n.between) // the last line of the text had no end
		}
		if c := n.madeOf(i); c == nil {
			from := n.at(i)
			i = n.endOfRun(i)
			out.add(n.raw[from:n.end(i)])
		} else {
			out.add(c.before)
			c.value.appendTo(out)
		}
		after := n.after(i)
		out.add(after)
		ended = bytes.HasSuffix(after, []byte("\n"))
	}
	out.add(n.tail)
}

// textOf is what a node is written as.
func textOf(n *node) []byte {
	var out parts
	n.appendTo(&out)
	return slices.Concat(out.all()...)
}
