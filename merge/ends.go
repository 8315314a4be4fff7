package merge

import (
	"bytes"
	"sort"
	"sync/atomic"
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
	if b.alike.a == a.root.ext && b.alike.b == b.root.ext {
		return b.alike
	}
	e := commonEnds(a.src, b.src)
	e.a, e.b = a.root.ext, b.root.ext
	return e
}

func commonEnds(x, y []byte) ends {
	e := ends{lenA: len(x), lenB: len(y)}
	n := min(len(x), len(y))
	e.prefix = alikeFor(n, 16<<10, func(from, to int) bool { return bytes.Equal(x[from:to], y[from:to]) })
	room := n - e.prefix
	e.suffix = alikeFor(room, 16<<10, func(from, to int) bool {
		return bytes.Equal(x[len(x)-to:len(x)-from], y[len(y)-to:len(y)-from])
	})
	e.suffixIsWhole = e.suffix < room
	return e
}

// alikeFor returns up to where, of n bytes, all are the same: same says so of a range, of at most a chunk.
func alikeFor(n, chunk int, same func(from, to int) bool) int {
	var first atomic.Int64 // that is not
	first.Store(int64(n))
	const some = 1 << 20
	look := func(from, to int) {
		for ; from < to && int64(from) < first.Load(); from += chunk {
			low, high := from, min(from+chunk, to)
			if same(low, high) {
				continue
			}
			for high-low > 1 {
				if mid := (low + high) / 2; same(low, mid) {
					low = mid
				} else {
					high = mid
				}
			}
			for was := first.Load(); int64(low) < was && !first.CompareAndSwap(was, int64(low)); was = first.Load() {
			}
			return
		}
	}
	begin := min(n, chunk) // most texts that are not alike differ soon
	if look(0, begin); first.Load() == int64(n) {
		inParallel(n-begin, some, func(from, to int) { look(begin+from, begin+to) })
	}
	return int(first.Load())
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
