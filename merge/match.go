package merge

import (
	"cmp"
	"slices"
)

// matchEqual pairs equal fingerprints in order: for each index of a the index in b, or -1. Common ends first, then
// elements that occur once on both sides (patience), and between those the shortest edit script, as far as it is short.
func matchEqual(a, b []uint64) []int {
	match := noMatch(len(a))
	matchRange(a, b, 0, len(a), 0, len(b), match)
	return match
}

func noMatch(n int) []int {
	match := make([]int, n)
	for i := range match {
		match[i] = -1
	}
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
		shortestScript(a[aLo:aHi], b[bLo:bHi], func(i, j int) { match[aLo+i] = bLo + j })
		return
	}
	for _, at := range anchors {
		i, j := int(at[0]), int(at[1])
		if i < aLo || j < bLo {
			continue // taken by the common start of a gap before
		}
		match[i] = j
		matchRange(a, b, aLo, i, bLo, j, match)
		aLo, bLo = i+1, j+1
	}
	matchRange(a, b, aLo, aHi, bLo, bHi, match)
}

// uniqueAnchors are the longest increasing run of elements that occur once in either range. A list may have millions of elements: it takes
// a few words for each.
func uniqueAnchors(a, b []uint64, aLo, aHi, bLo, bHi int) [][2]int32 {
	inA, inB := onceIn(a, aLo, aHi), onceIn(b, bLo, bHi)
	pairs := make([][2]int32, 0, min(len(inA), len(inB)))
	for i, j := 0, 0; i < len(inA) && j < len(inB); {
		switch x, y := a[inA[i]], b[inB[j]]; {
		case x < y:
			i++
		case x > y:
			j++
		default:
			pairs = append(pairs, [2]int32{inA[i], inB[j]})
			i++
			j++
		}
	}
	slices.SortFunc(pairs, func(x, y [2]int32) int { return int(x[0]) - int(y[0]) })
	return longestIncreasing(pairs)
}

// onceIn are the places in a range of what is there once, in the order of the fingerprints.
func onceIn(prints []uint64, from, to int) []int32 {
	places := make([]int32, to-from)
	for i := range places {
		places[i] = int32(from + i)
	}
	slices.SortFunc(places, func(i, j int32) int { return cmp.Compare(prints[i], prints[j]) })
	once := places[:0]
	for i := 0; i < len(places); {
		next := i + 1
		for next < len(places) && prints[places[next]] == prints[places[i]] {
			next++
		}
		if next == i+1 {
			once = append(once, places[i])
		}
		i = next
	}
	return once
}

// longestIncreasing keeps the most pairs whose second numbers increase (patience sorting).
func longestIncreasing(pairs [][2]int32) [][2]int32 {
	if slices.IsSortedFunc(pairs, func(x, y [2]int32) int { return int(x[1]) - int(y[1]) }) {
		return pairs // nothing was moved
	}
	var tops []int32 // index into pairs of the smallest end of a run of each length
	previous := make([]int32, len(pairs))
	for i, p := range pairs {
		at, _ := slices.BinarySearchFunc(tops, p[1], func(top, want int32) int { return int(pairs[top][1]) - int(want) })
		previous[i] = -1
		if at > 0 {
			previous[i] = tops[at-1]
		}
		if at == len(tops) {
			tops = append(tops, int32(i))
		} else {
			tops[at] = int32(i)
		}
	}
	out := make([][2]int32, len(tops))
	for at, i := len(tops)-1, tops[len(tops)-1]; at >= 0; at, i = at-1, previous[i] {
		out[at] = pairs[i]
	}
	return out
}

// maxScript bounds the search for a shortest script: it takes (len(a)+len(b)) × script steps and script² memory.
const maxScript = 512

// shortestScript is Myers' greedy algorithm ("An O(ND) Difference Algorithm and Its Variations", 1986). It pairs nothing
// if the two are further apart than maxScript insertions and deletions.
func shortestScript(a, b []uint64, pair func(i, j int)) {
	limit := min(len(a)+len(b), maxScript)
	// furthest[k+limit] is how far in a the diagonal k (i - j) was reached; trace keeps it for each length of script.
	furthest := make([]int32, 2*limit+2)
	var trace [][]int32
	for d := 0; d <= limit; d++ {
		trace = append(trace, slices.Clone(furthest[limit-d:limit+d+1]))
		for k := -d; k <= d; k += 2 {
			var i int
			if k == -d || k != d && furthest[limit+k-1] < furthest[limit+k+1] {
				i = int(furthest[limit+k+1])
			} else {
				i = int(furthest[limit+k-1]) + 1
			}
			j := i - k
			for i < len(a) && j >= 0 && j < len(b) && a[i] == b[j] {
				i++
				j++
			}
			furthest[limit+k] = int32(i)
			if k == len(a)-len(b) && i >= len(a) {
				unwind(trace, d, len(a), len(b), pair)
				return
			}
		}
	}
}

// unwind walks back from the ends of both along the lengths of script that led there. trace[d] holds the diagonals
// -d to d as they were when scripts of d-1 steps had been followed.
func unwind(trace [][]int32, d, i, j int, pair func(i, j int)) {
	for ; d >= 0; d-- {
		k := i - j
		at := func(k int) int { return int(trace[d][k+d]) }
		before := k - 1
		if k == -d || k != d && at(k-1) < at(k+1) {
			before = k + 1
		}
		beforeI, beforeJ := 0, 0
		if d > 0 {
			beforeI = at(before)
			beforeJ = beforeI - before
		}
		for i > beforeI && j > beforeJ {
			i--
			j--
			pair(i, j)
		}
		i, j = beforeI, beforeJ
	}
}
