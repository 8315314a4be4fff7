//go:build linux && (amd64 || arm64)

package intercept

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func init() { roles["adopting"] = adopting }

// adopting, as a role, is a supervisor under Yama: args[0] is the directory of the guarded file, args[1:] the command. It ends
// with 0 if no child is left when the tree is over, not even one that nobody waited for.
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
	go waits(s, filepath.Join(args[0], "waited"))
	<-s.Done()
	left, err := children(os.Getpid())
	if err != nil || len(left) > 0 {
		fmt.Fprintln(os.Stderr, "children are left:", left, err)
		return 1
	}
	return 0
}

// waits makes a file once a supervisor waits for what the end of its tree left.
func waits(s *Supervisor, told string) {
	<-s.s.over
	stacks := make([]byte, 1<<20)
	for !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte(".reapLast(")) {
		time.Sleep(time.Millisecond)
	}
	_ = os.WriteFile(told, nil, 0o666)
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

// An orphan that has ended is waited for while the tree lives on: a service that starts one for each request would else leave as
// many zombies.
func TestOrphansThatHaveEndedAreGone(t *testing.T) {
	needs(t, "setsid", "sh")
	dir := sharedTemp(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "guarded.json"), []byte("early"), 0o666))
	born, gate := filepath.Join(dir, "born"), filepath.Join(dir, "gate")
	cmd := inRole(t, "adopting", dir, "/bin/sh", "-c", fmt.Sprintf(`cd %s; setsid -f sh -c 'echo $$ > born'; until [ -e gate ]; do sleep .01; done; exit 3`, dir))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // its guardian kills the others
	gone := func() bool {
		raw, err := os.ReadFile(born)
		if err != nil || !bytes.HasSuffix(raw, []byte("\n")) {
			return false
		}
		_, err = os.Stat("/proc/" + strings.TrimSpace(string(raw)))
		return os.IsNotExist(err)
	}
	until(t, gone)
	require.NoError(t, os.WriteFile(gate, nil, 0o666))
	require.NoError(t, cmd.Wait(), "%s", &out)
}

// Orphans, and orphans of orphans, that end in the same moment as the tree are waited for before it is said to be over.
func TestOrphansThatEndWithTheTree(t *testing.T) {
	needs(t, "setsid", "sh")
	dir := sharedTemp(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "guarded.json"), []byte("early"), 0o666))
	fifo := filepath.Join(dir, "end")
	require.NoError(t, unix.Mkfifo(fifo, 0o666))
	// Each waits for the end of one pipe, of which the command has the other end.
	const waits = `exec 4<$0; : > $0.$$; read x <&4`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "waits"), []byte(waits), 0o644))
	family := fmt.Sprintf(`cd %s; cat guarded.json >/dev/null; exec 3<>end; i=0
while [ $i -lt 20 ]; do setsid -f sh -c 'sh -c "$(cat waits)" end & . ./waits' end 3>&-; i=$((i+1)); done
while [ $(ls | grep -c '^end[.]') -lt 40 ]; do sleep .01; done; rm -f end.*; exit 3`, dir)
	for range 5 {
		out, err := inRole(t, "adopting", dir, "/bin/sh", "-c", family).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// An orphan that has let go of the filter, and that nobody can wait for yet, is waited for before the tree is said to be over. Here
// it has a tracer, who is told of its end before its parent is (ptrace(2)).
func TestAnOrphanThatCannotBeWaitedForYet(t *testing.T) {
	needs(t, "setsid", "sh")
	dir := sharedTemp(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "guarded.json"), []byte("early"), 0o666))
	gate, born, waited := filepath.Join(dir, "gate"), filepath.Join(dir, "born"), filepath.Join(dir, "waited")
	require.NoError(t, unix.Mkfifo(gate, 0o666))
	const command = `cd %s; cat guarded.json >/dev/null; setsid -f sh -c 'echo $$ > born; read x < gate'; exit 3`
	cmd := inRole(t, "adopting", dir, "/bin/sh", "-c", fmt.Sprintf(command, dir))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	content := func(path string) string { raw, _ := os.ReadFile(path); return string(raw) }
	until(t, func() bool { return strings.HasSuffix(content(born), "\n") || len(ended) > 0 })
	orphan, err := strconv.Atoi(strings.TrimSpace(content(born)))
	require.NoError(t, err, "%s", &out)
	end, err := os.OpenFile(gate, os.O_RDWR, 0)
	require.NoError(t, err)
	defer end.Close()

	runtime.LockOSThread() // which is the tracer
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(orphan); err == unix.EPERM {
		_ = end.Close()
		<-ended
		t.Skip("SKIPPED: needs ptrace(2)")
	} else {
		require.NoError(t, err)
	}
	_, err = end.WriteString("\n")
	require.NoError(t, err)
	until(t, func() bool { _, err := os.Stat(waited); return err == nil || len(ended) > 0 })
	var status unix.WaitStatus
	_, err = unix.Wait4(orphan, &status, unix.WALL, nil)
	require.NoError(t, err)
	require.True(t, status.Exited(), status)
	require.NoError(t, <-ended, "%s", &out)
	require.Empty(t, out.String())
}

// A command may end before its number is known here: nobody waits for it in its place, and its status is told.
func TestTheCommandIsNoOrphan(t *testing.T) {
	s := &supervisor{guardian: &guardian{}}
	s.processes = newProcesses(s)
	cmd := exec.Command("/bin/sh", "-c", "exit 3")
	require.NoError(t, cmd.Start())
	for !leaving(cmd.Process.Pid) {
		time.Sleep(time.Millisecond)
	}
	s.reapAdopted()
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, 3, exit.ExitCode())
}
