package merge

import (
	"fmt"
	"slices"
)

// Pattern is a parsed pointer in which a step * stands for any one step and ** for any number of them, none included.
type Pattern []string

const (
	anyStep  = "*"
	anySteps = "**"
)

// maxPattern bounds the steps of a pattern: matching takes time in proportion to them, for every place of a change.
const maxPattern = 64

// ParsePattern reads a pattern: a pointer as ParsePointer reads it.
func ParsePattern(s string) (Pattern, error) {
	p, err := ParsePointer(s)
	if err == nil && len(p) > maxPattern {
		err = fmt.Errorf("pattern %.20q… has %d steps; at most %d are taken", s, len(p), maxPattern)
	}
	return Pattern(p), err
}

// EndsInName says whether the last step is a name and no wildcard.
func (p Pattern) EndsInName() bool {
	return len(p) > 0 && p[len(p)-1] != anyStep && p[len(p)-1] != anySteps
}

// Matches says whether p matches at, whole. It takes at most len(p) × len(at) steps: after a mismatch only the last **
// can usefully take up one step more.
func (p Pattern) Matches(at Pointer) bool {
	i, j := 0, 0
	star, taken := -1, 0 // the last ** and where what it takes up ends
	for j < len(at) {
		switch {
		case i < len(p) && p[i] == anySteps:
			star, taken = i, j
			i++
		case i < len(p) && (p[i] == anyStep || p[i] == at[j]):
			i++
			j++
		case star >= 0:
			taken++
			i, j = star+1, taken
		default:
			return false
		}
	}
	for i < len(p) && p[i] == anySteps {
		i++
	}
	return i == len(p)
}

// reaches says whether p can match a place at or below at.
func (p Pattern) reaches(at Pointer) bool {
	for i, step := range at {
		switch {
		case i == len(p):
			return false
		case p[i] == anySteps:
			return true
		case p[i] != anyStep && p[i] != step:
			return false
		}
	}
	return true
}

// meets says whether some place is matched by both.
func (p Pattern) meets(q Pattern) bool {
	// table[j]: what is left of p, from the row on, meets q[j:].
	table := make([]bool, len(q)+1)
	for i := len(p); i >= 0; i-- {
		above := slices.Clone(table)
		for j := len(q); j >= 0; j-- {
			switch {
			case i == len(p) && j == len(q):
				table[j] = true
			case i < len(p) && p[i] == anySteps:
				table[j] = above[j] || j < len(q) && table[j+1]
			case j < len(q) && q[j] == anySteps:
				table[j] = table[j+1] || i < len(p) && above[j]
			case i == len(p) || j == len(q):
				table[j] = false
			default:
				table[j] = (p[i] == anyStep || q[j] == anyStep || p[i] == q[j]) && above[j+1]
			}
		}
	}
	return table[0]
}
