package merge

import (
	"slices"
	"sort"
)

// extents is a sparse index of a text: where large containers end, so that going down one level does not mean reading
// everything below it again. Reading over any value takes at most coverBytes beside the jumps.
type extents struct {
	list  []extent // by start, once sealed
	stack []opening
}

type extent struct {
	start, end int
	print      uint64 // the fingerprint, 0 until somebody asked for it
}

type opening struct {
	start   int
	covered int // bytes inside that an extent spares
}

const (
	coverBytes = 1 << 10
	jumpBytes  = 16 // what a jump is taken to cost
)

func (x *extents) open(i int) { x.stack = append(x.stack, opening{start: i}) }

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
}

// seal orders the index for find.
func (x *extents) seal() {
	x.stack = nil
	slices.SortFunc(x.list, func(a, b extent) int { return a.start - b.start })
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
