package merge

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"
)

// leftOut is what stands behind the marks of excerpts, for what depends on more than the place itself: elements are paired and counted
// as if all of them were there. Where a run is not paired with itself, or that cannot be told, the excerpts are unfit, and nothing that was
// made of them counts.
type leftOut struct {
	runs  map[string]*elementsLeft // by token; nil for members of an object
	unfit atomic.Bool
}

// elementsLeft are the elements of a list that are left out in one place. They are equal by value in all texts, so that one of these
// tells what they are: it is read when somebody asks.
type elementsLeft struct {
	text   *excerptedText
	place  gapPlace
	format Format
	once   sync.Once
	prints []uint64
	sorted []uint64 // nil until it is asked for
	err    error

	count int // 0 until the keys were looked at
}

// tokenSize is that of the number which makes a mark.
const tokenSize = 19

// Under is pol for what is done to the excerpts.
func (x *Excerpts) Under(pol *Policy) *Policy {
	out := Policy{}
	if pol != nil {
		out = *pol
	}
	out.left = x.left
	return &out
}

// Fit says whether what was done to the excerpts so far is what would have been done to the texts.
func (x *Excerpts) Fit() bool { return !x.left.unfit.Load() }

func (p *Policy) leftOut() *leftOut {
	if p == nil {
		return nil
	}
	return p.left
}

// isUnfit: what is still to be done need not be.
func (l *leftOut) isUnfit() bool { return l != nil && l.unfit.Load() }

// of is what stands behind a mark, nil for any other value.
func (l *leftOut) of(raw []byte) *elementsLeft {
	if l == nil {
		return nil
	}
	raw = bytes.TrimPrefix(raw, []byte("["))
	if len(raw) <= tokenSize || raw[tokenSize] != '.' {
		return nil
	}
	return l.runs[string(raw[:tokenSize])]
}

// isIn says whether any mark stands in a value.
func (l *leftOut) isIn(raw []byte) bool {
	if l == nil {
		return false
	}
	for at := 0; ; at++ {
		next := bytes.IndexByte(raw[at:], '.')
		if next < 0 {
			return false
		}
		if at += next; at >= tokenSize {
			if _, there := l.runs[string(raw[at-tokenSize:at])]; there {
				return true
			}
		}
	}
}

// all are the fingerprints of the elements.
func (l *leftOut) all(e *elementsLeft) []uint64 {
	e.once.Do(func() { e.prints, e.err = e.read() })
	if e.err != nil || len(e.prints) == 0 {
		l.unfit.Store(true)
		return []uint64{0}
	}
	return e.prints
}

// count goes over a list and counts what is left out in front of one place after the other.
type count struct {
	left     *leftOut
	n        *node
	at, more int
}

func (l *leftOut) counting(n *node) *count { return &count{left: l, n: n} }

// before is how many elements are left out in front of place i, beside the marks. It is asked for places in their order.
func (c *count) before(i int) int {
	for ; c.left != nil && c.at < i; c.at++ {
		if e := c.left.of(c.n.rawChild(c.at)); e != nil {
			c.more += len(c.left.all(e)) - 1
		}
	}
	return c.more
}

// has says whether a value is among the elements that are left out of a list.
func (l *leftOut) has(n *node, print uint64) bool {
	if l == nil {
		return false
	}
	for i := range n.kids {
		e := l.of(n.rawChild(i))
		if e == nil {
			continue
		}
		prints := l.all(e)
		l.sort(e, prints)
		if _, there := slices.BinarySearch(e.sorted, print); there {
			return true
		}
	}
	return false
}

// sort is for one goroutine at a time, which merges are.
func (l *leftOut) sort(e *elementsLeft, prints []uint64) {
	if e.sorted == nil {
		e.sorted = slices.Clone(prints)
		slices.Sort(e.sorted)
	}
}

// match is matchEqual for elements from front on of two lists, count of each, as if nothing were left out.
func (l *leftOut) match(base, ours *node, front, n, m int) []int {
	if l == nil {
		return matchEqual(prints(base, front, n), prints(ours, front, m))
	}
	a, b := l.expand(base, front, n), l.expand(ours, front, m)
	whole := matchEqual(a.prints, b.prints)
	match := noMatch(n)
	for i := range n {
		from, to := a.starts[i], a.starts[i+1]
		if whole[from] < 0 {
			if a.runs[i] != nil {
				l.unfit.Store(true)
			}
			continue
		}
		j, within := slices.BinarySearch(b.starts[:m], whole[from])
		if !within || a.runs[i] != b.runs[j] {
			l.unfit.Store(true)
			continue
		}
		for k := range to - from {
			if whole[from+k] != whole[from]+k {
				l.unfit.Store(true)
			}
		}
		match[i] = j
	}
	if a.marks != b.marks {
		l.unfit.Store(true)
	}
	return match
}

