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

// Built is the environment variable that names a directory with what was built already: tests that are run a hundred times with the
// same command take it from there.
const Built = "BUILT_COMMANDS"

// Run is what a TestMain does after its flags: it builds jsonguard, and beside it what else is named of cmd/, into a directory
// that everybody may enter and that goes with the tests. It sets path to jsonguard's, and returns the tests' exit status.
func Run(m *testing.M, path *string, beside ...string) int {
	if dir := os.Getenv(Built); dir != "" {
		*path = filepath.Join(dir, "jsonguard")
		return m.Run()
	}
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
	return build(path, replace, "build", "jsonguard/cmd/"+name)
}

// BuildTests is Build for the tests of a package, as an executable.
func BuildTests(path, pkg string, replace map[string]string) error {
	return build(path, replace, "test", pkg, "-c")
}

func build(path string, replace map[string]string, verb, pkg string, flags ...string) error {
	overlay, err := overlay(replace)
	if err != nil {
		return err
	}
	file := path + ".overlay"
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return err
	}
	defer os.Remove(file)
	args := append([]string{verb, "-overlay", file, "-o", path}, append(flags, pkg)...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go %s %s: %w: %s", verb, pkg, err, out)
	}
	return nil
}

func overlay(replace map[string]string) ([]byte, error) {
	all, err := Mutated()
	if err != nil {
		return nil, err
	}
	maps.Copy(all, replace)
	return json.Marshal(map[string]map[string]string{"Replace": all})
}

// Mutated are the files of a mutant by the path of what they take the place of; none: there is no mutant.
func Mutated() (map[string]string, error) {
	all := struct{ Replace map[string]string }{map[string]string{}}
	mutant := os.Getenv(Overlay)
	if mutant == "" {
		return all.Replace, nil
	}
	text, err := os.ReadFile(mutant)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", mutant, err)
	}
	return all.Replace, nil
}
