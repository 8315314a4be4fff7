package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"jsonguard/merge"
)

// Lost is a conflict that was logged. A nil value was missing.
type Lost struct {
	At                 string
	Base, Ours, Theirs *string // JSON text
}

// Suggestion is a rule that would have settled what was seen.
type Suggestion struct {
	Rule      map[string]any // as in a policy file
	Evidence  string
	Conflicts int // that it would have settled
}

// Suggest proposes rules from what lost and from what the document looks like now. Places that p, which may be nil, has a
// rule for already are left out.
func Suggest(doc *merge.Document, lost []Lost, p *Policy) []Suggestion {
	s := &suggester{doc: doc, policy: p, kinds: map[string]bool{}}
	s.conflicts(lost)
	s.spellings(nil, 0)
	slices.SortStableFunc(s.out, func(a, b Suggestion) int { return cmp.Compare(b.Conflicts, a.Conflicts) })
	return s.out
}

type suggester struct {
	doc    *merge.Document
	policy *Policy
	kinds  map[string]bool // pointer → its members are records of one kind
	out    []Suggestion
}

// place is where conflicts were that look alike.
type place struct {
	pattern merge.Pointer
	sample  merge.Pointer // one of them
	lost    []Lost
}

func (s *suggester) conflicts(lost []Lost) {
	var places []*place
	byPattern := map[string]*place{}
	for _, l := range lost {
		at, err := merge.ParsePointer(l.At)
		if err != nil || len(at) == 0 || l.Ours == nil && l.Theirs == nil || s.decided(at) {
			continue
		}
		pattern, sample := s.generalize(at), at
		if table := s.integerTable(at); l.Base == nil && table >= 0 {
			pattern, sample = append(pattern[:table:table], anyInteger), at[:table]
		}
		key := pattern.String()
		if byPattern[key] == nil {
			byPattern[key] = &place{pattern: pattern, sample: sample}
			places = append(places, byPattern[key])
		}
		byPattern[key].lost = append(byPattern[key].lost, l)
	}
	for _, p := range places {
		s.judge(p)
	}
}

// decided: the policy has a word on it that is not the default.
func (s *suggester) decided(at merge.Pointer) bool {
	if s.policy == nil {
		return false
	}
	for i := range len(at) + 1 {
		rule, _ := s.policy.Merge.Rule(at[:i])
		if rule.Merge == merge.Renumber && i < len(at) || rule.Merge == merge.Keyed && i < len(at) || rule.Merge != "" && i == len(at) {
			return true
		}
	}
	return slices.ContainsFunc(s.policy.Merge.Derived, func(d merge.Derivation) bool {
		pattern, err := merge.ParsePattern(d.At)
		return err == nil && pattern.Matches(at)
	})
}

// anyInteger ends the pattern of a table whose members are named by integers.
const anyInteger = "\x00integer"

// integerTable is the length of the pointer to an object whose members are all named by integers, -1 without one.
func (s *suggester) integerTable(at merge.Pointer) int {
	for i := range at {
		if _, err := strconv.ParseUint(at[i], 10, 63); err != nil || s.kind(at[:i]) != '{' {
			continue
		}
		all := true
		_ = s.doc.Each(at[:i], func(key string, _ []byte) bool {
			_, err := strconv.ParseUint(key, 10, 63)
			all = err == nil
			return all
		})
		if all {
			return i
		}
	}
	return -1
}

func (s *suggester) kind(at merge.Pointer) byte {
	raw, err := s.doc.Get(at)
	if err != nil || len(raw) == 0 {
		return 0
	}
	return raw[0]
}

// generalize puts a wildcard for every step into a list or into records of one kind.
func (s *suggester) generalize(at merge.Pointer) merge.Pointer {
	out := slices.Clone(at)
	for i := range at {
		if s.kind(at[:i]) == '[' || s.records(at[:i]) {
			out[i] = "*"
		}
	}
	return out
}

// records says whether all members of an object are objects that share a member name with the first.
func (s *suggester) records(at merge.Pointer) bool {
	key := at.String()
	if known, there := s.kinds[key]; there {
		return known
	}
	count, alike := 0, s.kind(at) == '{'
	var first map[string]bool
	if alike {
		_ = s.doc.Each(at, func(name string, raw []byte) bool {
			count++
			names := map[string]bool{}
			shares := first == nil
			if raw[0] != '{' {
				alike = false
				return false
			}
			_ = s.doc.Each(append(at[:len(at):len(at)], name), func(member string, _ []byte) bool {
				names[member] = true
				shares = shares || first[member]
				return true
			})
			if first == nil {
				first = names
			}
			alike = shares
			return alike
		})
	}
	s.kinds[key] = alike && count >= 2
	return s.kinds[key]
}

