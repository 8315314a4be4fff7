package merge

import (
	"bytes"
	"sort"
)

// ends is what two texts have in common at their beginning and at their end, found once. Values that stand in there are
// equal and values that reach over it are not, without a look at either: a change deep inside of a document would else be
// found by comparing all of it again at each level.
type ends struct {
	a, b          *extents // which texts; nil: nothing is known
	lenA, lenB    int
	prefix        int
	suffix        int
	suffixIsWhole bool // no byte more is equal; else the suffix ends where the prefix does
}

func endsOf(a, b *Document) ends {
	if a.root == nil || b.root == nil || a.edited || b.edited {
		return ends{}
	}
	x, y := a.src, b.src
	e := ends{a: a.root.ext, b: b.root.ext, lenA: len(x), lenB: len(y)}
	e.prefix = commonPrefix(x, y)
	room := min(len(x), len(y)) - e.prefix
	e.suffix = commonSuffix(x[len(x)-room:], y[len(y)-room:])
	e.suffixIsWhole = e.suffix < room
	return e
}

const chunk = 4 << 10

func commonPrefix(x, y []byte) int {
	n := min(len(x), len(y))
	i := 0
	for i+chunk <= n && bytes.Equal(x[i:i+chunk], y[i:i+chunk]) {
		i += chunk
	}
	for i < n && x[i] == y[i] {
		i++
	}
	return i
}

func commonSuffix(x, y []byte) int {
	n := min(len(x), len(y))
	x, y = x[len(x)-n:], y[len(y)-n:]
	i := n
	for i >= chunk && bytes.Equal(x[i-chunk:i], y[i-chunk:i]) {
		i -= chunk
	}
	for i > 0 && x[i-1] == y[i-1] {
		i--
	}
	return n - i
}

// piece is a part of a text: where it stands, if that is known.
type piece struct {
	raw []byte
	ext *extents
	off int
}

func (n *node) piece() piece {
	if n.dirty {
		return piece{raw: n.text()}
	}
	return piece{n.raw, n.ext, n.off}
}

// piece of child i: its value.
func (n *node) pieceOf(i int) piece {
	if c := n.madeOf(i); c != nil {
		return c.value.piece()
	}
	start := n.start(i)
	return piece{n.raw[start:n.end(i)], n.ext, n.off + start}
}

// sameChildren counts children at the beginning and at the end of two containers that stand in what their texts have in
// common, without a look at each.
func (e *ends) sameChildren(x, y *node) (front, back int) {
	n := min(len(x.kids), len(y.kids))
	if e.a == nil || x.ext != e.a || y.ext != e.b || x.dirty || y.dirty || n == 0 {
		return 0, 0
	}
	if x.off == y.off {
		// A number goes on as long as digits follow: the byte behind a value has to be the same, too.
		front = sort.Search(n, func(i int) bool { return x.off+x.end(i) >= e.prefix })
	}
	behind := func(z *node, length, at int) int { return length - z.off - at }
	if behind(x, e.lenA, len(x.raw)) == behind(y, e.lenB, len(y.raw)) {
		// A child stands in there with the comma in front of it, if the one in front of that ends there. From there to the
		// end of the container both texts are read alike: neither begins inside of a string, or the quotes would not end up even.
		back = sort.Search(n-1, func(k int) bool { return behind(x, e.lenA, x.end(len(x.kids)-2-k)) > e.suffix })
	}
	return front, back
}

func (e *ends) same(x, y piece) bool {
	n := len(x.raw)
	if n != len(y.raw) {
		return false
	}
	if e.a != nil && x.ext == e.a && y.ext == e.b {
		behindX, behindY := e.lenA-x.off-n, e.lenB-y.off-n
		switch {
		case x.off == y.off && x.off <= e.prefix:
			return x.off+n <= e.prefix
		case behindX == behindY && behindX+n <= e.suffix:
			return true
		case behindX == behindY && behindX <= e.suffix && e.suffixIsWhole:
			return false
		}
	}
	return bytes.Equal(x.raw, y.raw)
}
