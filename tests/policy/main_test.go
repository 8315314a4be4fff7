//go:build unix

// Package policy starts real programs, which nobody changed, under a policy, kills them at will, and asks whether the
// numbers are right.
//
//	go test ./tests/policy -runners 17 -tests 40 -kills 60
package policy

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

var (
	runners = flag.Int("runners", 17, "programs at work at any time")
	tests   = flag.Int("tests", 3, "test results that each of them writes")
	kills   = flag.Int("kills", 8, "how many programs, or their wrappers, are killed")
	seed    = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of all random choices")
)

// binary is the real command, built once.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "jsonguard-policy-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "jsonguard")
	args := []string{"build", "-o", binary}
	if overlay := os.Getenv("MUTANT_OVERLAY"); overlay != "" { // a mutant reaches the command under test
		args = append(args, "-overlay", overlay)
	}
	build := exec.Command("go", append(args, "jsonguard/cmd/jsonguard")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// python finds an interpreter, or skips.
func python(t *testing.T) string {
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: python3 is not there: no unmodified program is tested under a policy")
	}
	return path
}
