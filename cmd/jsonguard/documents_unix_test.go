//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// documents are read from where the tests of this package run.
func documents(t *testing.T) map[string]string {
	names, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	adr, err := filepath.Glob("../../docs/adr/*.md")
	require.NoError(t, err)
	texts := map[string]string{}
	for _, name := range append(append(names, adr...), "../../README.md", "../../CHANGELOG.md", "../../CONTRIBUTING.md", "../../tests/README.md") {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		texts[name] = string(text)
	}
	return texts
}

// commandsIn finds what a document has as a command line of ours: behind a prompt, or in backquotes.
func commandsIn(text string) (lines []string) {
	for _, m := range regexp.MustCompile("(?m)^    \\$ (.*)$|`([^`\n]*)`").FindAllStringSubmatch(text, -1) {
		for _, part := range regexp.MustCompile(`&&|\||;`).Split(m[1]+m[2], -1) {
			if part = strings.TrimSpace(part); strings.HasPrefix(part, "jsonguard ") {
				lines = append(lines, part)
			}
		}
	}
	return lines
}

// words splits as a shell does, up to a comment or the end of our own words.
func words(line string) (out []string) {
	for _, m := range regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`).FindAllStringSubmatch(line, -1) {
		if m[3] == "--" || strings.HasPrefix(m[3], "#") || strings.HasPrefix(m[3], ">") {
			break
		}
		out = append(out, m[1]+m[2]+m[3])
	}
	return out
}

// A command in a document has a verb that there is, and flags that it has.
func TestCommandsOfTheDocuments(t *testing.T) {
	t.Parallel()
	root := newApp(strings.NewReader(""), os.Stdout, os.Stderr).rootCommand(nil)
	checked := 0
	for name, text := range documents(t) {
		for _, line := range commandsIn(text) {
			args := words(line)[1:]
			if len(args) == 0 || args[0] != strings.ToLower(args[0]) || strings.HasPrefix(args[0], "-") { // VERB
				continue
			}
			found, rest, err := root.Find(args)
			require.NoError(t, err, "%s: %s", name, line)
			require.NotEqual(t, root, found, "%s: %s", name, line)
			for _, arg := range rest {
				requireFlag(t, found, arg, name+": "+line)
			}
			checked++
		}
	}
	require.Greater(t, checked, 30)
	t.Logf("%d commands", checked)
}

func requireFlag(t *testing.T, cmd *cobra.Command, arg, where string) {
	arg, _, _ = strings.Cut(arg, "=")
	switch {
	case strings.HasPrefix(arg, "--"):
		require.True(t, cmd.Flags().Lookup(arg[2:]) != nil || cmd.InheritedFlags().Lookup(arg[2:]) != nil, "%s: there is no %s", where, arg)
	case regexp.MustCompile(`^-[a-z]$`).MatchString(arg):
		require.True(t, cmd.Flags().ShorthandLookup(arg[1:]) != nil || cmd.InheritedFlags().ShorthandLookup(arg[1:]) != nil, "%s: there is no %s", where, arg)
	}
}

// What the README begins with is what one gets.
func TestTheREADMEsFirstSession(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"bash", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: no %s to follow the README with", program)
		}
	}
	text := documents(t)["../../README.md"]
	_, session, _ := strings.Cut(text, "\n\n    $ ")
	session, _, _ = strings.Cut("    $ "+session, "\n\n")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "runner.py"), []byte(`import json
d = json.load(open("results.json")); d["seen"] = True; json.dump(d, open("results.json", "w"))`), 0o644))
	var script, want []string
	for line := range strings.Lines(session) {
		line = strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "    ")
		if typed, ok := strings.CutPrefix(line, "$ "); ok {
			script = append(script, strings.Replace(typed, "exec ", "exec -q ", 1))
		} else {
			want = append(want, line)
		}
	}
	require.Len(t, script, 4)
	cmd := exec.Command("bash", "-c", "set -e\n"+strings.Join(script, "\n"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(os.Args[0])+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, strings.Join(want, "\n")+"\n", string(out))
}