// expanded are elements with what is left out between them.
type expanded struct {
	prints []uint64
	starts []int           // of each of those that are there, and the end
	runs   []*elementsLeft // nil for one that is there
	marks  int
}

func (l *leftOut) expand(n *node, from, count int) (x expanded) {
	size := 0
	for i := range count {
		e := l.of(n.rawChild(from + i))
		x.runs = append(x.runs, e)
		x.starts = append(x.starts, size)
		if size++; e != nil {
			size += len(l.all(e)) - 1
			x.marks++
		}
	}
	x.starts = append(x.starts, size)
	x.prints = make([]uint64, 0, size)
	for i := range count {
		if e := x.runs[i]; e != nil {
			x.prints = append(x.prints, l.all(e)...)
		} else {
			x.prints = append(x.prints, n.fingerprint(from+i))
		}
	}
	return x
}

// checkEnds: behind front, and in front of back, the lists differ, and the texts do, too: what is left out does not begin, or end, with
// what the other list has there.
func (l *leftOut) checkEnds(base, ours *node, front, back int) {
	if l == nil {
		return
	}
	n, m := len(base.kids), len(ours.kids)
	if front == n || front == m {
		return
	}
	l.checkPair(base, front, ours, front, func(prints []uint64) uint64 { return prints[0] })
	if front+back < min(n, m) {
		l.checkPair(base, n-back-1, ours, m-back-1, func(prints []uint64) uint64 { return prints[len(prints)-1] })
	}
}

func (l *leftOut) checkPair(base *node, i int, ours *node, j int, which func([]uint64) uint64) {
	x, y := l.of(base.rawChild(i)), l.of(ours.rawChild(j))
	if x == y {
		return // none is left out
	}
	print := func(n *node, k int, e *elementsLeft) uint64 {
		if e != nil {
			return which(l.all(e))
		}
		return n.fingerprint(k)
	}
	if print(base, i, x) == print(ours, j, y) {
		l.unfit.Store(true)
	}
}

// read makes the fingerprint of each element.
func (e *elementsLeft) read() (prints []uint64, err error) {
	err = e.each(func(value []byte, behind int64) {
		if len(prints) == cap(prints) && len(prints) > 0 {
			prints = slices.Grow(prints, e.likely(len(prints), behind))
		}
		prints = append(prints, fingerprint(value))
	})
	return slices.Clip(prints), err
}

// each goes over the elements in their text, a part at a time; behind is where the next one begins.
func (e *elementsLeft) each(do func(value []byte, behind int64)) error {
	const some, longest = 64 << 10, 4 << 20
	buffer := make([]byte, 0, min(some, e.place.end-e.place.start))
	for at := e.place.start; at < e.place.end; {
		buffer = buffer[:min(int64(cap(buffer)), e.place.end-at)]
		if n, err := e.text.r.ReadAt(buffer, at); n < len(buffer) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		last := at+int64(len(buffer)) == e.place.end
		used := 0
		for used < len(buffer) {
			end := e.endOf(buffer[used:])
			if end < 0 && last {
				end = len(buffer) - used
			}
			if end < 0 {
				break
			}
			value := bytes.Trim(buffer[used:used+end], " \t\r\n")
			used = min(used+end+1, len(buffer))
			if len(value) == 0 {
				if e.format == Lines { // an empty line is no element
					continue
				}
				return errNotElements
			}
			do(value, at+int64(used))
		}
		at += int64(used)
		if used == 0 {
			if cap(buffer) >= longest {
				return errNotElements
			}
			buffer = make([]byte, 0, 4*cap(buffer))
		}
	}
	return nil
}

var errNotElements = errors.New("not read as elements")

// endOf is the index of what ends an element, -1 if that is further on.
func (e *elementsLeft) endOf(src []byte) int {
	if e.format == Lines {
		return bytes.IndexByte(src, '\n')
	}
	return endOfChild(src)
}

// likely is how many more there are, a few more than that.
func (e *elementsLeft) likely(have int, at int64) int {
	read, left := at-e.place.start, e.place.end-at
	return int(min(float64(left)/float64(read)*float64(have)*1.05, float64(4*have))) + 64
}
