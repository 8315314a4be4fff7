package merge

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
)

// ReadTheirs is [Change.ParseTheirs] for a text that is not in memory yet. What it has in common with the base of c is not
// kept a second time: the document is that base, with other children where the two differ. It is nil where that is not
// worth it, and for what is no document: the text has to be read and parsed whole then. The error is one of r.
func (c *Change) ReadTheirs(r io.ReaderAt, size int64) (*Document, error) {
	base := c.base
	const margin = 1 << 10 // white space in front of the document
	if base.root == nil || base.edited || base.root.off > margin || base.format != JSON || int64(int(size)) != size {
		return nil, nil
	}
	t := theirsReader{r: r, base: base.src, e: ends{lenA: len(base.src), lenB: int(size)}}
	e := &t.e
	room := min(e.lenA, e.lenB)
	e.prefix = alikeFor(room, readAtOnce, func(from, to int) bool { return t.same(from, from, to-from) })
	room -= e.prefix
	e.suffix = alikeFor(room, readAtOnce, func(from, to int) bool { return t.same(e.lenA-to, e.lenB-to, to-from) })
	if t.err != nil || t.longer() {
		return nil, t.err
	}
	if e.prefix == e.lenA && e.prefix == e.lenB {
		d := base.fresh()
		return &d, nil
	}
	return t.document(base)
}

// theirsReader compares a text with base, a piece at a time.
type theirsReader struct {
	r    io.ReaderAt
	base []byte
	e    ends
	mu   sync.Mutex
	err  error

	chunks sync.Pool
}

const readAtOnce = 128 << 10

func (t *theirsReader) same(at, there, size int) bool {
	whole, _ := t.chunks.Get().(*[readAtOnce]byte)
	if whole == nil {
		whole = new([readAtOnce]byte)
	}
	defer t.chunks.Put(whole)
	chunk := whole[:size]
	return t.read(chunk, there) && bytes.Equal(chunk, t.base[at:at+size])
}

// read is false where the text is shorter by now, too.
func (t *theirsReader) read(p []byte, at int) bool {
	n, err := t.r.ReadAt(p, int64(at))
	if n < len(p) && !errors.Is(err, io.EOF) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.err = err
	}
	return n == len(p)
}

// longer: somebody appends to it this very moment.
func (t *theirsReader) longer() bool {
	n, _ := t.r.ReadAt(make([]byte, 1), int64(t.e.lenB))
	return n > 0
}

// document puts the children in which the two differ into the innermost container around all of them.
func (t *theirsReader) document(base *Document) (*Document, error) {
	d := base.fresh()
	from, open := d.root.lastEndBefore(t.e.prefix)
	to, around := d.root.firstEndFrom(t.e.lenA - t.e.suffix)
	in := -1 // open[in] is that container
	for in+1 < min(len(open), len(around)) && open[in+1] == around[in+1] {
		in++
	}
	if in < 0 {
		return nil, nil
	}
	n := open[in]
	first, behind := passed(open, in, from), passed(around, in, to)
	if in < len(around)-1 {
		behind++ // the one that the way goes on in
	}
	start, end := n.off+1, n.off+n.end(behind-1)
	if first > 0 {
		start = n.off + n.end(first-1)
	}
	size := end + t.e.lenB - t.e.lenA - start
	if size <= 0 || 4*size > t.e.lenB {
		return nil, nil
	}
	text := make([]byte, size+2)
	if !t.read(text[1:size+1], start) {
		return nil, t.err
	}
	if !n.takeOver(text, first, behind, in) {
		return nil, nil
	}
	for _, way := range open[:in+1] {
		way.dirty = true
	}
	d.edited = true
	d.pieces = d.Parts()
	style := styleOf(d.pieces, d.format)
	d.style, d.alike = &style, ends{}
	return &d, nil
}

// takeOver replaces children, from first up to behind, by those that stand in text[1:len-1], which follows the child in
// front of them. It is false where that is not what the text is. n is depth levels down.
func (n *node) takeOver(text []byte, first, behind, depth int) bool {
	text[0], text[len(text)-1] = byte(n.kind), closing(byte(n.kind))
	after := text[1:skipSpace(text, 1)]
	if first > 0 {
		at := 1 + len(after)
		if text[at] != ',' {
			return false
		}
		text = text[at:]
		text[0] = byte(n.kind)
	}
	end, err := scanValue(text, 0)
	if err != nil || end < len(text) || depth+depthOf(text) > maxDepth {
		return false
	}
	with := newNode(text)
	with.expand()
	if len(with.tail) > 0 || len(with.kids) == 0 {
		return false
	}
	n.standAlone(behind)
	last := n.after(behind - 1)
	if first > 0 {
		n.own(first - 1).after = after
	}
	var kids []kid
	for i := range with.kids {
		c := *with.own(i)
		if i > 0 || first > 0 {
			c.at = notFirst
		}
		if i == len(with.kids)-1 {
			c.after = last
		}
		kids = append(kids, n.kidOf(&c))
	}
	n.kids = slices.Replace(n.kids, first, behind, kids...)
	n.renamed()
	return true
}

// notFirst is at of a child that stands behind another one, in another text.
const notFirst = 2

// is says whether d is that very text. One that was edited is not looked at: it would have to be put together.
func (d *Document) is(other *Document) bool {
	switch {
	case !d.edited:
		return bytes.Equal(d.src, other.src)
	case d.changed || d.pieces == nil:
		return false
	}
	rest := other.src
	for _, p := range d.pieces {
		if len(rest) < len(p) || !bytes.Equal(rest[:len(p)], p) {
			return false
		}
		rest = rest[len(p):]
	}
	return len(rest) == 0
}
