//go:build unix

package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"jsonguard/tests/command"
)

var long = flag.Bool("long", false, "also run what takes minutes, or gigabytes")

// exampleFiles are what the examples of the help texts speak of.
var exampleFiles = map[string]string{
	"results.json": `{"models": {"gpt": {"runs": 1}, "old": {}}, "runs": [], "total": 1, "balance": 20, "name": "a b"}`,
	"config.json":  `{"debug": true, "port": 80}`,
	"queue.json":   `{"jobs": [{"done": true}, {"done": false}]}`,
	"log.jsonl":    "{\"event\": \"stop\"}\n",
	"tests.json":   `{"models": {"gpt": {"results": [{"prompt_type": "plain", "success": true, "seconds": 1.5}, {"prompt_type": "plain", "success": false, "seconds": 2}]}, "falcon": {"results": [{"prompt_type": "plain", "success": true}, {"prompt_type": "plain", "success": true}]}}}`,
	"base.json":    `{"a": 1}`,
	"ours.json":    `{"a": 1, "b": 2}`,
	"theirs.json":  `{"a": 1, "c": 3}`,

	"jsonguard.json": `{"files": ["results.json"], "rules": [{"at": "/models", "rename": [{"match": "^gemma$", "to": "Gemma"}]}]}`,
}

// examplePrograms stand in for those of the reader.
var examplePrograms = map[string]string{
	"bin/python3": `echo '"python3"'`, "bin/node": `test -n "$DB_PATH"`, "bin/code": `test "$1" = --wait`, "bin/npm": "exit 0", "bin/make": "exit 0", "benchmark": `test "$1" = gpt`, "nightly": "true",
}

func TestExamplesOfTheHelpTexts(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("SKIPPED: no bash to run the examples with")
	}
	var commands []*cobra.Command
	root := newApp(strings.NewReader(""), os.Stdout, os.Stderr).rootCommand(nil)
	for _, c := range append(root.Commands(), root) {
		if !c.Hidden {
			commands = append(commands, c)
		}
	}
	for _, c := range commands {
		// A line that is indented deeper goes on with the one before it.
		for _, example := range strings.Split(strings.ReplaceAll(c.Example, "\n   ", " "), "\n") {
			example = strings.TrimSpace(example)
			t.Run(example, func(t *testing.T) {
				t.Parallel()
				if !*long && (c.Name() == "demo" || c.Name() == "stress" || strings.Contains(example, "jsonguard demo")) {
					t.Skip("takes long: -long")
				}
				if strings.Contains(example, "jq ") {
					if _, err := exec.LookPath("jq"); err != nil {
						t.Skip("SKIPPED: jq is missing")
					}
				}
				dir := t.TempDir()
				for name, text := range exampleFiles {
					require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
				}
				for _, name := range []string{"bin", "share", ".config/fish/completions"} {
					require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
				}
				for name, script := range examplePrograms {
					require.NoError(t, command.WriteExecutable(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
				}
				line := strings.NewReplacer("/mnt/share", filepath.Join(dir, "share"), "/tmp/look", filepath.Join(dir, "look")).Replace(example)
				switch c.Name() {
				case "history", "diff", "restore": // of versions that there were, the first one long ago
					past := time.Now().Add(-time.Hour)
					require.NoError(t, os.Chtimes(filepath.Join(dir, "results.json"), past, past))
					require.NoError(t, os.WriteFile(filepath.Join(dir, "jsonguard.json"), []byte(`{"history": {"keep": 50}}`), 0o644))
					line = "for i in 1 2 3; do jsonguard set -q results.json /total 1$i; done\n" + strings.NewReplacer(" 41", " 1", " 42", " 2").Replace(line)
				}
				if strings.Contains(example, "--take") { // of conflicts that there were
					line = `for i in 1 2 3; do jsonguard exec -q --mode copy --file results.json -- sh -c "jsonguard set results.json /n 1$i; echo '{\"n\": 2$i}' > \"\$0\"" {}; done` + "\n" + line
				}
				cmd := exec.Command(bash, "-c", "set -e -o pipefail\n"+line)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "HOME="+dir, "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "VISUAL=", "EDITOR=true", "USER=somebody", "model=gpt")
				if strings.Contains(example, "EDITOR=") {
					cmd.Env = append(cmd.Env, "VISUAL=")
				}
				out, err := cmd.CombinedOutput()
				if c.Name() == "diff" && cmd.ProcessState.ExitCode() == 1 {
					return // there is a difference
				}
				require.NoError(t, err, "%s", out)
			})
		}
	}
}

// man(1) shows the pages without a complaint, and shells read the completions.
func TestManualPagesAndCompletions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	status, stdout, stderr := call("man", dir)
	require.Zero(t, status, stderr)
	require.Empty(t, stdout)
	pages := mustNames(t, dir)
	require.Greater(t, len(pages), 20)
	if man, err := exec.LookPath("man"); err != nil {
		t.Log("SKIPPED: man is missing: the pages were not rendered")
	} else {
		for _, page := range pages {
			cmd := exec.Command(man, "--warnings", "-E", "UTF-8", "-l", filepath.Join(dir, page))
			cmd.Env = append(os.Environ(), "MANWIDTH=100", "MANPAGER=cat", "LC_ALL=C.UTF-8")
			var complaints strings.Builder
			cmd.Stderr = &complaints
			text, err := cmd.Output()
			require.NoError(t, err, complaints.String())
			require.Empty(t, complaints.String(), page)
			require.Contains(t, string(text), "NAME")
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		status, script, stderr := call("completion", shell)
		require.Zero(t, status, stderr)
		require.Contains(t, script, "jsonguard")
		program, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("SKIPPED: %s is missing: its completion was not read by it", shell)
			continue
		}
		cmd := exec.Command(program, "-n")
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Empty(t, string(out))
	}
}