func (s *suggester) judge(p *place) {
	n := len(p.lost)
	if p.pattern[len(p.pattern)-1] == anyInteger {
		s.add(n, map[string]any{"at": p.pattern[:len(p.pattern)-1].String(), "merge": "renumber"},
			"%s in what two writers added under one integer key", conflicts(n))
		return
	}
	at := p.pattern.String()
	if list := s.list(p); list >= 0 {
		array := p.sample[:list]
		if key := s.uniqueKey(array); key != "" {
			s.add(n, map[string]any{"at": p.pattern[:list].String(), "merge": "keyed", "key": []string{key}},
				"%s in elements of a list whose %q is unique", conflicts(n), key)
			return
		}
	}
	numbers, increments := 0, 0
	for _, l := range p.lost {
		base, ours, theirs := number(l.Base), number(l.Ours), number(l.Theirs)
		if l.Base == nil {
			base = 0
		}
		if math.IsNaN(base) || math.IsNaN(ours) || math.IsNaN(theirs) {
			continue
		}
		numbers++
		if ours >= base && theirs >= base {
			increments++
		}
	}
	if numbers < n {
		return // no numbers: the later one wins, which is the default
	}
	if jq, seen := s.quotient(p.sample); jq != "" {
		s.add(n, map[string]any{"at": at, "derive": jq}, "%s; it is %s in %s", conflicts(n), jq, records(seen))
		return
	}
	if increments == n && !meanName().MatchString(p.pattern[len(p.pattern)-1]) {
		s.add(n, map[string]any{"at": at, "merge": "sum"}, "%s, all increments", conflicts(n))
		s.means(p)
	}
}

func conflicts(n int) string { return plural(n, "conflict") }
func records(n int) string   { return plural(n, "record") }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (s *suggester) add(n int, rule map[string]any, format string, args ...any) {
	made := Suggestion{Rule: rule, Evidence: fmt.Sprintf(format, args...), Conflicts: n}
	for i, have := range s.out {
		if have.Rule["at"] == rule["at"] && have.Rule["derive"] == rule["derive"] && have.Rule["merge"] == rule["merge"] {
			if n > have.Conflicts { // better evidence
				s.out[i] = made
			}
			return
		}
	}
	s.out = append(s.out, made)
}

// list is the length of the pointer to the innermost list around a place, -1 without one.
func (s *suggester) list(p *place) int {
	for i := len(p.sample) - 1; i >= 0; i-- {
		if s.kind(p.sample[:i]) == '[' {
			return i
		}
	}
	return -1
}

// uniqueKey is a member that every element of a list has, each with another scalar.
func (s *suggester) uniqueKey(list merge.Pointer) string {
	for _, name := range []string{"id", "_id", "uuid", "key", "name"} {
		seen, unique := map[string]bool{}, true
		_ = s.doc.Each(list, func(i string, _ []byte) bool {
			raw, err := s.doc.Get(append(list[:len(list):len(list)], i, name))
			unique = err == nil && raw[0] != '{' && raw[0] != '[' && !seen[string(raw)]
			seen[string(raw)] = true
			return unique
		})
		if unique && len(seen) >= 2 {
			return name
		}
	}
	return ""
}

// meanName is how people call what is derived from counts.
var meanName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(^|_|-|\b)(rate|ratio|mean|avg|average|percent(age)?|pct|share|accuracy)($|_|-|\b)|(Rate|Ratio|Mean|Avg|Average|Percent)$`)
})

// means proposes what is beside a sum and looks like a mean.
func (s *suggester) means(p *place) {
	holder := p.sample[:len(p.sample)-1]
	_ = s.doc.Each(holder, func(name string, _ []byte) bool {
		here := append(holder[:len(holder):len(holder)], name)
		if !meanName().MatchString(name) || s.decided(here) {
			return true
		}
		if jq, seen := s.quotient(here); jq != "" {
			at := append(p.pattern[:len(p.pattern)-1:len(p.pattern)-1], name).String()
			s.add(0, map[string]any{"at": at, "derive": jq}, "it is %s in %s, and stands beside a sum", jq, records(seen))
		}
		return true
	})
}

// quotient finds two siblings whose quotient a value is, in every record of its kind.
func (s *suggester) quotient(at merge.Pointer) (jq string, seen int) {
	if len(at) == 0 {
		return "", 0
	}
	name := at[len(at)-1]
	holders := []merge.Pointer{at[:len(at)-1]}
	if up := len(at) - 2; up >= 0 && (s.records(at[:up]) || s.kind(at[:up]) == '[') {
		holders = nil
		_ = s.doc.Each(at[:up], func(key string, raw []byte) bool {
			holders = append(holders, append(at[:up:up], key))
			return true
		})
	}
	var all []map[string]float64
	for _, h := range holders {
		values := map[string]float64{}
		_ = s.doc.Each(h, func(key string, raw []byte) bool {
			text := string(raw)
			if v := number(&text); !math.IsNaN(v) {
				values[key] = v
			}
			return true
		})
		if v, there := values[name]; there && v != 0 {
			all = append(all, values)
		}
	}
	if len(all) == 0 {
		return "", 0
	}
	var names []string
	for key := range all[0] {
		if key != name {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	for _, scale := range []float64{1, 100} {
		for _, a := range names {
			for _, b := range names {
				if a != b && everywhere(all, name, a, b, scale) {
					jq := fmt.Sprintf("%s / %s", jqName(a), jqName(b))
					if scale != 1 {
						jq = fmt.Sprintf("100 * %s", jq)
					}
					return jq, len(all)
				}
			}
		}
	}
	return "", 0
}

func everywhere(all []map[string]float64, name, a, b string, scale float64) bool {
	telling := false // one over one proves nothing
	for _, v := range all {
		if math.Abs(v[name]-scale*v[a]/v[b]) > 1e-9*math.Abs(v[name]) || v[b] == 0 {
			return false
		}
		telling = telling || v[a] != v[b] && v[b] != 1
	}
	return telling
}

var plainName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_]\w*$`) })

