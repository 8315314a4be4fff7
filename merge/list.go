package merge

import "strconv"

// listDelta is what ours did to an array, told in terms of base: what became of each of its elements, and what was
// put in front of each and behind the last. It is one half of diff3; the other half is the same for theirs. The
// elements in front of and behind the window are as they were.
type listDelta struct {
	base, ours *node
	front      int    // elements in front of the window
	fate       []fate // for each element of base in the window
	insert     []run  // of elements of ours, in front of each and behind the last: len(fate)+1
}

type fate struct {
	gone   bool   // deleted
	at     int    // index in ours, unless gone
	change *delta // changed in place, nil if kept
}

// run is a range of indices in ours.
type run struct{ from, to int }

func (r run) len() int { return r.to - r.from }

func (df differ) lists(base, ours *node) *delta {
	l := df.align(base, ours)
	changed := false
	for i := range l.fate {
		f := &l.fate[i]
		if !f.gone {
			f.change = df.children(base, l.front+i, ours, f.at)
		}
		changed = changed || f.gone || f.change != nil
	}
	for _, r := range l.insert {
		changed = changed || r.len() > 0
	}
	if !changed {
		return nil
	}
	return &delta{base: base, ours: ours, list: l}
}

// align finds the elements that are in both, equal by value and in the same order, and pairs what is left between
// two of them as changed in place where it looks like the same record. It does not look for what was changed.
func (df differ) align(base, ours *node) *listDelta {
	front, back := sameEnds(base, ours, &df.ends, df.sameElement)
	df.left.checkEnds(base, ours, front, back)
	l := &listDelta{base: base, ours: ours, front: front}
	n, m := len(base.kids)-front-back, len(ours.kids)-front-back
	l.fate, l.insert = make([]fate, n), make([]run, n+1)
	for i := range l.insert {
		l.insert[i] = run{front, front}
	}
	match := noMatch(n)
	if n > 0 && m > 0 && (n+m > 2 || df.left != nil) { // else nothing would match, or nothing else can; of excerpts, one may stand for many
		match = df.left.match(base, ours, front, n, m)
	}
	i, j := 0, 0
	for i <= n {
		// One gap: base[i:iEnd] and ours[j:jEnd], then a matched pair or the end of both.
		iEnd := i
		for iEnd < n && match[iEnd] < 0 {
			iEnd++
		}
		jEnd := m
		if iEnd < n {
			jEnd = match[iEnd]
		}
		l.gap(i, iEnd, j, jEnd)
		if iEnd < n {
			l.fate[iEnd] = fate{at: front + jEnd}
		}
		i, j = iEnd+1, jEnd+1
	}
	return l
}

func prints(n *node, from, count int) []uint64 {
	out := make([]uint64, count)
	for i := range out {
		out[i] = n.fingerprint(from + i)
	}
	return out
}

// sameElement compares by value: which of several equal elements is taken for an added one must not depend on how they
// are written. Large ones are told apart by their fingerprints, which are kept: lists inside of lists come here at
// each level.
func (df differ) sameElement(a *node, i int, b *node, j int) bool {
	p, q := a.pieceOf(i), b.pieceOf(j)
	if df.same(p, q) {
		return true
	}
	x, y := p.raw, q.raw
	if kindOfText(x) != kindOfText(y) {
		return false
	}
	large := len(x) > coverBytes || len(y) > coverBytes
	return (!large || a.fingerprint(i) == b.fingerprint(j)) && equalValues(x, y, df.strict)
}

// gap decides about elements without an equal: pairs are changes, the rest deletions and insertions.
func (l *listDelta) gap(i, iEnd, j, jEnd int) {
	for i < iEnd || j < jEnd {
		switch {
		case i < iEnd && j < jEnd && (iEnd-i == jEnd-j || similarTexts(l.base.rawChild(l.front+i), l.ours.rawChild(l.front+j))):
			l.fate[i] = fate{at: l.front + j}
			i++
			j++
		case i == iEnd || j < jEnd && iEnd-i < jEnd-j:
			if l.insert[i].len() == 0 {
				l.insert[i].from = l.front + j
			}
			j++
			l.insert[i].to = l.front + j
		default:
			l.fate[i].gone = true
			i++
		}
	}
}

// similar says whether two records look like two states of one: more than half of their members are equal.
func similar(a, b *node) bool {
	return a.kind == kindObject && b.kind == kindObject && similarRecords(a, b)
}

// similarTexts is similar for texts of values; a record that grew to many times its size is another one.
func similarTexts(x, y []byte) bool {
	if x[0] != '{' || y[0] != '{' || len(x) > 4*len(y)+smallBytes || len(y) > 4*len(x)+smallBytes {
		return false
	}
	return similarRecords(&node{kind: kindObject, raw: x}, &node{kind: kindObject, raw: y})
}

func similarRecords(a, b *node) bool {
	a.expand()
	b.expand()
	equal := 0
	for i := range a.kids {
		if j := b.lookup(a.name(i)); j >= 0 && equalValues(a.rawChild(i), b.rawChild(j), false) {
			equal++
		}
	}
	return equal > 0 && 2*equal >= max(len(a.kids), len(b.kids))
}

func (l *listDelta) walk(p Pointer, visit func(Pointer, *node, *node)) {
	at := l.front
	for i := range len(l.fate) + 1 {
		for j := l.insert[i].from; j < l.insert[i].to; j++ {
			visit(p.child(strconv.Itoa(at)), nil, l.ours.value(j))
			at++
		}
		if i == len(l.fate) {
			return
		}
		here := p.child(strconv.Itoa(l.front + i))
		if f := l.fate[i]; f.gone {
			visit(here, l.base.value(l.front+i), nil)
		} else {
			walkEdits(here, f.change, visit)
			at++
		}
	}
}
