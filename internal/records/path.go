package records

import (
	"bytes"
	"fmt"
	"math/bits"

	"jsonguard/merge"
)

// path is a pattern as an automaton: a state is a set of places in the pattern, one bit each. That of a place behind the
// last step means that the pattern matches here.
type path struct {
	steps    merge.Pattern
	index    []int // what each step means in an array, -1: no index
	start    state
	match    state
	wild     []int // the places of * and **
	anyDepth bool  // there is a **
}

type state uint64

const maxSteps = 63 // and one bit for the end

func compile(p merge.Pattern) (path, error) {
	if len(p) > maxSteps {
		return path{}, fmt.Errorf("the pattern has %d steps; at most %d are taken", len(p), maxSteps)
	}
	out := path{steps: p, match: 1 << len(p)}
	for i, step := range p {
		index, ok := merge.ArrayIndex(step)
		if !ok {
			index = -1
		}
		out.index = append(out.index, index)
		if step == "*" || step == "**" {
			out.wild = append(out.wild, i)
		}
		out.anyDepth = out.anyDepth || step == "**"
	}
	out.start = out.reach(0)
	return out, nil
}

// reach is the place i, and those behind a ** there, which may take up nothing.
func (p *path) reach(i int) state {
	s := state(1) << i
	for i < len(p.steps) && p.steps[i] == "**" {
		i++
		s |= 1 << i
	}
	return s
}

// member is the state below a member of the name that raw is the text of.
func (p *path) member(s state, raw []byte) state {
	var next state
	for rest := s &^ p.match; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(uint64(rest))
		switch step := p.steps[i]; {
		case step == "**":
			next |= p.reach(i)
		case step == "*" || sameName(raw, step):
			next |= p.reach(i + 1)
		}
	}
	return next
}

// element is the state below the element of that index.
func (p *path) element(s state, index int) state {
	var next state
	for rest := s &^ p.match; rest != 0; rest &= rest - 1 {
		i := bits.TrailingZeros64(uint64(rest))
		switch step := p.steps[i]; {
		case step == "**":
			next |= p.reach(i)
		case step == "*" || p.index[i] == index:
			next |= p.reach(i + 1)
		}
	}
	return next
}

// reached is the last of the places of a state.
func (s state) reached() int { return bits.Len64(uint64(s)) - 1 }

func sameName(raw []byte, name string) bool {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1:len(raw)-1]) == name
	}
	return merge.Unquote(raw) == name
}

// captured is what the wildcard of number n takes up of a place that the pattern matches. Each ** takes up as little as it
// can, the first one first.
func (p *path) captured(at merge.Pointer, steps []step, src []byte, n int) []byte {
	taken := make([]int, len(p.steps)+1) // where in at each step begins
	var fits func(i, j int) bool
	dead := map[[2]int]bool{}
	fits = func(i, j int) bool {
		taken[i] = j
		switch {
		case i == len(p.steps):
			return j == len(at)
		case dead[[2]int{i, j}]:
			return false
		case p.steps[i] == "**":
			for ; j <= len(at); j++ {
				if fits(i+1, j) {
					return true
				}
			}
		case j < len(at) && (p.steps[i] == "*" || p.steps[i] == at[j]) && fits(i+1, j+1):
			return true
		}
		dead[[2]int{i, taken[i]}] = true
		return false
	}
	fits(0, 0)
	i := p.wild[n]
	if p.steps[i] == "*" {
		return steps[taken[i]].raw(src)
	}
	return merge.Quote(at[taken[i]:taken[i+1]].String())
}
