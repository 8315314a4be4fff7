package lock

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What protected_regular would refuse is not asked for, whether it is on here or not: a lock file that is there is never
// opened with O_CREAT.
func TestAnExistingLockFileIsNotCreated(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("SKIPPED: strace is missing: the flags of open were not seen")
	}
	path := target(t, "{}")
	trace := func() string {
		log := filepath.Join(t.TempDir(), "strace")
		cmd := exec.Command("strace", "-f", "-o", log, "-e", "trace=open,openat,creat", os.Args[0], path)
		cmd.Env = append(cmd.Environ(), "LOCK_ROLE=acquire", "GORACE=atexit_sleep_ms=0")
		out, err := cmd.CombinedOutput()
		if err != nil && strings.Contains(string(out), "ptrace") {
			t.Skipf("SKIPPED: strace may not trace here: %s", out)
		}
		require.NoError(t, err, "%s", out)
		raw, err := os.ReadFile(log)
		require.NoError(t, err)
		var opens []string
		for line := range strings.Lines(string(raw)) {
			if strings.Contains(line, LockPath(path)) {
				opens = append(opens, line)
			}
		}
		return strings.Join(opens, "")
	}
	require.Contains(t, trace(), "O_CREAT", "it was not there")
	again := trace()
	require.Contains(t, again, "O_NOFOLLOW")
	require.NotContains(t, again, "O_CREAT")
}
