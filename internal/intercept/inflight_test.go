//go:build linux && (amd64 || arm64)

package intercept

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() {
	// A supervisor that is killed as it receives the call which the next test is about, before it does anything.
	roles["killed at receipt"] = func(args []string) int {
		h := plainHandler(args[0])
		received = func(r *receiver) {
			path, err := r.mem.path(int(r.call.pid), r.call.data.args[1], r.path[:])
			if err == nil && strings.HasSuffix(string(path), "/guarded.json") && r.call.data.number == unix.SYS_OPENAT {
				_ = unix.Kill(os.Getpid(), unix.SIGKILL)
				select {}
			}
		}
		s, err := Start(Command{Path: args[1], Args: args[1:]}, h)
		if err != nil {
			return 125
		}
		<-s.Done()
		return 0
	}
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
// killed: it is killed too, and the guardian ends. Also if that was in the moment of the receipt.
func TestKilledWhileACallIsInFlight(t *testing.T) {
	needs(t, "setsid", "env")
	for _, role := range []string{"supervise silently", "killed at receipt"} {
		t.Run(role, func(t *testing.T) {
			h := newScratchHandler(t)
			require.NoError(t, os.WriteFile(h.target(), []byte("x"), 0o666))
			where, gate := filepath.Join(h.scratches, "pid"), filepath.Join(h.scratches, "gate")
			cmd := inRole(t, role, h.target(), "/bin/sh", "-c",
				`setsid -f env -i /bin/sh -c 'echo $$ > `+where+`.new; mv `+where+`.new `+where+`; until [ -e `+gate+` ]; do sleep .01; done; exec cat `+h.target()+`'`)
			cmd.Env = append(cmd.Env, "INTERCEPT_TEST_SCRATCHES="+h.scratches)
			require.NoError(t, cmd.Start())
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			exists := func(path string) func() bool {
				return func() bool {
					if len(ended) > 0 && role == "supervise silently" {
						t.Skip("SKIPPED: no interception here")
					}
					_, err := os.Stat(path)
					return err == nil
				}
			}
			until(t, exists(where))
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
			require.NoError(t, os.WriteFile(gate, nil, 0o666))
			if role == "supervise silently" {
				until(t, exists(filepath.Join(h.scratches, "asked")))
				require.NoError(t, cmd.Process.Kill())
			}
			<-ended
			for _, p := range append(guardians, stat{pid: pid, start: st.start}) {
				until(t, func() bool {
					now, err := readStat(p.pid)
					return err != nil || now.start != p.start || now.state == 'Z'
				})
			}
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
	f.at(-1).id = 9
	require.Empty(t, readInFlight(f.fd))
	f.at(a).id = 9 // as the kernel does
	require.Equal(t, []seccompNotif{{id: 9}}, readInFlight(f.fd))
	f.clear(a)
	f.give(-1)
	f.give(a)
	require.Equal(t, a, f.place())
}
