//go:build linux && (amd64 || arm64)

package intercept

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func init() { roles["adopting"] = adopting }

// adopting, as a role, is a supervisor under Yama: args[0] is the directory of the guarded file, args[1:] the command. It ends
// with 0 if no child lives when the tree is over.
func adopting(args []string) int {
	mustAdopt = func() bool { return true }
	h := plainHandler(filepath.Join(args[0], "guarded.json"))
	s, err := Start(Command{Path: args[1], Args: args[1:]}, h)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		return 125
	}
	if status, err := s.Wait(); err != nil || status.Code != 3 {
		fmt.Fprintln(os.Stderr, "status:", status, err)
		return 1
	}
	<-s.Done()
	// The last ones are waited for when the end of the tree is known.
	for range 1000 {
		left, err := children(os.Getpid())
		// One that ends in the same moment as the tree may not be waited for: it goes with us.
		if err == nil && !slices.ContainsFunc(left, alive) {
			return 0
		}
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Fprintln(os.Stderr, "children are left")
	return 1
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// What Yama would keep us from looking at descends from us: orphans are our children, guarded, and waited for. The restriction itself
// is not tried: a kernel has Yama or not.
func TestOrphansAreAdopted(t *testing.T) {
	needs(t, "setsid")
	dir := sharedTemp(t)
	gate, parent := filepath.Join(dir, "gate"), filepath.Join(dir, "parent")
	daemon := fmt.Sprintf(`until test -e %s; do sleep .01; done; cut -d" " -f4 /proc/$$/stat > %s; echo late > %s/guarded.json; (sleep .01 &)`, gate, parent, dir)
	for _, user := range []string{"root", "nobody"} {
		cmd := inRole(t, "adopting", dir, "/bin/sh", "-c", fmt.Sprintf("setsid -f sh -c '%s'; : > %s; exit 3", daemon, gate))
		if user == "nobody" {
			if os.Geteuid() != 0 {
				t.Skip("SKIPPED: needs root")
			}
			asNobody(cmd)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "guarded.json"), []byte("early"), 0o666))
		require.NoError(t, os.Chmod(filepath.Join(dir, "guarded.json"), 0o666))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", user, out)
		adopter, err := os.ReadFile(parent)
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(cmd.Process.Pid), strings.TrimSpace(string(adopter)), user)
		content, err := os.ReadFile(filepath.Join(dir, "guarded.json"))
		require.NoError(t, err)
		require.Equal(t, "late\n", string(content), user)
		require.NoError(t, os.Remove(gate))
		require.NoError(t, os.Remove(parent))
	}
}
