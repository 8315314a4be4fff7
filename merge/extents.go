package merge

import (
	"math"
	"slices"
	"sort"
)

// extents is a sparse index of a text: where large containers end, so that going down one level does not mean reading
// everything below it again. Reading over any value takes at most coverBytes beside the jumps.
type extents struct {
	list  []extent // by start, once sealed
	wide  []wide   // by start, once sealed
	stack []opening
	ends  []uint32 // of the children of what is open, each from the start of its container
	size  int      // of the text

	deepest int // number of containers that were open at once
}

// wide is where the children of a container end that has many of them: else that is read again to go down one level.
type wide struct {
	start int
	ends  []uint32 // from there
}

const (
	// wideChildren is from how many children on their ends are kept, and narrowBytes from how many bytes a child: they take
	// four bytes each.
	wideChildren = 256
	narrowBytes  = 16
)

type extent struct {
	start, end int
	print      uint64 // the fingerprint, 0 until somebody asked for it
}

type opening struct {
	start   int
	covered int // bytes inside that an extent spares
	first   int // of its children, in ends
}

const (
	coverBytes = 1 << 10
	jumpBytes  = 16 // what a jump is taken to cost
)

func (x *extents) open(i int) {
	x.stack = append(x.stack, opening{start: i, first: len(x.ends)})
	x.deepest = max(x.deepest, len(x.stack))
}

// child notes the end of a value in the container that is open.
func (x *extents) child(end int) {
	o := &x.stack[len(x.stack)-1]
	if o.first < 0 {
		return
	}
	at := end - o.start
	if len(x.ends) == cap(x.ends) && len(x.ends) >= wideChildren {
		x.ends = slices.Grow(x.ends, likelyMore(len(x.ends), end, x.size))
	}
	x.ends = append(x.ends, uint32(at))
	if count := len(x.ends) - o.first; count%wideChildren == 0 && at < count*narrowBytes || uint64(at) > math.MaxUint32 {
		x.drop()
	}
}

// drop keeps nothing of the children of the container that is open.
func (x *extents) drop() {
	if o := &x.stack[len(x.stack)-1]; o.first >= 0 {
		x.ends, o.first = x.ends[:o.first], -1
	}
}

func (x *extents) close(end int) {
	last := len(x.stack) - 1
	o := x.stack[last]
	x.stack = x.stack[:last]
	size := end - o.start
	if size-o.covered >= coverBytes {
		x.list = append(x.list, extent{start: o.start, end: end})
		o.covered = size - jumpBytes
	}
	if last > 0 {
		x.stack[last-1].covered += o.covered
	}
	if o.first < 0 {
		return
	}
	switch count := len(x.ends) - o.first; {
	case count >= wideChildren && o.first == 0: // the outermost of many: it takes over the memory
		x.wide = append(x.wide, wide{o.start, x.ends})
		x.ends = nil
		return
	case count >= wideChildren:
		x.wide = append(x.wide, wide{o.start, slices.Clone(x.ends[o.first:])})
	}
	x.ends = x.ends[:o.first]
}

// likelyMore guesses how many children there will be beside those that take up the given part of a size. It goes in
// steps: a list that grows by doubling takes several times its memory.
func likelyMore(have, part, size int) int {
	const few, step = 1 << 10, 16
	rest := int(float64(size-part) / float64(part) * float64(have) * 1.05)
	return min(rest+few, step*have)
}

// childrenOf are the ends of the children of the container at an offset, nil if they are not known.
func (x *extents) childrenOf(at int) []uint32 {
	if x == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(x.wide, at, func(w wide, at int) int { return w.start - at })
	if !ok {
		return nil
	}
	return x.wide[i].ends
}

// seal orders the index for find.
func (x *extents) seal() {
	x.stack, x.ends = nil, nil
	slices.SortFunc(x.list, func(a, b extent) int { return a.start - b.start })
	slices.SortFunc(x.wide, func(a, b wide) int { return a.start - b.start })
}

// find returns the extent that starts at offset at, nil if there is none.
func (x *extents) find(at int) *extent {
	if x == nil {
		return nil
	}
	i := sort.Search(len(x.list), func(i int) bool { return x.list[i].start >= at })
	if i == len(x.list) || x.list[i].start != at {
		return nil
	}
	return &x.list[i]
}

// skipValue returns the index behind the valid value at src[i]; off is the offset of src in the text that x indexes.
func (x *extents) skipValue(src []byte, i, off int) int {
	if x == nil || src[i] != '{' && src[i] != '[' {
		end, _ := scanValue(src, i)
		return end
	}
	next := sort.Search(len(x.list), func(k int) bool { return x.list[k].start >= off+i })
	for depth := 0; ; {
		switch c := src[i]; c {
		case '"':
			i, _ = scanString(src, i)
			continue
		case '{', '[':
			for next < len(x.list) && x.list[next].start < off+i {
				next++
			}
			if next < len(x.list) && x.list[next].start == off+i {
				i = x.list[next].end - off
				next += sort.Search(len(x.list)-next, func(k int) bool { return x.list[next+k].start >= off+i })
				if depth == 0 {
					return i
				}
				continue
			}
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
}
