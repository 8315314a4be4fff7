package main

import (
	"path/filepath"
	"strings"

	"jsonguard/internal/policy"
	"jsonguard/internal/session"
)

// underPolicy reads the policy before a program starts: what is wrong in it is said then, and not in the middle of a run.
// Without --file the policy says which files are guarded; a policy that names none leaves it to guessing.
func (a *app) underPolicy(dir string, files []string) (patterns []string, base session.Base, err error) {
	patterns = files
	var p *policy.Policy
	switch {
	case a.policyFile != "":
		p, err = policy.Load(a.policyFile)
	case len(files) == 0:
		p, err = policy.Above(dir)
	default:
		for _, file := range files { // each is read now; the first one with a policy says how its programs write
			var one *policy.Policy
			if one, err = a.policyOfPattern(file); err != nil {
				break
			}
			if p == nil {
				p = one
			}
		}
	}
	if err != nil || p == nil {
		return patterns, base, err
	}
	if len(files) == 0 {
		for _, pattern := range p.Files {
			patterns = append(patterns, filepath.Join(filepath.Dir(absolute(p.File)), pattern))
		}
	}
	switch p.Base {
	case "last-read":
		base = session.BaseLastRead
	case "memory":
		base = session.BaseMemory
	}
	return patterns, base, nil
}

// policyOfPattern is the policy of a file, or the one above all files that a pattern may name.
func (a *app) policyOfPattern(file string) (*policy.Policy, error) {
	i := strings.IndexAny(file, "*?[")
	if i < 0 {
		p, warnings, err := policy.Find(file)
		for _, w := range warnings {
			a.warn(w)
		}
		return p, err
	}
	return policy.Above(filepath.Dir(file[:i] + "x"))
}