func jqName(name string) string {
	if plainName().MatchString(name) {
		return "." + name
	}
	return "." + strconv.Quote(name)
}

func number(text *string) float64 {
	if text == nil {
		return math.NaN()
	}
	v, err := json.Number(strings.TrimSpace(*text)).Float64()
	if err != nil {
		return math.NaN()
	}
	return v
}

// spellings proposes renames for keys of records that differ only in case, in separators, or in a number at their end.
func (s *suggester) spellings(at merge.Pointer, depth int) {
	const deepest = 4
	if depth > deepest || s.kind(at) != '{' {
		return
	}
	if s.records(at) {
		s.spellingsOf(at)
	}
	_ = s.doc.Each(at, func(key string, raw []byte) bool {
		if raw[0] == '{' {
			s.spellings(append(at[:len(at):len(at)], key), depth+1)
		}
		return true
	})
}

var numericSuffix = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(.+)[-_.]\d{1,2}$`) })

func (s *suggester) spellingsOf(at merge.Pointer) {
	groups := map[string][]string{}
	var order []string
	bare := map[string]bool{}
	var names []string
	_ = s.doc.Each(at, func(name string, _ []byte) bool {
		names = append(names, name)
		bare[fold(name)] = true
		return true
	})
	for _, name := range names {
		stem := fold(name)
		if m := numericSuffix().FindStringSubmatch(name); m != nil && bare[fold(m[1])] {
			stem = fold(m[1]) // a number that is part of a version has no name without it
		}
		if groups[stem] == nil {
			order = append(order, stem)
		}
		groups[stem] = append(groups[stem], name)
	}
	var spellings []map[string]any
	var evidence []string
	for _, stem := range order {
		group := groups[stem]
		if len(group) < 2 || s.renamed(at, group) {
			continue
		}
		to := properName(group)
		spellings = append(spellings, map[string]any{"match": spellingPattern(group), "to": to})
		how := "case or separators"
		if slices.ContainsFunc(group, func(name string) bool { return fold(name) != stem }) {
			how = "a numeric suffix"
		}
		evidence = append(evidence, fmt.Sprintf("%d keys differ only in %s (%s)", len(group), how, strings.Join(group, ", ")))
	}
	if spellings != nil {
		s.add(0, map[string]any{"at": s.generalize(at).String(), "rename": spellings}, "%s", strings.Join(evidence, "; "))
	}
}

// renamed: the policy brings them together already, as soon as somebody normalizes.
func (s *suggester) renamed(at merge.Pointer, group []string) bool {
	if s.policy == nil {
		return false
	}
	to := map[string]bool{}
	for _, name := range group {
		to[s.policy.Spell(append(at[:len(at):len(at)], name), true)[len(at)]] = true
	}
	return len(to) == 1
}

func fold(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == ' ' {
			return '-'
		}
		return r
	}, strings.ToLower(name))
}

// properName is the one that somebody took care over: with capitals, else the shortest.
func properName(group []string) string {
	best := group[0]
	for _, name := range group[1:] {
		a, b := name != strings.ToLower(name), best != strings.ToLower(best)
		if a && !b || a == b && len(name) < len(best) {
			best = name
		}
	}
	return best
}

func spellingPattern(group []string) string {
	shortest := slices.MinFunc(group, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	parts := strings.FieldsFunc(shortest, func(r rune) bool { return r == '-' || r == '_' || r == ' ' })
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	pattern := "(?i)^" + strings.Join(parts, "[-_ ]")
	if slices.ContainsFunc(group, func(name string) bool { return fold(name) != fold(shortest) }) {
		pattern += `([-_.]\d{1,2})?`
	}
	return pattern + "$"
}
