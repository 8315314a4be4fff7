package policy

import (
	"errors"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"jsonguard/internal/jq"
	"jsonguard/merge"
)

// Limits on what a policy may hold, so that a hostile one costs nothing: every place of a change meets every rule.
const (
	maxRules   = 1000
	maxPattern = 1000 // bytes of a pattern, a name or a program
)

var (
	topKeys    = []string{"files", "rules", "strict", "adopt", "duplicates", "lock", "base", "torn", "conflicts", "history", "$schema"}
	ruleKeys   = []string{"at", "merge", "key", "derive", "rename", "when"}
	duplicates = []string{"reject", "collapse"}
	bases      = []string{"last-read", "memory"}
	torns      = []string{"quarantine", "additions"}
	whens      = []string{whenFold, whenNormalize}
)

// Parse reads a policy. file is its path, for messages and for what it names. The error is a *Error.
func Parse(file string, src []byte) (*Policy, error) {
	p := &parser{file: file, src: src}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	out := &Policy{File: file, Merge: &merge.Policy{}}
	if err := p.policy(root, out); err != nil {
		return nil, err
	}
	if err := out.compile(); err != nil {
		return nil, p.at(0, "/rules", "", "%v", err) // each rule was checked: what is left concerns several
	}
	return out, nil
}

func (p *parser) policy(root *value, out *Policy) error {
	return p.object(root, topKeys, func(name string, v *value) (err error) {
		switch name {
		case "$schema":
			_, err = p.str(v)
		case "files":
			out.Files, err = p.files(v)
		case "rules":
			out.Rules, err = p.rules(v)
		case "strict":
			out.Merge.Strict, err = p.boolean(v)
		case "adopt":
			out.Merge.Adopt, err = p.boolean(v)
		case "duplicates":
			out.Merge.Duplicates, err = p.word(v, duplicates)
		case "lock":
			_, err = p.word(v, []string{"inside"})
			out.LockInside = err == nil
		case "base":
			out.Base, err = p.word(v, bases)
		case "torn":
			out.Torn, err = p.word(v, torns)
		case "conflicts":
			_, err = p.word(v, []string{"log"})
		case "history":
			out.History, err = p.history(v)
		}
		return err
	})
}

func (p *parser) history(v *value) (*History, error) {
	h := &History{}
	err := p.object(v, []string{"keep", "days", "size"}, func(name string, v *value) (err error) {
		switch name {
		case "keep":
			h.Keep, err = p.count(v)
		case "days":
			h.Days, err = p.count(v)
		case "size":
			h.Size, err = p.size(v)
		}
		return err
	})
	return h, err
}

var sizePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([1-9][0-9]{0,5}) ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)$`)
})

var sizeUnits = map[string]int64{
	"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
}

// size is a number of bytes, or a text with a unit.
func (p *parser) size(v *value) (int64, error) {
	if v.kind == '0' {
		n, err := p.count(v)
		return int64(n), err
	}
	m := sizePattern().FindStringSubmatch(v.text)
	if v.kind != '"' || m == nil {
		return 0, p.wrong(v, `"500MB", "2GiB"`, "want a number of bytes, or one with a unit")
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n * sizeUnits[m[2]], err
}

func (p *parser) rules(v *value) ([]Rule, error) {
	if err := p.array(v); err != nil {
		return nil, err
	}
	if len(v.elements) > maxRules {
		return nil, p.wrong(v, "", "%d rules; a policy has at most %d", len(v.elements), maxRules)
	}
	var rules []Rule
	for _, e := range v.elements {
		r, err := p.rule(e)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func (p *parser) rule(v *value) (Rule, error) {
	r := Rule{Line: p.line(v)}
	at := map[string]*value{}
	err := p.object(v, ruleKeys, func(name string, v *value) (err error) {
		at[name] = v
		switch name {
		case "at":
			r.At, err = p.pattern(v)
		case "merge":
			var word string
			word, err = p.word(v, strategyNames())
			r.Merge = merge.Strategy(word)
		case "key":
			r.Key, err = p.key(v)
		case "derive":
			if r.Derive, err = p.str(v); err == nil {
				if _, jerr := jq.Compile(r.Derive); jerr != nil {
					err = p.wrong(v, "a jq program over the object that holds the value: .success / .total", "jq: %v", jerr)
				}
			}
		case "rename":
			r.Rename, err = p.spellings(v)
		case "when":
			r.When, err = p.word(v, whens)
		}
		return err
	})
	if err != nil {
		return r, err
	}
	return r, p.coherent(v, r, at)
}

// coherent checks what the keys of a rule mean together.
func (p *parser) coherent(v *value, r Rule, at map[string]*value) error {
	var kinds []string
	for _, name := range []string{"merge", "derive", "rename"} {
		if at[name] != nil {
			kinds = append(kinds, name)
		}
	}
	switch {
	case at["at"] == nil:
		return p.wrong(v, `"at": "/models/*/total" says which places it is for`, "a rule without \"at\"")
	case len(kinds) == 0:
		return p.wrong(v, "", "a rule has one of \"merge\", \"derive\" and \"rename\"")
	case len(kinds) > 1:
		return p.wrong(at[kinds[1]], "two rules for the same place are fine", "a rule has one of \"merge\", \"derive\" and \"rename\", not %q and %q", kinds[0], kinds[1])
	case r.Merge == merge.Keyed && at["key"] == nil:
		return p.wrong(at["merge"], `"key": ["id"] names the members that together name an element`, "\"keyed\" needs \"key\"")
	case r.Merge != merge.Keyed && at["key"] != nil:
		return p.wrong(at["key"], "", "only \"keyed\" has a \"key\"")
	case at["when"] != nil && at["rename"] == nil:
		return p.wrong(at["when"], "", "only \"rename\" has a \"when\"")
	}
	if at["derive"] != nil {
		if pattern, _ := merge.ParsePattern(r.At); !pattern.EndsInName() {
			return p.wrong(at["at"], "/models/*/rate, not /models/*", "a derived value is a member: the last step must be its name")
		}
	}
	one := merge.Policy{}
	if at["rename"] != nil {
		n := merge.Rename{At: r.At}
		for _, s := range r.Rename {
			n.Spellings = append(n.Spellings, merge.Spelling{Match: regexp.MustCompile(s.Match), To: s.To})
		}
		one.Renames = []merge.Rename{n}
	}
	if err := one.Check(); err != nil {
		return p.wrong(at["rename"], "leave the name that is right as it is: anchor the pattern with ^ and $", "%v", err)
	}
	return nil
}

func strategyNames() []string {
	var names []string
	for _, s := range merge.Strategies() {
		names = append(names, string(s))
	}
	return names
}

func (p *parser) pattern(v *value) (string, error) {
	s, err := p.str(v)
	if err != nil {
		return "", err
	}
	if _, err := merge.ParsePattern(s); err != nil {
		return "", p.wrong(v, "", "%v", err)
	}
	return s, nil
}

func (p *parser) key(v *value) ([]string, error) {
	if v.kind == '"' {
		s, err := p.str(v)
		return []string{s}, err
	}
	if err := p.array(v); err != nil {
		return nil, err
	}
	var names []string
	for _, e := range v.elements {
		s, err := p.str(e)
		if err != nil {
			return nil, err
		}
		if slices.Contains(names, s) {
			return nil, p.wrong(e, "", "%q is in the key twice", s)
		}
		names = append(names, s)
	}
	if len(names) == 0 {
		return nil, p.wrong(v, `"key": ["id"]`, "an empty key names nothing")
	}
	return names, nil
}

func (p *parser) spellings(v *value) ([]Spelling, error) {
	if err := p.array(v); err != nil {
		return nil, err
	}
	spellings := []Spelling{}
	for _, e := range v.elements {
		var s Spelling
		seen := map[string]bool{}
		err := p.object(e, []string{"match", "to"}, func(name string, v *value) (err error) {
			seen[name] = true
			if name == "to" {
				s.To, err = p.str(v)
				return err
			}
			if s.Match, err = p.str(v); err == nil {
				if _, rerr := regexp.Compile(s.Match); rerr != nil {
					err = p.wrong(v, "syntax: https://golang.org/s/re2syntax", "%v", rerr)
				}
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if !seen["match"] || !seen["to"] {
			return nil, p.wrong(e, "", "a spelling has \"match\" and \"to\"")
		}
		spellings = append(spellings, s)
	}
	if len(spellings) == 0 {
		return nil, p.wrong(v, "", "\"rename\" without a spelling")
	}
	return spellings, nil
}

func (p *parser) files(v *value) ([]string, error) {
	if err := p.array(v); err != nil {
		return nil, err
	}
	files := []string{}
	for _, e := range v.elements {
		s, err := p.str(e)
		if err != nil {
			return nil, err
		}
		if err := checkFilePattern(s); err != nil {
			return nil, p.wrong(e, "a path below the policy's directory, with * and **: runs/**/*.json", "%v", err)
		}
		files = append(files, s)
	}
	if len(files) == 0 {
		return nil, p.wrong(v, "leave \"files\" out for every file below the policy's directory", "a policy for no file")
	}
	return files, nil
}

func checkFilePattern(s string) error {
	switch {
	case s == "":
		return errors.New("an empty path")
	case path.IsAbs(s) || len(s) > 1 && s[1] == ':':
		return errors.New("an absolute path: a policy is for files below its own directory")
	case strings.Contains(s, `\`):
		return errors.New("a backslash: steps are separated by /")
	}
	for step := range strings.SplitSeq(s, "/") {
		switch {
		case step == "..":
			return errors.New("a path that leaves the policy's directory")
		case step == "" || step == ".":
			return errors.New("a path with an empty step")
		case strings.Contains(step, anySteps) && step != anySteps:
			return errors.New("** stands alone in its step")
		}
		if _, err := path.Match(step, ""); err != nil {
			return errors.New("a bracket without its end")
		}
	}
	return nil
}

// object calls f for every member, whose name must be one of names.
func (p *parser) object(v *value, names []string, f func(string, *value) error) error {
	if v.kind != '{' {
		return p.wrong(v, "", "%s, not an object", kindName(v.kind))
	}
	for _, m := range v.members {
		if !slices.Contains(names, m.name) {
			return p.at(m.offset, m.value.key, didYouMean(m.name, names), "unknown key %q", m.name)
		}
		if err := f(m.name, m.value); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) array(v *value) error {
	if v.kind != '[' {
		return p.wrong(v, "", "%s, not an array", kindName(v.kind))
	}
	return nil
}

func (p *parser) str(v *value) (string, error) {
	switch {
	case v.kind != '"':
		return "", p.wrong(v, "", "%s, not a string", kindName(v.kind))
	case len(v.text) > maxPattern:
		return "", p.wrong(v, "", "%d bytes long; at most %d are taken", len(v.text), maxPattern)
	}
	return v.text, nil
}

func (p *parser) word(v *value, words []string) (string, error) {
	s, err := p.str(v)
	if err == nil && !slices.Contains(words, s) {
		err = p.wrong(v, didYouMean(s, words), "unknown value %q", s)
	}
	return s, err
}

func (p *parser) boolean(v *value) (bool, error) {
	if v.kind != 't' && v.kind != 'f' {
		return false, p.wrong(v, "", "%s, not true or false", kindName(v.kind))
	}
	return v.kind == 't', nil
}

func (p *parser) count(v *value) (int, error) {
	n, err := strconv.Atoi(v.text)
	if v.kind != '0' || err != nil || n < 1 {
		return 0, p.wrong(v, "", "want a whole number from 1")
	}
	return n, nil
}
