package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// Kill points: a verb is killed at the entry of each of its system calls that change something, and then the recovery
// of that is killed at each of its own. strace does it (-e inject=…:signal=SIGKILL:when=N), which counts for each
// thread; so the verb's goroutine stays on one.

var (
	killSingle = flag.Int("killpoints", 15, "kill points to try, spread over all scenarios; 0: every one")
	killDouble = flag.Int("killpoints.double", 8, "pairs of a kill and a kill in its recovery; 0: every one")
	killSeed   = flag.Uint64("killpoints.seed", uint64(time.Now().UnixNano()), "of the choice")
)

const onOneThread = "JSONGUARD_TEST_ONE_THREAD"

func init() {
	if os.Getenv(onOneThread) != "" {
		runtime.LockOSThread() // of the main goroutine, for good
	}
}

// killedCalls are the calls that change something, other than the opening of new files: what is done to those follows.
const killedCalls = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,ftruncate,linkat,fchmod,fchmodat,flock"

// scenario is a state of the disk and what is done to it. The document counts what was done: each change adds 1 to /n.
type scenario struct {
	name    string
	file    string
	prepare func(t *testing.T, k *killRun)
	args    []string // of jsonguard; FILE is the file
	before  int      // /n before, with what is pending
	adds    int      // what the verb adds
	torn    bool     // recovery may say 65: a torn write is in quarantine
	repair  bool     // what is damaged stays until it is repaired
}

var scenarios = []scenario{
	{name: "change alone", args: []string{"incr", "FILE", "/n"}, adds: 1},
	{name: "change with a guard", prepare: guarded, args: []string{"incr", "FILE", "/n"}, adds: 1},
	{name: "fold of many", prepare: pending(5, 3), args: []string{"incr", "FILE", "/n"}, before: 15, adds: 1},
	{name: "recovery", prepare: pending(3, 2), args: []string{"recover", "FILE"}, before: 6},
	{name: "update", prepare: pending(1, 1), args: []string{"update", "FILE", ".n += 1"}, before: 1, adds: 1},
	{name: "patch", prepare: guarded, args: []string{"patch", "FILE", `{"n": 1}`}, adds: 1},
	{name: "refused change", prepare: refused, args: []string{"incr", "FILE", "/n"}, before: 1, adds: 1},
	{name: "batch, journaled", prepare: guarded, args: []string{"batch", "FILE"}, adds: 1},
	{name: "exec, copy", args: []string{"exec", "-q", "--mode", "copy", "--file", "FILE", "--", "cp", "next.json", "{}"}, adds: 1},
	{name: "exec, dead runner", prepare: deadRunner, args: []string{"recover", "FILE"}, before: 1},
	{name: "torn write", prepare: tornRunner, args: []string{"recover", "FILE"}, torn: true},
	{name: "clean", prepare: pending(2, 1), args: []string{"clean", "FILE"}, before: 2},
	{name: "repair", prepare: damaged, args: []string{"verify", "--repair", "FILE"}, before: 2, repair: true},
	{name: "lines", file: "log.jsonl", prepare: pending(2, 2), args: []string{"append", "FILE", "", "1"}, before: 4, adds: 1},
	{name: "lines, alone", file: "log.jsonl", args: []string{"append", "FILE", "", "1"}, adds: 1},
}

// killRun is one scenario in a directory of its own.
type killRun struct {
	t    *testing.T
	s    scenario
	dir  string
	file string
}

func (s scenario) start(t *testing.T) *killRun {
	dir, err := os.MkdirTemp("", "jsonguard-kill-*")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	k := &killRun{t: t, s: s, dir: dir, file: filepath.Join(dir, "doc.json")}
	content := "{\n  \"keep\": 1.10,\n  \"n\": 0\n}\n"
	if s.file != "" {
		k.file, content = filepath.Join(dir, s.file), "{\"keep\": 1.10}\n"
	}
	require.NoError(t, os.WriteFile(k.file, []byte(content), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "next.json"), []byte("{\n  \"keep\": 1.10,\n  \"n\": 1\n}\n"), 0o644))
	if s.prepare != nil {
		s.prepare(t, k)
	}
	return k
}

