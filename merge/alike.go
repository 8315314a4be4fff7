package merge

import (
	"bytes"
	"sort"
)

// parseAlike is Parse for a text that has these ends in common with d, which was validated: only what lies between them is
// read, from the last value that ends in front of it to the first one behind it.
func (d *Document) parseAlike(src []byte, e ends) (*Document, error) {
	out := e.parse(src, d)
	if out == nil {
		return Parse(src, d.format) // it says what is wrong, and where
	}
	out.besides(d, e)
	return out, nil
}

// besides has d know what it has in common with another document.
func (d *Document) besides(other *Document, e ends) {
	if d.root != nil && other.root != nil {
		e.a, e.b = other.root.ext, d.root.ext
		d.alike = e
	}
}

// most says whether the common ends are most of a text: what is known of the other has to be copied, too.
func (e *ends) most(src []byte) bool { return 2*(e.prefix+e.suffix) > len(src) }

// parse returns nil where nothing comes of it.
func (e *ends) parse(src []byte, like *Document) *Document {
	if like.root == nil || like.edited {
		return nil
	}
	if like.format == Lines {
		return e.parseLines(src, like)
	}
	from, open := like.root.lastEndBefore(e.prefix)
	if open == nil {
		return nil
	}
	ext := &extents{size: len(src)}
	for k, n := range open {
		ext.open(n.off)
		ext.resume(like.root.ext.childrenOf(n.off), passed(open, k, from))
	}
	to, around := like.root.firstEndFrom(e.lenA - e.suffix)
	shift := len(src) - e.lenA
	end, met, err := scanOn(src, from, kindsOf(open), true, &meeting{at: to + shift, open: kindsOf(around)}, ext)
	switch {
	case err != nil || !met && skipSpace(src, end) < len(src):
		return nil
	case !met:
		to = e.lenA // all was read
	default:
		for k := len(around) - 1; k >= 0; k-- {
			n := around[k]
			ext.complete(like.root.ext.childrenOf(n.off), passed(around, k, to), n.off+shift)
			ext.close(n.off + len(n.raw) + shift)
		}
		end = like.root.off + len(like.root.raw) + shift
	}
	ext.take(like.root.ext, from, to, shift)
	ext.seal()
	start := like.root.off
	d := &Document{src: src, format: like.format, lead: src[:start], trail: src[end:]}
	d.root = &node{kind: like.root.kind, raw: src[start:end], ext: ext, off: start}
	return d
}

// parseLines: a line ends with its newline, whatever stands before it.
func (e *ends) parseLines(src []byte, like *Document) *Document {
	from := bytes.LastIndexByte(src[:e.prefix], '\n') + 1
	to := e.lenA - e.suffix
	if i := bytes.IndexByte(like.src[to:], '\n'); i >= 0 {
		to += i + 1
	} else {
		to = e.lenA
	}
	shift := len(src) - e.lenA
	if from == 0 || to+shift < from {
		return nil
	}
	ext := &extents{size: len(src)}
	if validateFrom(src[:to+shift], from, Lines, ext) != nil {
		return nil
	}
	ext.take(like.root.ext, from, to, shift)
	ext.seal()
	return &Document{src: src, format: Lines, root: &node{kind: kindLines, raw: src, ext: ext}}
}

// lastEndBefore finds the deepest containers around a place of the text, and the last end of a child of the innermost one
// in front of that place: whatever follows there, that value ended. nil: there is none.
func (n *node) lastEndBefore(place int) (at int, open []*node) {
	var way []*node
	for n.kind.container() && n.off < place {
		n.expand()
		way = append(way, n)
		i := sort.Search(len(n.kids), func(i int) bool { return n.off+n.end(i) >= place })
		if i > 0 {
			at, open = n.off+n.end(i-1), way[:len(way):len(way)]
		}
		if i == len(n.kids) {
			break
		}
		n = n.value(i)
	}
	return at, open
}

// firstEndFrom finds the first end of a child from a place on, and the containers around it.
func (n *node) firstEndFrom(place int) (at int, open []*node) {
	var way []*node
	for n.kind.container() && n.off < place {
		n.expand()
		way = append(way, n)
		i := sort.Search(len(n.kids), func(i int) bool { return n.off+n.end(i) >= place })
		if i == len(n.kids) {
			break
		}
		at, open = n.off+n.end(i), way[:len(way):len(way)]
		n = n.value(i)
	}
	return at, open
}

// passed counts the children of way[k] that end up to a place in the innermost container of the way: the one that the way
// goes on in does not.
func passed(way []*node, k, place int) int {
	n := way[k]
	if k < len(way)-1 {
		place = way[k+1].off
	}
	return sort.Search(len(n.kids), func(i int) bool { return n.off+n.end(i) > place })
}

func kindsOf(way []*node) []byte {
	kinds := make([]byte, len(way))
	for k, n := range way {
		kinds[k] = byte(n.kind)
	}
	return kinds
}

// resume gives the container that was opened last the first children of another one.
func (x *extents) resume(ends []uint32, count int) {
	if ends == nil {
		x.drop()
		return
	}
	x.ends = append(x.ends, ends[:count]...)
}

// complete gives the container that is open the last children of one that starts at an offset.
func (x *extents) complete(ends []uint32, from, offset int) {
	if ends == nil {
		x.drop()
		return
	}
	for _, end := range ends[from:] {
		x.child(offset + int(end))
	}
}

// take adds what another index knows of the text up to from, and from to on.
func (x *extents) take(other *extents, from, to, shift int) {
	for _, e := range other.list {
		switch {
		case e.end <= from:
			x.list = append(x.list, e)
		case e.start >= to:
			x.list = append(x.list, extent{e.start + shift, e.end + shift, e.print})
		}
	}
	for _, w := range other.wide {
		switch end := w.start + int(w.ends[len(w.ends)-1]); {
		case end < from:
			x.wide = append(x.wide, w)
		case w.start >= to:
			x.wide = append(x.wide, wide{w.start + shift, w.ends})
		}
	}
}
