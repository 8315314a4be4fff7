package merge

import (
	"fmt"
	"regexp"
	"slices"
)

// Policy says how places merge. Nil, and the zero value, are the defaults: the later committer's scalar wins, a record
// that one side deleted and the other changed is kept, arrays are merged as edit sequences.
type Policy struct {
	Rules   []Rule       // how a place merges; the last one that matches decides
	Renames []Rename     // names that writers spell in their own ways
	Derived []Derivation // values that are computed from their siblings, in this order

	Strict bool // 1 and 1.0 are different values
	Adopt  bool // a mere re-formatting by ours is taken over where theirs is base by value
	// Duplicates of a name within one object: "" keeps them (the last one counts), "reject" refuses the document,
	// "collapse" drops the earlier ones.
	Duplicates string

	left *leftOut // of the excerpts that it is for; see [Excerpts.Under]
}

// Rule is how one place, or every place that a pattern matches, merges.
type Rule struct {
	At    string   // an RFC 6901 pointer in which * stands for one step and ** for any number
	Merge Strategy // "" is the default
	Key   []string // of Keyed: the members that together name an element
}

// Rename maps the names of the members of an object to the spelling that the document has.
type Rename struct {
	At        string // a pattern, as in Rule, of objects
	Spellings []Spelling
	OnRequest bool // only [Document.Normalize] applies it
}

// Spelling maps every name that Match matches to To. The first of a list that matches decides.
type Spelling struct {
	Match *regexp.Regexp
	To    string
}

// Derivation computes a value from the object that holds it.
type Derivation struct {
	At      string // a pattern, as in Rule, whose last step is the name of a member
	Compute Compute
}

// Strategy is a way to merge a place that both sides changed.
type Strategy string

// The strategies. A scalar place uses Ours to Min, a deletion Delete or Fail, an array Atomic to Keyed, an object
// Atomic, First, Last or Renumber. What only one side changed is taken, whatever the strategy.
const (
	Ours     Strategy = "ours"     // the later committer wins (the default for scalars)
	Theirs   Strategy = "theirs"   // what is there wins
	First    Strategy = "first"    // as Theirs, and the value is not merged inside
	Last     Strategy = "last"     // as Ours, and the value is not merged inside; a deletion is a value, too
	Fail     Strategy = "fail"     // the place is refused, the rest goes in
	Sum      Strategy = "sum"      // theirs + ours − base, exactly; a missing number is 0
	Max      Strategy = "max"      // the greater number
	Min      Strategy = "min"      // the smaller number
	Delete   Strategy = "delete"   // a deletion wins over a change
	Atomic   Strategy = "atomic"   // an array or object is one value
	Append   Strategy = "append"   // an array only grows: added elements go to its end
	Set      Strategy = "set"      // an array is a set: elements equal by value are one
	Keyed    Strategy = "keyed"    // elements of an array are records named by Key
	Renumber Strategy = "renumber" // what both sides added under the same integer is two members: ours gets the next free integer
)

// Strategies lists every strategy.
func Strategies() []Strategy {
	return []Strategy{Ours, Theirs, First, Last, Fail, Sum, Max, Min, Delete, Atomic, Append, Set, Keyed, Renumber}
}

// TakesWhole says that under this policy a version which was made from exactly what is there becomes what is there, byte for
// byte, so that neither has to be looked at.
func (p *Policy) TakesWhole() bool {
	return p == nil || len(p.Renames) == 0 && len(p.Derived) == 0 && p.Duplicates == ""
}

// Check says what is wrong with a policy.
func (p *Policy) Check() error {
	_, err := p.compile()
	return err
}

// compile checks a policy and makes it ready for matching.
func (p *Policy) compile() (*rules, error) {
	r := &rules{}
	if p == nil {
		return r, nil
	}
	if !slices.Contains([]string{"", "reject", "collapse"}, p.Duplicates) {
		return nil, fmt.Errorf("duplicates %q: want reject or collapse", p.Duplicates)
	}
	r.isStrict, r.adopt, r.duplicates, r.left = p.Strict, p.Adopt, p.Duplicates, p.left
	for _, rule := range p.Rules {
		at, err := ParsePattern(rule.At)
		if err != nil {
			return nil, fmt.Errorf("rule for %q: %w", rule.At, err)
		}
		if rule.Merge != "" && !slices.Contains(Strategies(), rule.Merge) {
			return nil, fmt.Errorf("rule for %q: unknown strategy %q", rule.At, rule.Merge)
		}
		if (rule.Merge == Keyed) != (len(rule.Key) > 0) {
			return nil, fmt.Errorf("rule for %q: keyed, and only keyed, needs a key", rule.At)
		}
		r.rules = append(r.rules, placedRule{at, rule})
	}
	for _, d := range p.Derived {
		at, err := ParsePattern(d.At)
		if err == nil && !at.EndsInName() {
			err = fmt.Errorf("the last step must be the name of a member")
		}
		if err != nil {
			return nil, fmt.Errorf("derivation of %q: %w", d.At, err)
		}
		r.derived = append(r.derived, placedDerivation{at, d.Compute})
	}
	for _, n := range p.Renames {
		at, err := ParsePattern(n.At)
		if err != nil {
			return nil, fmt.Errorf("renaming in %q: %w", n.At, err)
		}
		r.renames = append(r.renames, placedRename{at, n})
	}
	return r, r.checkSpellings()
}

func (p *Policy) strict() bool { return p != nil && p.Strict }