func (k *killRun) command(args ...string) *exec.Cmd {
	full := make([]string, len(args))
	for i, a := range args {
		full[i] = strings.ReplaceAll(a, "FILE", filepath.Base(k.file))
	}
	cmd := jsonguard(k.t, full...)
	cmd.Dir = k.dir
	cmd.Stdin = strings.NewReader(`{"op":"incr","at":"/n","ack":"journaled"}` + "\n")
	return cmd
}

// traced is the command under strace.
func (k *killRun) traced(out string, inject []string, args ...string) *exec.Cmd {
	inner := k.command(args...)
	argv := append([]string{"-f", "-qq", "-o", out, "-e", "trace=" + killedCalls}, inject...)
	cmd := exec.Command("strace", append(append(argv, inner.Path), inner.Args[1:]...)...)
	cmd.Dir, cmd.Stdin = k.dir, inner.Stdin
	cmd.Env = append(os.Environ(), onOneThread+"=1", "GOMAXPROCS=1")
	return cmd
}

// point is the nth call of a kind.
type point struct {
	call string
	n    int
}

func (p point) inject() []string {
	return []string{"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", p.call, p.n)}
}

var callName = regexp.MustCompile(`^(\d+) +(\w+)\(`)

// points runs a command once, to its end, and lists its calls.
func (k *killRun) points(args ...string) []point {
	out := filepath.Join(k.dir, "trace")
	_ = k.traced(out, nil, args...).Run() // its status is not the question
	trace, err := os.ReadFile(out)
	require.NoError(k.t, err)
	counts, list := map[string]int{}, []point(nil)
	main := ""
	for line := range strings.Lines(string(trace)) {
		m := callName.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if main == "" {
			main = m[1]
		}
		if m[1] != main {
			continue
		}
		counts[m[2]]++
		list = append(list, point{m[2], counts[m[2]]})
	}
	return list
}

// kill runs a command and kills it at a point. acknowledged: it ended by itself and with success.
func (k *killRun) kill(p point, args ...string) (acknowledged bool) {
	return k.traced(filepath.Join(k.dir, "trace"), p.inject(), args...).Run() == nil
}

// check recovers for good and counts.
func (k *killRun) check(acknowledged bool, what string) {
	out, err := k.command("recover", "FILE").CombinedOutput()
	if k.s.torn && exitCodeOf(err) == statusData {
		err = nil
	}
	require.NoError(k.t, err, "%s: recover: %s", what, out)
	content, err := os.ReadFile(k.file)
	require.NoError(k.t, err, what)
	n, err := countN(content, k.file)
	require.NoError(k.t, err, "%s: %s", what, content)
	want := []int{k.s.before + k.s.adds}
	if !acknowledged {
		want = append(want, k.s.before)
	}
	require.Contains(k.t, want, n, "%s: %s", what, content)
	require.Contains(k.t, string(content), "\"keep\": 1.10", what)
	if k.s.repair {
		out, err = k.command("verify", "--repair", "FILE").CombinedOutput()
		require.NoError(k.t, err, "%s: repair: %s", what, out)
	}
	out, err = k.command("verify", "FILE").CombinedOutput()
	require.NoError(k.t, err, "%s: verify: %s", what, out)
}

func exitCodeOf(err error) int {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return 0
}

func countN(content []byte, file string) (int, error) {
	if strings.HasSuffix(file, ".jsonl") {
		if err := merge.Valid(content, merge.Lines); err != nil {
			return 0, err
		}
		return bytes.Count(content, []byte("\n")) - 1, nil
	}
	var doc struct{ N int }
	err := json.Unmarshal(content, &doc)
	return doc.N, err
}

