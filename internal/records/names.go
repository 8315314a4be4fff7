package records

import (
	"bytes"
	"hash/maphash"
	"slices"

	"jsonguard/merge"
)

// names are the hashes of the names of one object. That one comes twice is looked for at its end: to ask for each name
// whether it was there takes a place in memory that no cache holds, in an object with many.
type names []uint64

var seed = maphash.MakeSeed()

func (n *names) add(raw []byte) {
	if bytes.IndexByte(raw, '\\') < 0 {
		*n = append(*n, maphash.Bytes(seed, raw[1:len(raw)-1]))
	} else {
		*n = append(*n, maphash.String(seed, merge.Unquote(raw)))
	}
}

// different counts them, each once, and leaves them in another order. Two names share a hash with a chance of 2^-64, and
// nobody can look for such a pair: the seed is another in each process.
func (n names) different() int {
	const many, parts = 1 << 14, 1 << 12
	if len(n) < many {
		slices.Sort(n)
		return steps(n)
	}
	// Divided by their first bits into parts that a cache holds; each is sorted by itself.
	var ends [parts + 1]int
	for _, h := range n {
		ends[h>>52+1]++
	}
	for i := range parts {
		ends[i+1] += ends[i]
	}
	divided, next := make(names, len(n)), ends
	for _, h := range n {
		divided[next[h>>52]] = h
		next[h>>52]++
	}
	count := 0
	for i := range parts {
		part := divided[ends[i]:ends[i+1]]
		slices.Sort(part)
		count += steps(part)
	}
	return count
}

// steps counts the different ones of a sorted list.
func steps(sorted names) (count int) {
	for i, h := range sorted {
		if i == 0 || h != sorted[i-1] {
			count++
		}
	}
	return count
}
