// Package command builds the real command for the tests that run it as a process.
package command

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Overlay is the environment variable that names the overlay of a mutant (go help build, -overlay): a command under test is
// built with what the test itself is built with.
const Overlay = "MUTANT_OVERLAY"

// Run is what a TestMain does after its flags: it builds jsonguard, and beside it what else is named of cmd/, into a directory
// that everybody may enter and that goes with the tests. It sets path to jsonguard's, and returns the tests' exit status.
func Run(m *testing.M, path *string, beside ...string) int {
	dir, err := os.MkdirTemp("", "jsonguard-command-*")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755) // some tests run it as somebody else
	}
	exe := ""
	if runtime.GOOS == "windows" {
		exe = ".exe"
	}
	for _, name := range append([]string{"jsonguard"}, beside...) {
		if err == nil {
			err = Build(filepath.Join(dir, name+exe), name, nil)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	*path = filepath.Join(dir, "jsonguard"+exe)
	return m.Run()
}

// Build builds cmd/NAME to path. replace is an overlay of its own, beside a mutant's: absolute paths of source files, each with
// the one that takes its place.
func Build(path, name string, replace map[string]string) error {
	overlay, err := overlay(replace)
	if err != nil {
		return err
	}
	file := path + ".overlay"
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	if out, err := exec.Command("go", "build", "-overlay", file, "-o", path, "jsonguard/cmd/"+name).CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", name, err, out)
	}
	return nil
}

func overlay(replace map[string]string) ([]byte, error) {
	all := struct{ Replace map[string]string }{map[string]string{}}
	if mutant := os.Getenv(Overlay); mutant != "" {
		text, err := os.ReadFile(mutant)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(text, &all); err != nil {
			return nil, fmt.Errorf("%s: %w", mutant, err)
		}
	}
	maps.Copy(all.Replace, replace)
	return json.Marshal(all)
}
