package merge

import "bytes"

func (n *node) appendTo(out []byte) []byte {
	switch {
	case !n.dirty:
		return append(out, n.raw...)
	case n.kind == kindLines:
		return n.appendLines(out)
	}
	out = append(out, byte(n.kind))
	last := n.last()
	if last < 0 {
		if len(n.kids) == 0 && n.head == nil {
			out = append(out, n.tail...) // it was empty from the beginning
		}
		return append(out, closing(byte(n.kind)))
	}
	first := true
	for i := range n.kids {
		if !n.there(i) {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		out = n.appendChild(out, i, first, i == last)
		first = false
	}
	return append(append(out, n.tail...), closing(byte(n.kind)))
}

// appendChild writes a child with its white space: what stood in front of the first stays in front of whatever is first
// now, and what stood between the last and its comma goes with the comma.
func (n *node) appendChild(out []byte, i int, first, last bool) []byte {
	k := &n.kids[i]
	if k.own == nil && !first && k.at > 1 {
		out = append(out, n.raw[k.at:k.end]...)
	} else {
		c := n.own(i)
		switch {
		case first:
			out = append(out, n.head...)
		case k.at > 1:
			out = append(out, c.before...)
		default: // new, or the first one of the text with another in front now
			out = append(out, n.between...)
		}
		out = append(append(out, c.key...), c.colon...)
		out = c.value.appendTo(out)
	}
	if last {
		return out
	}
	return append(out, n.after(i)...)
}

func (n *node) appendLines(out []byte) []byte {
	out = append(out, n.head...)
	for i := range n.kids {
		if i > 0 && !bytes.HasSuffix(out, []byte("\n")) {
			out = append(out, n.between...) // the last line of the text had no end
		}
		k := &n.kids[i]
		if k.own == nil {
			out = append(out, n.raw[k.at:k.end]...)
		} else {
			out = append(out, k.own.before...)
			out = k.own.value.appendTo(out)
		}
		out = append(out, n.after(i)...)
	}
	return append(out, n.tail...)
}
