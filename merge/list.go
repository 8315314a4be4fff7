package merge

import "fmt"

// listDelta is what ours did to an array, told in terms of base: what became of each of its elements, and what was
// put in front of each and behind the last. It is one half of diff3; the other half is the same for theirs.
type listDelta struct {
	fate   []fate    // for each element of base
	insert [][]*node // len(fate)+1
	base   []uint64  // fingerprints of base, to align theirs with
	nodes  []*node   // base's elements
}

type fate struct {
	gone   bool   // deleted
	change *delta // changed in place, nil if kept
	at     int    // index in ours, unless gone
}

func (df differ) lists(base, ours *node) *delta {
	l := df.align(base, ours)
	for i := range l.fate {
		if l.fate[i].gone || l.fate[i].change != nil {
			return &delta{base: base, ours: ours, list: l}
		}
	}
	for _, added := range l.insert {
		if len(added) > 0 {
			return &delta{base: base, ours: ours, list: l}
		}
	}
	return nil
}

// align finds the elements that are in both, equal by value and in the same order, and pairs what is left between
// two of them as changed in place where it looks like the same record.
func (df differ) align(base, ours *node) *listDelta {
	base.expand()
	ours.expand()
	b, o := prints(base), prints(ours)
	l := &listDelta{fate: make([]fate, len(b)), insert: make([][]*node, len(b)+1), base: b}
	for i := range base.kids {
		l.nodes = append(l.nodes, base.kids[i].value)
	}
	match := matchEqual(b, o)
	i, j := 0, 0
	for i <= len(b) {
		// One gap: base[i:bEnd] and ours[j:oEnd], then a matched pair or the end of both.
		bEnd := i
		for bEnd < len(b) && match[bEnd] < 0 {
			bEnd++
		}
		oEnd := len(o)
		if bEnd < len(b) {
			oEnd = match[bEnd]
		}
		df.gap(l, base, ours, i, bEnd, j, oEnd)
		if bEnd < len(b) {
			l.fate[bEnd] = fate{at: oEnd, change: df.values(base.kids[bEnd].value, ours.kids[oEnd].value)}
		}
		i, j = bEnd+1, oEnd+1
	}
	return l
}

func prints(n *node) []uint64 {
	out := make([]uint64, len(n.kids))
	for i := range n.kids {
		out[i] = fingerprint(n.kids[i].value.text())
	}
	return out
}

// gap decides about elements without an equal: pairs are changes, the rest deletions and insertions.
func (df differ) gap(l *listDelta, base, ours *node, i, bEnd, j, oEnd int) {
	for i < bEnd || j < oEnd {
		switch {
		case i == bEnd:
			l.insert[i] = append(l.insert[i], ours.kids[j].value)
			j++
		case j == oEnd:
			l.fate[i].gone = true
			i++
		case bEnd-i == oEnd-j || similar(base.kids[i].value, ours.kids[j].value):
			l.fate[i] = fate{at: j, change: df.values(base.kids[i].value, ours.kids[j].value)}
			i++
			j++
		case bEnd-i > oEnd-j:
			l.fate[i].gone = true
			i++
		default:
			l.insert[i] = append(l.insert[i], ours.kids[j].value)
			j++
		}
	}
}

// similar says whether two records look like two states of one: more than half of their members are equal.
func similar(a, b *node) bool {
	if a.kind != kindObject || b.kind != kindObject {
		return false
	}
	a.expand()
	b.expand()
	equal := 0
	for i := range a.kids {
		if v := b.child(a.kids[i].name()); v != nil && equalValues(a.kids[i].value.text(), v.text(), false) {
			equal++
		}
	}
	return equal > 0 && 2*equal >= max(len(a.kids), len(b.kids))
}

func (l *listDelta) walk(p Pointer, visit func(Pointer, *node, *node)) {
	at := 0
	for i := range len(l.fate) + 1 {
		for _, added := range l.insert[i] {
			visit(append(p[:len(p):len(p)], fmt.Sprint(at)), nil, added)
			at++
		}
		if i == len(l.fate) {
			return
		}
		here := append(p[:len(p):len(p)], fmt.Sprint(i))
		switch f := l.fate[i]; {
		case f.gone:
			visit(here, l.nodes[i], nil)
		default:
			walkEdits(here, f.change, visit)
			at++
		}
	}
}

