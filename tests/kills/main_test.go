//go:build unix

package kills

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
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
	dir, err := os.MkdirTemp("", "jsonguard-kills-*")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "jsonguard")
	argv := []string{"build", "-o", binary}
	if overlay := os.Getenv("MUTANT_OVERLAY"); overlay != "" {
		argv = append(argv, "-overlay", overlay)
	}
	build := exec.Command("go", append(argv, "jsonguard/cmd/jsonguard")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func command(args ...string) *exec.Cmd { return exec.Command(binary, args...) }
