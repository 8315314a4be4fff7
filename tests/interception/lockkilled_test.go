//go:build linux

package interception

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// A supervisor is killed while a program of its tree has the lock on the file and has written, and the tree lives a moment longer. Who
// waits for the lock gets it when that is over, and finds what was written: what both count is counted twice.
func TestALockOutlivesAKilledSupervisor(t *testing.T) {
	needs(t, "python3")
	for name, lock := range map[string]string{"flock": "fcntl.flock(f,fcntl.LOCK_EX)", "fcntl": "fcntl.lockf(f,fcntl.LOCK_EX)"} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.write("r.json", `{"n":0}`)
			l.write("w.py", `import fcntl,json,os,sys,time
who=sys.argv[1]
open("asks"+who,"w").close()
f=open("r.json","r+"); `+lock+`
open("has"+who,"w").close()
d=json.load(f); d["n"]+=1; d[who]=1
f.seek(0); f.truncate(); f.write(json.dumps(d)); f.flush()
open("wrote"+who,"w").close()
if who=="a": time.sleep(600)
f.close()`)
			first := l.start(l.guarded(results, "sh", "-c", "python3 w.py a & wait")) // the first child dies with its supervisor
			l.await("wrotea")
			guardian := guardianOf(t, first.cmd.Process.Pid)
			require.NoError(t, unix.Kill(guardian, unix.SIGSTOP))
			defer func() { _ = unix.Kill(guardian, unix.SIGCONT) }()
			require.NoError(t, first.cmd.Process.Kill())
			_, _ = first.cmd.Process.Wait()

			second := l.start(l.guarded(results, "python3", "w.py", "b"))
			l.await("asksb")
			const wrong = 300 * time.Millisecond // it gets the lock at once then
			for began := time.Now(); time.Since(began) < wrong; time.Sleep(5 * time.Millisecond) {
				require.NoFileExists(t, l.path("hasb"))
			}
			require.NoError(t, unix.Kill(guardian, unix.SIGCONT))
			l.wait(second)
			require.JSONEq(t, `{"n":2,"a":1,"b":1}`, l.read("r.json"))
			l.clean("r.json")
		})
	}
}

// guardianOf finds the process that kills a supervisor's tree.
func guardianOf(t *testing.T, supervisor int) (pid int) {
	names, err := filepath.Glob("/proc/[0-9]*/status")
	require.NoError(t, err)
	for _, name := range names {
		status, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(status), "Name:\ttree-guardian\n") || !strings.Contains(string(status), fmt.Sprintf("PPid:\t%d\n", supervisor)) {
			continue
		}
		pid, err = strconv.Atoi(filepath.Base(filepath.Dir(name)))
		require.NoError(t, err)
	}
	require.NotZero(t, pid, "no guardian")
	return pid
}
