// Package policy reads jsonguard.json: which files it is for, how their places merge, and how jsonguard keeps them.
//
// It promises that a policy is either understood whole or an error with line, column, key and, for a wrong word, the
// nearest one; that a policy takes effect below its own directory only; and that neither its patterns nor its programs
// can hold up a fold: patterns match in linear time (RE2, path patterns without backtracking), jq has no access to files
// or the environment, and whoever runs it sets a time limit.
//
// It does not decide what a policy means for a merge: that is package merge.
package policy

import (
	"errors"
	"fmt"
	"regexp"

	"jsonguard/internal/jq"
	"jsonguard/merge"
)

// Name of a policy file beside a target, or above it.
const Name = "jsonguard.json"

// Policy is a policy file, checked.
type Policy struct {
	File  string   // its path
	Files []string // patterns of targets, relative to its directory; none: every file below it
	Rules []Rule   // in the order of the file
	Merge *merge.Policy

	LockInside bool     // leave <target>.lock alone
	Base       string   // exec: "last-read" or "memory"; "": told from what the program does
	Torn       string   // "quarantine" (also when ""), or "additions": complete records of a torn write are folded
	History    *History // nil: none is kept
}

// History is which past versions are kept; 0: as the program that keeps them sees fit.
type History struct {
	Keep int // versions
	Days int
	Size int64 // bytes, all together
}

// Rule is one element of "rules". Exactly one of Merge, Derive and Rename is set.
type Rule struct {
	Line   int
	At     string
	Merge  merge.Strategy
	Key    []string
	Derive string
	Rename []Spelling
	When   string // of Rename: "fold", "normalize"
}

// Spelling is one element of "rename".
type Spelling struct{ Match, To string }

// What stands in a policy file under "when".
const (
	whenFold      = "fold"
	whenNormalize = "normalize"
)

// compile puts the rules into the form that package merge takes.
func (p *Policy) compile() error {
	for _, r := range p.Rules {
		switch {
		case r.Derive != "":
			program, err := jq.Compile(r.Derive)
			if err != nil {
				return err
			}
			p.Merge.Derived = append(p.Merge.Derived, merge.Derivation{At: r.At, Compute: program.Run})
		case r.Rename != nil:
			n := merge.Rename{At: r.At, OnRequest: r.When == whenNormalize}
			for _, s := range r.Rename {
				match, err := regexp.Compile(s.Match)
				if err != nil {
					return err
				}
				n.Spellings = append(n.Spellings, merge.Spelling{Match: match, To: s.To})
			}
			p.Merge.Renames = append(p.Merge.Renames, n)
		default:
			p.Merge.Rules = append(p.Merge.Rules, merge.Rule{At: r.At, Merge: r.Merge, Key: r.Key})
		}
	}
	return p.Merge.Check()
}

// ErrInvalid is what every *Error unwraps to.
var ErrInvalid = errors.New("invalid policy")

// Error is a policy file that is wrong.
type Error struct {
	File         string
	Line, Column int    // from 1; 0: the file as a whole
	Key          string // where it is wrong, as a pointer into the policy: /rules/2/merge
	Text         string
	Hint         string // may be empty
}

func (e *Error) Unwrap() error { return ErrInvalid }

func (e *Error) Error() string {
	text := e.File
	if e.Line > 0 {
		text += fmt.Sprintf(":%d:%d", e.Line, e.Column)
	}
	if e.Key != "" {
		text += ": " + e.Key
	}
	return text + ": " + e.Text
}
