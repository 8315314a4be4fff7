package merge

import (
	"fmt"
	"slices"
)

// Policy says how places merge. Nil, and the zero value, are the defaults: the later committer's scalar wins, a record
// that one side deleted and the other changed is kept, arrays are merged as edit sequences.
type Policy struct {
	Rules  []Rule
	Strict bool // 1 and 1.0 are different values
	Adopt  bool // a mere re-formatting by ours is taken over where theirs is base by value
	// Duplicates of a name within one object: "" keeps them (the last one counts), "reject" refuses the document,
	// "collapse" drops the earlier ones.
	Duplicates string
}

// Rule is how one place, or every place that a pattern matches, merges.
type Rule struct {
	At    string   // an RFC 6901 pointer in which * stands for one step and ** for any number
	Merge Strategy // "" is the default
	Key   []string // of Keyed: the members that together name an element
}

// Strategy is a way to merge a place that both sides changed.
type Strategy string

// The strategies. A scalar place uses Ours to Min, a deletion Delete or Fail, an array Atomic to Keyed.
const (
	Ours   Strategy = "ours"   // the later committer wins (the default for scalars)
	Theirs Strategy = "theirs" // what is there wins
	Fail   Strategy = "fail"   // the place is refused, the rest goes in
	Sum    Strategy = "sum"    // theirs + ours − base, exactly; a missing number is 0
	Max    Strategy = "max"    // the greater number
	Min    Strategy = "min"    // the smaller number
	Delete Strategy = "delete" // a deletion wins over a change
	Atomic Strategy = "atomic" // an array or object is one value
	Append Strategy = "append" // an array only grows: added elements go to its end
	Set    Strategy = "set"    // an array is a set: elements equal by value are one
	Keyed  Strategy = "keyed"  // elements of an array are records named by Key
)

var strategies = []Strategy{Ours, Theirs, Fail, Sum, Max, Min, Delete, Atomic, Append, Set, Keyed}

// Check says what is wrong with a policy.
func (p *Policy) Check() error {
	if p == nil {
		return nil
	}
	if !slices.Contains([]string{"", "reject", "collapse"}, p.Duplicates) {
		return fmt.Errorf("duplicates %q: want reject or collapse", p.Duplicates)
	}
	for _, r := range p.Rules {
		if _, err := ParsePointer(r.At); err != nil {
			return fmt.Errorf("rule for %q: %w", r.At, err)
		}
		if r.Merge != "" && !slices.Contains(strategies, r.Merge) {
			return fmt.Errorf("rule for %q: unknown strategy %q", r.At, r.Merge)
		}
		if (r.Merge == Keyed) != (len(r.Key) > 0) {
			return fmt.Errorf("rule for %q: keyed, and only keyed, needs a key", r.At)
		}
	}
	return nil
}

// rule returns the last rule that matches at, so that a file reads from the general to the particular.
func (p *Policy) rule(at Pointer) Rule {
	if p == nil {
		return Rule{}
	}
	for _, r := range slices.Backward(p.Rules) {
		pattern, err := ParsePointer(r.At)
		if err == nil && matches(pattern, at) {
			return r
		}
	}
	return Rule{}
}

func (p *Policy) strict() bool { return p != nil && p.Strict }

func matches(pattern, at Pointer) bool {
	switch {
	case len(pattern) == 0:
		return len(at) == 0
	case pattern[0] == "**":
		for i := range len(at) + 1 {
			if matches(pattern[1:], at[i:]) {
				return true
			}
		}
		return false
	case len(at) == 0:
		return false
	}
	return (pattern[0] == "*" || pattern[0] == at[0]) && matches(pattern[1:], at[1:])
}
