package sidecar

import (
	"bytes"

	"jsonguard/merge"
)

// step is what a fold carries out at once: one change, or several by which one process sets one place again and again. Of
// those only the last one is carried out, where the first one stands, so that new places come in their order. Nobody will
// ever have seen the others, and what they are told is what the last one is told.
type step struct {
	first, last int32 // in fold.pending
	apart       bool  // the place is not there yet: each change is carried out by itself, where it stands
}

// plan makes steps of what is pending. of says of each change which step it belongs to.
//
// Sets are brought together within stretches of them that go equally deep, and to no place that is counted from the end of
// a list: there, two places that are written differently have nothing to do with each other, but that an element of a list
// comes to be behind those before it, and the order of what happens to them makes no difference.
func (f *fold) plan() (steps []step, of []int32) {
	steps = make([]step, 0, min(len(f.pending), planned))
	of = make([]int32, len(f.pending))
	places := map[string]int32{}
	depth := 0
	together := f.togetherAllowed()
	for i, p := range f.pending {
		of[i] = int32(len(steps))
		place := p.from.placeOf(p.entry)
		if !together || len(place) == 0 {
			clear(places)
			steps = append(steps, step{first: int32(i), last: int32(i)})
			continue
		}
		if d := bytes.Count(place, []byte("/")); d != depth {
			clear(places)
			depth = d
		}
		at, there := places[string(place)]
		if there && f.pending[steps[at].last].from == p.from {
			of[i] = at
			steps[at].last = int32(i)
			continue
		}
		places[string(place)] = of[i]
		steps = append(steps, step{first: int32(i), last: int32(i)})
	}
	return steps, of
}

// planned is how many steps there is room for at first.
const planned = 1 << 12

// togetherAllowed: the target is there, whatever is set, and a place has one name.
func (f *fold) togetherAllowed() bool {
	p := f.g.Policy()
	return !f.target.missing && f.g.format == merge.JSON && (p == nil || len(p.Renames) == 0)
}
