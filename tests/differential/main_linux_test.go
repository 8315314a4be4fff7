package differential

import (
	"fmt"
	"os"
	"testing"

	"jsonguard/internal/intercept"
	"jsonguard/tests/command"
)

// binary is the real command, built once.
var binary string

// asProgram is the variable by which the test's executable becomes the program that makes the calls.
const asProgram = "JSONGUARD_DIFFERENTIAL"

func TestMain(m *testing.M) {
	if what := os.Getenv(asProgram); what != "" {
		var steps int
		var seed uint64
		var named bool
		if _, err := fmt.Sscanf(what, "%d %d %t", &seed, &steps, &named); err == nil {
			draw(seed, steps, named)
		} else {
			newProgram().make(found[what])
		}
		os.Exit(0)
	}
	if _, err := intercept.Probe(); err != nil {
		fmt.Fprintln(os.Stderr, "SKIPPED: tests/differential:", err)
		os.Exit(0)
	}
	os.Exit(command.Run(m, &binary))
}
