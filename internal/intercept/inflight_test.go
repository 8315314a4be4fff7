//go:build linux && (amd64 || arm64)

package intercept

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func init() {
	// A supervisor whose handler never answers an open.
	roles["supervise silently"] = func(args []string) int {
		h := plainHandler(args[0])
		h.open = func(*Call, *Place, OpenHow) (*os.File, error) {
			if err := os.WriteFile(filepath.Join(h.scratches, "asked"), nil, 0o666); err != nil {
				panic(err)
			}
			select {}
		}
		s, err := Start(Command{Path: args[1], Args: args[1:]}, h)
		if err != nil {
			return 125
		}
		<-s.Done()
		return 0
	}
}

// A process that nothing tells of (its environment is empty, its parents are gone) waits in a call when its supervisor is
// killed: it is killed too, and the guardian ends.
func TestKilledWhileACallIsInFlight(t *testing.T) {
	needs(t, "setsid", "env")
	h := newScratchHandler(t)
	require.NoError(t, os.WriteFile(h.target(), []byte("x"), 0o666))
	where := filepath.Join(h.scratches, "pid")
	cmd := inRole(t, "supervise silently", h.target(), "/bin/sh", "-c",
		`setsid -f env -i /bin/sh -c 'echo $$ > '`+where+`'; exec cat `+h.target()+`'`)
	cmd.Env = append(cmd.Env, "INTERCEPT_TEST_SCRATCHES="+h.scratches)
	require.NoError(t, cmd.Start())
	exists := func(path string) func() bool { return func() bool { _, err := os.Stat(path); return err == nil } }
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	until(t, func() bool {
		select {
		case <-ended:
			t.Skip("SKIPPED: no interception here")
		default:
		}
		return exists(filepath.Join(h.scratches, "asked"))()
	})
	raw, err := os.ReadFile(where)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	require.NoError(t, err)
	st, err := readStat(pid)
	require.NoError(t, err)
	environment, err := os.ReadFile(procPath(pid, "environ"))
	require.NoError(t, err)
	require.NotContains(t, string(environment), markName)
	guardians := guardiansOf(t, cmd.Process.Pid)
	require.Len(t, guardians, 1)
	require.NoError(t, cmd.Process.Kill())
	<-ended
	for _, p := range append(guardians, stat{pid: pid, start: st.start}) {
		until(t, func() bool {
			now, err := readStat(p.pid)
			return err != nil || now.start != p.start || now.state == 'Z'
		})
	}
}

// guardiansOf are the children of a supervisor that guard it.
func guardiansOf(t *testing.T, supervisor int) (found []stat) {
	born, err := children(supervisor)
	require.NoError(t, err)
	for _, pid := range born {
		if st, err := readStat(pid); err == nil && st.command == "tree-guardian" {
			found = append(found, st)
		}
	}
	return found
}

func TestInFlight(t *testing.T) {
	f, err := newInFlight()
	require.NoError(t, err)
	defer f.close()
	a, b := f.place(), f.place()
	f.set(a, &seccompNotif{id: 7, pid: 70})
	f.set(b, &seccompNotif{id: 8, pid: 80})
	require.Equal(t, []seccompNotif{{id: 7, pid: 70}, {id: 8, pid: 80}}, readInFlight(f.fd))
	f.clear(a)
	require.Equal(t, []seccompNotif{{id: 8, pid: 80}}, readInFlight(f.fd))
	f.give(b)
	require.Empty(t, readInFlight(f.fd))
	require.Equal(t, b, f.place())
	for f.place() >= 0 {
	}
	f.set(-1, &seccompNotif{id: 9}) // no place is left: it is not noted
	f.give(-1)
	f.give(a)
	require.Equal(t, a, f.place())
}
