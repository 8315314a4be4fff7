package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Find returns the policy for a target: the nearest jsonguard.json, beside it or in a directory above, that names it. nil
// is none. target is an absolute path without symbolic links, so that every door to a file finds the same policy.
//
// A file that neither the user, nor root, nor the owner of its directory owns is passed over, with a warning: anybody may
// put one into /tmp.
func Find(target string) (p *Policy, warnings []string, err error) {
	for dir := filepath.Dir(target); ; dir = filepath.Dir(dir) {
		file := filepath.Join(dir, Name)
		info, err := os.Stat(file)
		switch {
		case err != nil || !info.Mode().IsRegular():
		case !trusted(file, info):
			warnings = append(warnings, file+" belongs to somebody else than its directory: not used")
		default:
			p, err := Load(file)
			if err != nil {
				return nil, warnings, err
			}
			if p.Names(target) {
				return p, warnings, nil
			}
		}
		if filepath.Dir(dir) == dir {
			return nil, warnings, nil
		}
	}
}

// Stamp changes when Find may find something else for target: it tells the policy files beside and above it apart by
// size and time.
func Stamp(target string) (stamp string) {
	for dir := filepath.Dir(target); ; dir = filepath.Dir(dir) {
		stamp += FileStamp(filepath.Join(dir, Name))
		if filepath.Dir(dir) == dir {
			return stamp
		}
	}
}

// FileStamp is that of one file; "" where there is none.
func FileStamp(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %d %d\n", file, info.Size(), info.ModTime().UnixNano())
}

// Above returns the nearest policy in dir or above it, whatever files it names; nil is none.
func Above(dir string) (*Policy, error) {
	for ; ; dir = filepath.Dir(dir) {
		file := filepath.Join(dir, Name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && trusted(file, info) {
			return Load(file)
		}
		if filepath.Dir(dir) == dir {
			return nil, nil
		}
	}
}

// Load reads a policy file. The error is a *Error, or one of package os where the file cannot be read.
func Load(file string) (*Policy, error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Error{File: file, Text: "no such policy file"}
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, &Error{File: file, Text: "not a regular file"}
	case info.Size() > maxSize:
		return nil, &Error{File: file, Text: fmt.Sprintf("%d bytes long; a policy has at most %d", info.Size(), maxSize)}
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return Parse(file, src)
}

// Names says whether a policy is for a target, given by an absolute path. The policy file itself is none.
func (p *Policy) Names(target string) bool {
	_, yes := p.NamedBy(target)
	return yes
}

// NamedBy returns the pattern that names a target; "" where the policy is for every file.
func (p *Policy) NamedBy(target string) (pattern string, yes bool) {
	dir := filepath.Dir(p.File)
	if resolved, err := filepath.EvalSymlinks(dir); err == nil {
		dir = resolved
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	rel, err := filepath.Rel(dir, target)
	if err != nil || !filepath.IsLocal(rel) || rel == Name {
		return "", false
	}
	if p.Files == nil {
		return "", true
	}
	steps := strings.Split(filepath.ToSlash(rel), "/")
	for _, pattern := range p.Files {
		if matchFile(strings.Split(pattern, "/"), steps) {
			return pattern, true
		}
	}
	return "", false
}

const anySteps = "**"

// matchFile is linear in the steps of both: after a mismatch only the last ** can usefully take up one step more.
func matchFile(pattern, steps []string) bool {
	i, j := 0, 0
	star, taken := -1, 0
	for j < len(steps) {
		switch {
		case i < len(pattern) && pattern[i] == anySteps:
			star, taken = i, j
			i++
		case i < len(pattern) && matchStep(pattern[i], steps[j]):
			i++
			j++
		case star >= 0:
			taken++
			i, j = star+1, taken
		default:
			return false
		}
	}
	for i < len(pattern) && pattern[i] == anySteps {
		i++
	}
	return i == len(pattern)
}

func matchStep(pattern, step string) bool {
	ok, err := path.Match(pattern, step)
	return ok && err == nil
}
