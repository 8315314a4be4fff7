// Package mutants proves that the tests can fail: each mutant breaks one guarantee in a copy of the sources, and the
// tests named for it must go red there. A mutant whose text is not found any more fails as well, so that the list
// follows the code.
//
//	go test ./tests/mutants -mutants
package mutants

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var run = flag.Bool("mutants", false, "build each mutant and run the tests that must catch it (minutes)")

// mutant is one entry of mutants.json.
type mutant struct {
	Name     string   `json:"name"`
	Breaks   string   `json:"breaks"` // the promise that is broken, in words
	File     string   `json:"file"`
	Old      string   `json:"old"`
	New      string   `json:"new"`
	CaughtBy []string `json:"caught_by"` // arguments of go test
}

func TestMutantsAreCaught(t *testing.T) {
	mutants := read(t)
	root := moduleRoot(t)
	for _, m := range mutants {
		t.Run(m.Name, func(t *testing.T) {
			src, err := os.ReadFile(filepath.Join(root, m.File))
			require.NoError(t, err)
			require.Equal(t, 1, strings.Count(string(src), m.Old), "%s: the text to replace must be there once", m.File)
			if !*run {
				return
			}
			mutated := filepath.Join(t.TempDir(), filepath.Base(m.File))
			require.NoError(t, os.WriteFile(mutated, []byte(strings.Replace(string(src), m.Old, m.New, 1)), 0o600))
			overlay := filepath.Join(t.TempDir(), "overlay.json")
			text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.File): mutated}})
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(overlay, text, 0o600))

			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			pkgs := exec.CommandContext(ctx, "go", append([]string{"vet", "-overlay", overlay}, "./"+filepath.Dir(m.File))...)
			pkgs.Dir = root
			out, err := pkgs.CombinedOutput()
			require.NoError(t, err, "the mutant must compile:\n%s", out)
			cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-overlay", overlay}, m.CaughtBy...)...)
			cmd.Dir = root
			out, err = cmd.CombinedOutput()
			require.Error(t, err, "survived: %s\n%s", m.Breaks, out)
			require.Contains(t, string(out), "--- FAIL", "must fail in a test:\n%s", out)
		})
	}
	if !*run {
		t.Skip("SKIPPED: mutants are only checked to apply; run with -mutants to see each of them caught")
	}
}

func read(t *testing.T) []mutant {
	text, err := os.ReadFile("mutants.json")
	require.NoError(t, err)
	var mutants []mutant
	require.NoError(t, json.Unmarshal(text, &mutants))
	require.GreaterOrEqual(t, len(mutants), 10)
	return mutants
}

func moduleRoot(t *testing.T) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
