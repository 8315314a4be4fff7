package merge

import "slices"

// rules is a policy that was checked, its patterns parsed.
type rules struct {
	rules    []placedRule
	renames  []placedRename
	derived  []placedDerivation
	isStrict bool
	adopt    bool

	duplicates string
}

type placedRule struct {
	at Pattern
	Rule
}

// rule returns the last rule that matches at, so that a file reads from the general to the particular.
func (r *rules) rule(at Pointer) Rule {
	for _, p := range slices.Backward(r.rules) {
		if p.at.Matches(at) {
			return p.Rule
		}
	}
	return Rule{}
}

func (r *rules) strict() bool { return r.isStrict }

// accumulates says whether, at or below at, doing the same thing twice is not the same as doing it once: then two
// sides that ended up equal did not necessarily do one thing.
func (r *rules) accumulates(at Pointer) bool {
	return slices.ContainsFunc(r.rules, func(p placedRule) bool {
		return (p.Merge == Sum || p.Merge == Append || p.Merge == Renumber) && p.at.reaches(at)
	})
}

// Rule returns the rule that decides at a place, and its index in p.Rules; -1 if none does.
func (p *Policy) Rule(at Pointer) (Rule, int) {
	if p == nil {
		return Rule{}, -1
	}
	for i, r := range slices.Backward(p.Rules) {
		if pattern, err := ParsePattern(r.At); err == nil && pattern.Matches(at) {
			return r, i
		}
	}
	return Rule{}, -1
}

// whole says whether a place is never merged inside.
func (r Rule) whole() bool { return r.Merge == Atomic || r.Merge == First || r.Merge == Last }