func TestKillPoints(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("SKIPPED: strace is not installed: no process was killed at its system calls")
	}
	if out, err := exec.Command("strace", "-o", "/dev/null", "-e", "inject=getpid:signal=SIGCONT:when=1", "true").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: strace cannot inject here: %s", out)
	}
	t.Logf("seed %d", *killSeed)
	random := rand.New(rand.NewPCG(*killSeed, 4))
	type one struct {
		s scenario
		p point
	}
	var all []one
	for _, s := range scenarios {
		for _, p := range s.start(t).points(s.args...) {
			all = append(all, one{s, p})
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	singles, doubles := 0, 0
	for _, o := range all {
		if *killSingle > 0 && singles == *killSingle {
			break
		}
		singles++
		k := o.s.start(t)
		acknowledged := k.kill(o.p, o.s.args...)
		k.check(acknowledged, fmt.Sprintf("%s, killed at %s %d", o.s.name, o.p.call, o.p.n))
	}
	// A second kill, in the recovery of the first.
	for _, o := range all {
		k := o.s.start(t)
		k.kill(o.p, o.s.args...)
		second := k.points("recover", "FILE")
		random.Shuffle(len(second), func(i, j int) { second[i], second[j] = second[j], second[i] })
		for i, p := range second {
			if *killDouble > 0 && (doubles == *killDouble || i == 2) {
				break
			}
			doubles++
			k := o.s.start(t)
			acknowledged := k.kill(o.p, o.s.args...)
			k.kill(p, "recover", "FILE")
			k.check(acknowledged, fmt.Sprintf("%s, killed at %s %d, its recovery at %s %d", o.s.name, o.p.call, o.p.n, p.call, p.n))
		}
		if *killDouble > 0 && doubles == *killDouble {
			break
		}
	}
	t.Logf("%d scenarios, %d kill points in all; %d single and %d double ones tried", len(scenarios), len(all), singles, doubles)
}

// What is on disk before.

func guarded(t *testing.T, k *killRun) {
	g, err := sidecar.Open(k.file, sidecar.Options{})
	require.NoError(t, err)
	require.NoError(t, g.Journal(t.Context(), merge.Op{Kind: merge.OpSet, At: "/g", Value: merge.Raw("1")}))
	require.NoError(t, g.Close())
}

// pending leaves changes of processes that are dead.
func pending(owners, each int) func(*testing.T, *killRun) {
	return func(t *testing.T, k *killRun) {
		for range owners {
			k.leave(strings.Repeat(k.oneMore()+"\n", each))
		}
	}
}

func (k *killRun) oneMore() string {
	if k.s.file != "" {
		return `{"op":"append","at":"","value":1,"ack":"journaled"}`
	}
	return `{"op":"incr","at":"/n","ack":"journaled"}`
}

// leave lets a batch journal operations while the file is locked, and kills it.
func (k *killRun) leave(lines string) {
	t := k.t
	lockFile := k.file + ".lock"
	hold := exec.Command("flock", "--no-fork", lockFile, "sleep", "60")
	require.NoError(t, hold.Start())
	defer func() {
		_ = hold.Process.Kill()
		_ = hold.Wait()
	}()
	for exec.Command("flock", "--nonblock", lockFile, "true").Run() == nil {
		time.Sleep(time.Millisecond)
	}
	cmd := k.command("batch", "FILE")
	cmd.Stdin = nil
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = in.Write([]byte(lines))
	require.NoError(t, err)
	answers := make([]byte, 0, 4096)
	for bytes.Count(answers, []byte("\n")) < strings.Count(lines, "\n") {
		buf := make([]byte, 1024)
		n, err := out.Read(buf)
		require.NoError(t, err)
		answers = append(answers, buf[:n]...)
	}
	require.NotContains(t, string(answers), `"ok":false`)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
}

func refused(t *testing.T, k *killRun) {
	k.leave(`{"op":"append","at":"/keep","value":1,"ack":"journaled"}` + "\n" + k.oneMore() + "\n")
}

// deadRunner leaves the finished copy of a runner whose wrapper was killed.
func deadRunner(t *testing.T, k *killRun) { k.leaveRunner("cp next.json {}; kill -9 $PPID; sleep 0.1") }

func tornRunner(t *testing.T, k *killRun) {
	k.leaveRunner(`printf '{"keep": 1.10, "n": 1, "cut": ' > {}; kill -9 $PPID; sleep 0.1`)
}

func (k *killRun) leaveRunner(script string) {
	cmd := k.command("exec", "-q", "--mode", "copy", "--file", "FILE", "--", "sh", "-c", script)
	require.Error(k.t, cmd.Run())
	time.Sleep(200 * time.Millisecond) // the runner ends
}

// damaged has a sidecar that cannot be read beyond its second change.
func damaged(t *testing.T, k *killRun) {
	k.leave(strings.Repeat(k.oneMore()+"\n", 4))
	names, err := filepath.Glob(filepath.Join(k.dir, ".doc.json.guard", "pending", "*"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	content, err := os.ReadFile(names[0])
	require.NoError(t, err)
	lines := bytes.SplitAfter(content, []byte("\n"))
	lines[3][10] ^= 1 // header, two good ones, this
	require.NoError(t, os.WriteFile(names[0], bytes.Join(lines, nil), 0o644))
}
