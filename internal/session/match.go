package session

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Guessed files are those that a program opens for writing under the working directory and whose name says JSON.
var guessedSuffixes = []string{".json", ".jsonl", ".ndjson"}

// skippedDirs hold what tools make and make again: nobody merges there. Directories whose name begins with a dot are
// skipped too.
var skippedDirs = []string{"node_modules", "dist", "build", "target"}

// guessLimit is the size in bytes up to which a file is guarded without having been named.
const guessLimit = 256 << 20

// matcher says which files are guarded.
type matcher struct {
	dir      string // guessed files are below it
	guesses  bool
	patterns []string
}

// newMatcher takes patterns relative to dir, in which * is any part of one name and ** any number of directories. Without
// patterns it guesses.
func newMatcher(dir string, patterns []string) matcher {
	return matcher{dir: dir, guesses: len(patterns) == 0}.with(patterns)
}

// with adds patterns.
func (m matcher) with(patterns []string) matcher {
	m.patterns = slices.Clone(m.patterns)
	for _, p := range patterns {
		if !filepath.IsAbs(p) {
			p = filepath.Join(m.dir, p)
		}
		m.patterns = append(m.patterns, filepath.Clean(p))
	}
	return m
}

// names says whether a file was asked for, and is not guessed.
func (m matcher) names(file string) bool {
	return slices.ContainsFunc(m.patterns, func(p string) bool { return matchPath(p, file) })
}

// match says whether the file at an absolute path is guarded, if it turns out to be a regular file.
func (m matcher) match(file string) bool {
	return m.names(file) || m.guesses && m.guess(file)
}

func (m matcher) guess(file string) bool {
	below, ok := strings.CutPrefix(file, strings.TrimSuffix(m.dir, "/")+"/")
	if !ok || !guessedName(path.Base(file)) {
		return false
	}
	dirs := strings.Split(path.Dir(below), "/")
	return !slices.ContainsFunc(dirs, func(d string) bool {
		return slices.Contains(skippedDirs, d) || len(d) > 1 && d[0] == '.'
	})
}

func guessedName(name string) bool {
	return slices.ContainsFunc(guessedSuffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// named says whether a file of this name may concern a guarded one, wherever it is: it may be one, its lock file, or
// the temporary file that is renamed over it. It must not allocate.
func (m matcher) named(name string) bool {
	if m.guesses && (strings.Contains(name, ".json") || strings.Contains(name, ".ndjson")) {
		return true
	}
	for _, p := range m.patterns {
		if stem := literalStem(p); stem == "" || strings.Contains(name, stem) {
			return true
		}
	}
	return false
}

// literalStem is the longest literal part of a pattern's last element, without the extension, that every name it
// matches contains: history.tmp belongs to history.json.
func literalStem(pattern string) string {
	last := pattern[strings.LastIndexByte(pattern, '/')+1:]
	if i := strings.LastIndexByte(last, '.'); i > 0 {
		last = last[:i]
	}
	if i := strings.IndexAny(last, "[\\"); i >= 0 {
		last = last[:i]
	}
	longest := ""
	for last != "" {
		var part string
		if i := strings.IndexAny(last, "*?"); i >= 0 {
			part, last = last[:i], last[i+1:]
		} else {
			part, last = last, ""
		}
		if len(part) > len(longest) {
			longest = part
		}
	}
	return longest
}

// Matches says whether an absolute pattern, as Options.Files has them, names a file.
func Matches(pattern, file string) bool { return matchPath(pattern, file) }

// matchPath matches element by element; ** stands for any number of elements.
func matchPath(pattern, file string) bool {
	return matchElements(strings.Split(pattern, "/"), strings.Split(file, "/"))
}

func matchElements(pattern, file []string) bool {
	switch {
	case len(pattern) == 0:
		return len(file) == 0
	case pattern[0] == "**":
		for i := range len(file) + 1 {
			if matchElements(pattern[1:], file[i:]) {
				return true
			}
		}
		return false
	case len(file) == 0:
		return false
	}
	ok, err := path.Match(pattern[0], file[0])
	// What is no valid pattern is a name.
	return (ok || err != nil && pattern[0] == file[0]) && matchElements(pattern[1:], file[1:])
}

// tempOf says whether a name looks like a temporary file for target: db.json.tmp, .db.json.x7, db.tmp.
func tempOf(name, target string) bool {
	if guessedName(name) || strings.HasSuffix(name, ".lock") {
		return false
	}
	if strings.Contains(name, target) {
		return name != target
	}
	stem := literalStem(target)
	return stem != "" && strings.Contains(name, stem) &&
		slices.ContainsFunc([]string{"tmp", "temp", "new", "part", "swp"}, func(s string) bool { return strings.Contains(name, s) })
}
