//go:build unix

// Package policy starts real programs, which nobody changed, under a policy, kills them at will, and asks whether the
// numbers are right.
//
//	go test ./tests/policy -runners 17 -tests 40 -kills 60
package policy

import (
	"flag"
	"os"
	"os/exec"
	"testing"
	"time"

	"jsonguard/tests/command"
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
	os.Exit(command.Run(m, &binary))
}

// python finds an interpreter, or skips.
func python(t *testing.T) string {
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("SKIPPED: python3 is not there: no unmodified program is tested under a policy")
	}
	return path
}
