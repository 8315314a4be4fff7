package policy

import (
	"fmt"
	"regexp"
	"strings"

	"jsonguard/merge"
)

// Spell is a pointer as the policy spells it. onRequest: also where only normalize would.
func (p *Policy) Spell(at merge.Pointer, onRequest bool) merge.Pointer {
	out := make(merge.Pointer, 0, len(at))
	for _, step := range at {
		to, _ := p.spellStep(out, step, onRequest)
		out = append(out, to)
	}
	return out
}

// spellStep maps the name of a member of the object at a place, and returns the rule that does it.
func (p *Policy) spellStep(at merge.Pointer, step string, onRequest bool) (to string, by *Rule) {
	for i := range p.Rules {
		r := &p.Rules[i]
		pattern, err := merge.ParsePattern(r.At)
		if err != nil || r.Rename == nil || r.When == whenNormalize && !onRequest || !pattern.Matches(at) {
			continue
		}
		for _, s := range r.Rename {
			if ok, _ := regexp.MatchString(s.Match, step); ok {
				return s.To, r
			}
		}
	}
	return step, nil
}

// Explained is what a policy says about one place, in the order in which it matters.
type Explained struct {
	Line   int    // in the policy file; 0: the default
	At     string // the pattern
	Says   string
	Decide bool // false: matches, but another rule decides
}

// Explain says which rules apply to a place, and why.
func (p *Policy) Explain(at merge.Pointer) (spelled merge.Pointer, says []Explained) {
	for _, step := range at {
		to, by := p.spellStep(spelled, step, true)
		if by != nil {
			text := fmt.Sprintf("%q is spelled %q", step, to)
			if by.When == whenNormalize {
				text += ", by jsonguard normalize only"
			}
			says = append(says, Explained{by.Line, by.At, text, true})
			if by.When == whenNormalize {
				to = step
			}
		}
		spelled = append(spelled, to)
	}
	decided := false
	for i := len(p.Rules) - 1; i >= 0; i-- {
		r := p.Rules[i]
		pattern, err := merge.ParsePattern(r.At)
		if err != nil || !pattern.Matches(spelled) {
			continue
		}
		switch {
		case r.Derive != "":
			says = append(says, Explained{r.Line, r.At, "computed after the merge: " + r.Derive, true})
		case r.Merge != "":
			text := string(r.Merge)
			if len(r.Key) > 0 {
				text += " by " + strings.Join(r.Key, ", ")
			}
			says = append(says, Explained{r.Line, r.At, text + ": " + meaning[r.Merge], !decided})
			decided = true
		case r.Rename != nil:
			says = append(says, Explained{r.Line, r.At, fmt.Sprintf("names of its members are mapped (%d spellings)", len(r.Rename)), true})
		}
	}
	if !decided {
		says = append(says, Explained{0, "", "the default: " + meaning[""], true})
	}
	return spelled, says
}

// meaning of each strategy, for people.
var meaning = map[merge.Strategy]string{
	"":             "the later committer's scalar wins, objects and lists are merged inside, a record that was deleted and changed is kept",
	merge.Ours:     "the later committer wins",
	merge.Theirs:   "the earlier committer wins",
	merge.First:    "the earlier committer's value is taken whole",
	merge.Last:     "the later committer's value is taken whole",
	merge.Fail:     "a change that meets another is refused",
	merge.Sum:      "what each writer added is added",
	merge.Max:      "the greater number",
	merge.Min:      "the smaller number",
	merge.Delete:   "a deletion wins over a change",
	merge.Atomic:   "one value, not merged inside",
	merge.Append:   "the list only grows",
	merge.Set:      "an element is there once",
	merge.Keyed:    "elements are records",
	merge.Renumber: "two members that were added under one integer are two",
}

// Advice is something about a policy that is no error.
type Advice struct {
	Line int // 0: nothing that stands in it
	Text string
}

// Advise looks for rules that do nothing and for places that have none. doc, a document the policy is for, may be nil.
func (p *Policy) Advise(doc *merge.Document) []Advice {
	var out []Advice
	for i, r := range p.Rules {
		for _, later := range p.Rules[i+1:] {
			if r.Merge != "" && later.Merge != "" && r.At == later.At {
				out = append(out, Advice{r.Line, fmt.Sprintf("%s never decides: line %d is for the same place", r.At, later.Line)})
				break
			}
		}
	}
	if doc == nil || doc.Missing() {
		return out
	}
	v := visitor{policy: p, doc: doc, matched: make([]bool, len(p.Rules))}
	v.visit(nil)
	for i, r := range p.Rules {
		if !v.matched[i] {
			out = append(out, Advice{r.Line, fmt.Sprintf("%s is nowhere in the document", r.At)})
		}
	}
	return append(out, v.advice...)
}

// visitor walks a document once.
type visitor struct {
	policy  *Policy
	doc     *merge.Document
	matched []bool
	advice  []Advice
	said    map[string]bool
}

func (v *visitor) visit(at merge.Pointer) {
	for i, r := range v.policy.Rules {
		pattern, err := merge.ParsePattern(r.At)
		if err == nil && !v.matched[i] {
			if r.Derive != "" {
				pattern = pattern[:len(pattern)-1] // the value may not be there yet
			}
			v.matched[i] = pattern.Matches(at)
		}
	}
	var summed, means []string
	_ = v.doc.Each(at, func(key string, raw []byte) bool {
		here := append(at[:len(at):len(at)], key)
		switch rule, _ := v.policy.Merge.Rule(here); {
		case rule.Merge == merge.Sum:
			summed = append(summed, rule.At)
		case meanName().MatchString(key) && !v.derived(here):
			means = append(means, key)
		}
		v.visit(here)
		return true
	})
	if len(summed) == 0 {
		return
	}
	for _, name := range means {
		text := fmt.Sprintf("%s stands beside what is summed (%s), and has no \"derive\"", append(at[:len(at):len(at)], name), summed[0])
		if key := name + summed[0]; !v.said[key] {
			if v.said == nil {
				v.said = map[string]bool{}
			}
			v.said[key] = true
			v.advice = append(v.advice, Advice{0, text})
		}
	}
}

func (v *visitor) derived(at merge.Pointer) bool {
	for _, d := range v.policy.Merge.Derived {
		if pattern, err := merge.ParsePattern(d.At); err == nil && pattern.Matches(at) {
			return true
		}
	}
	return false
}
