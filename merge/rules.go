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
	left       *leftOut
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

// Exclusive is the part of p for a change that was made from the very document that it goes into: no other edit can meet
// it there, but a name that is mapped can meet another one, and then numbers are reduced as the policy says. p may be nil.
func (p *Policy) Exclusive() *Policy {
	if p == nil {
		return nil
	}
	out := &Policy{Renames: p.Renames, Strict: p.Strict}
	for _, r := range p.Rules {
		if reduces(r.Merge) {
			out.Rules = append(out.Rules, r)
		}
	}
	return out
}

// whole says whether a place is never merged inside.
func (r Rule) whole() bool { return r.Merge == Atomic || r.Merge == First || r.Merge == Last }

// TouchesNewLines says whether a line that is appended to a JSON Lines document may have to be changed by the policy.
func (p *Policy) TouchesNewLines() bool {
	if p == nil {
		return false
	}
	reachesLine := func(at string) bool {
		pattern, err := ParsePattern(at)
		return err == nil && len(pattern) > 0 && (pattern[0] == anyStep || pattern[0] == anySteps || pattern[0] == "-" || isIndex(pattern[0]))
	}
	return slices.ContainsFunc(p.Renames, func(r Rename) bool { return !r.OnRequest && reachesLine(r.At) }) ||
		slices.ContainsFunc(p.Derived, func(d Derivation) bool { return reachesLine(d.At) })
}

func isIndex(step string) bool {
	_, ok := arrayIndex(step)
	return ok
}
