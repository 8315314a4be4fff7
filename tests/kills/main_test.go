//go:build unix

package kills

import (
	"flag"
	"os"
	"os/exec"
	"testing"
	"time"

	"jsonguard/tests/command"
)

var (
	kills   = flag.Int("kills", 140, "processes to kill")
	stopped = flag.Duration("stopped", 2*time.Second, "how long the holder of the lock is stopped")
	seed    = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of all random choices")
)

var binary string // the command

func TestMain(m *testing.M) {
	if role := os.Getenv("KILLS_ROLE"); role != "" {
		os.Exit(work(role, os.Args[1], os.Args[2]))
	}
	flag.Parse()
	os.Exit(command.Run(m, &binary))
}

func jsonguard(args ...string) *exec.Cmd { return exec.Command(binary, args...) }
