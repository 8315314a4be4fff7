package merge

import "slices"

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
	type seen struct{ inA, inB, b int }
	count := make(map[uint64]seen, aHi-aLo)
	for i := aLo; i < aHi; i++ {
		s := count[a[i]]
		s.inA++
		count[a[i]] = s
	}
	for j := bLo; j < bHi; j++ {
		if s, ok := count[b[j]]; ok {
			s.inB++
			s.b = j
			count[b[j]] = s
		}
	}
	var pairs [][2]int
	for i := aLo; i < aHi; i++ {
		if s := count[a[i]]; s.inA == 1 && s.inB == 1 {
			pairs = append(pairs, [2]int{i, s.b})
		}
	}
	return longestIncreasing(pairs)
}

// longestIncreasing keeps the most pairs whose second numbers increase (patience sorting).
func longestIncreasing(pairs [][2]int) [][2]int {
	var tops []int // index into pairs of the smallest end of a run of each length
	previous := make([]int, len(pairs))
	for i, p := range pairs {
		at, _ := slices.BinarySearchFunc(tops, p[1], func(top, want int) int { return pairs[top][1] - want })
		previous[i] = -1
		if at > 0 {
			previous[i] = tops[at-1]
		}
		if at == len(tops) {
			tops = append(tops, i)
		} else {
			tops[at] = i
		}
	}
	if len(tops) == 0 {
		return nil
	}
	out := make([][2]int, len(tops))
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