// matchEqual pairs equal fingerprints in order: for each index of a the index in b, or -1. Common ends first, then
// elements that occur once on both sides (patience), and a longest common subsequence where what is left is small.
// It is linear but for that last step, which is bounded.
func matchEqual(a, b []uint64) []int {
	match := make([]int, len(a))
	for i := range match {
		match[i] = -1
	}
	matchRange(a, b, 0, len(a), 0, len(b), match)
	return match
}

func matchRange(a, b []uint64, aLo, aHi, bLo, bHi int, match []int) {
	for aLo < aHi && bLo < bHi && a[aLo] == b[bLo] {
		match[aLo] = bLo
		aLo++
		bLo++
	}
	for aLo < aHi && bLo < bHi && a[aHi-1] == b[bHi-1] {
		aHi--
		bHi--
		match[aHi] = bHi
	}
	if aLo == aHi || bLo == bHi {
		return
	}
	anchors := uniqueAnchors(a, b, aLo, aHi, bLo, bHi)
	if len(anchors) == 0 {
		const limit = 1 << 22 // cells of the table
		if (aHi-aLo)*(bHi-bLo) <= limit {
			longestCommon(a, b, aLo, aHi, bLo, bHi, match)
		}
		return
	}
	for _, at := range anchors {
		if at[0] < aLo || at[1] < bLo {
			continue // taken by the common start of a gap before
		}
		match[at[0]] = at[1]
		matchRange(a, b, aLo, at[0], bLo, at[1], match)
		aLo, bLo = at[0]+1, at[1]+1
	}
	matchRange(a, b, aLo, aHi, bLo, bHi, match)
}

// uniqueAnchors are the longest increasing run of elements that occur once in either range.
func uniqueAnchors(a, b []uint64, aLo, aHi, bLo, bHi int) [][2]int {
	type seen struct{ inA, inB, a, b int }
	count := make(map[uint64]*seen, aHi-aLo)
	for i := aLo; i < aHi; i++ {
		s := count[a[i]]
		if s == nil {
			s = &seen{}
			count[a[i]] = s
		}
		s.inA++
		s.a = i
	}
	for j := bLo; j < bHi; j++ {
		if s := count[b[j]]; s != nil {
			s.inB++
			s.b = j
		}
	}
	var pairs [][2]int
	for i := aLo; i < aHi; i++ {
		if s := count[a[i]]; s.inA == 1 && s.inB == 1 {
			pairs = append(pairs, [2]int{s.a, s.b})
		}
	}
	return longestIncreasing(pairs)
}

// longestIncreasing keeps the most pairs whose second numbers increase (patience sorting).
func longestIncreasing(pairs [][2]int) [][2]int {
	var tops []int // index into pairs of the smallest end of a run of each length
	previous := make([]int, len(pairs))
	for i, p := range pairs {
		lo, hi := 0, len(tops)
		for lo < hi {
			mid := (lo + hi) / 2
			if pairs[tops[mid]][1] < p[1] {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		previous[i] = -1
		if lo > 0 {
			previous[i] = tops[lo-1]
		}
		if lo == len(tops) {
			tops = append(tops, i)
		} else {
			tops[lo] = i
		}
	}
	out := make([][2]int, len(tops))
	if len(tops) == 0 {
		return nil
	}
	for at, i := len(tops)-1, tops[len(tops)-1]; at >= 0; at, i = at-1, previous[i] {
		out[at] = pairs[i]
	}
	return out
}

func longestCommon(a, b []uint64, aLo, aHi, bLo, bHi int, match []int) {
	width := bHi - bLo + 1
	table := make([]int32, (aHi-aLo+1)*width)
	for i := aHi - 1; i >= aLo; i-- {
		row := (i - aLo) * width
		for j := bHi - 1; j >= bLo; j-- {
			at := row + j - bLo
			if a[i] == b[j] {
				table[at] = table[at+width+1] + 1
			} else {
				table[at] = max(table[at+1], table[at+width])
			}
		}
	}
	for i, j := aLo, bLo; i < aHi && j < bHi; {
		at := (i-aLo)*width + j - bLo
		switch {
		case a[i] == b[j]:
			match[i] = j
			i++
			j++
		case table[at+1] >= table[at+width]:
			j++
		default:
			i++
		}
	}
}
