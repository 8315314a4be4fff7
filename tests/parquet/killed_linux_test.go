package parquet

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	kills    = flag.Int("kills", 25, "exports that are killed at a random time")
	killSeed = flag.Uint64("kills.seed", uint64(time.Now().UnixNano()), "of their times")
)

// start runs the command in a process group of its own, so that what it runs can be killed with it.
func (l *lab) start(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir, cmd.SysProcAttr = l.dir, &syscall.SysProcAttr{Setpgid: true}
	require.NoError(l, cmd.Start())
	return cmd
}

// Exports are killed, with what they run or without it, at any time, and nobody recovers anything: a reader that lists the directory
// finds the records of the export before or of this one, each once. The next export that is left alone brings everything.
func TestKilledExportsLoseAndDoubleNothing(t *testing.T) {
	l := newLab(t)
	random := rand.New(rand.NewPCG(*killSeed, 0))
	t.Logf("-kills.seed %d", *killSeed)
	s := state{}
	for i := range 2000 {
		s["gpt"] = append(s["gpt"], result{ID: fmt.Sprint("r", i), N: i})
	}
	s.write(l)
	args := []string{"export", "-q", l.file, "--records", pattern, "--increments", "inc"}
	began := time.Now()
	l.jsonguard(args...)
	took := time.Since(began)
	last := s.rows()
	killed := 0
	for round := range *kills {
		switch round % 3 {
		case 0:
			s["falcon"] = append(s["falcon"], result{ID: fmt.Sprint("k", round), OK: true})
		case 1:
			s["gpt"][random.IntN(len(s["gpt"]))].N--
		case 2:
			s["gpt"] = s["gpt"][1:]
		}
		s.write(l)
		run := args
		if random.IntN(3) == 0 {
			run = append(append([]string(nil), args...), "--compact")
		}
		cmd := l.start(exec.Command(binary, run...))
		time.Sleep(time.Duration(random.Int64N(int64(took) * 3 / 2)))
		victim := -cmd.Process.Pid // all of them
		if random.IntN(2) == 0 {
			victim = cmd.Process.Pid // what it runs is left behind, and must not finish on its own
		}
		_ = syscall.Kill(victim, syscall.SIGKILL)
		if cmd.Wait() != nil {
			killed++
		} else {
			took = took*2/3 + time.Millisecond // it was faster than the first one
		}
		got, err := readCurrent(l.path("inc"))
		require.NoError(t, err)
		if want := s.rows(); !same(got, want) {
			require.True(t, same(got, last), "round %d: %d rows are neither those before (%d) nor those now (%d)", round, len(got), len(last), len(want))
		} else {
			last = want
		}
	}
	require.NotZero(t, killed)
	t.Logf("%d of %d were killed, an export took %s", killed, *kills, took)
	l.jsonguard(args...)
	got, err := readCurrent(l.path("inc"))
	require.NoError(t, err)
	require.True(t, same(s.rows(), got), "%d rows", len(got))
	l.requireTidy("inc")
}

// requireTidy: what the killed ones left is gone.
func (l *lab) requireTidy(dir string) {
	entries, err := os.ReadDir(l.path(dir))
	require.NoError(l, err)
	now, err := os.Readlink(l.path(dir + "/current"))
	require.NoError(l, err)
	for _, e := range entries {
		require.False(l, strings.HasPrefix(e.Name(), "."), e.Name())
		if e.IsDir() { // none that somebody had begun
			number, err := strconv.Atoi(e.Name())
			require.NoError(l, err)
			require.LessOrEqual(l, fmt.Sprintf("%9d", number), fmt.Sprintf("%9s", now))
		}
	}
	inside, err := os.ReadDir(l.path(dir + "/current"))
	require.NoError(l, err)
	for _, e := range inside {
		require.True(l, strings.HasSuffix(e.Name(), ".parquet") && !strings.HasPrefix(e.Name(), "."), e.Name())
	}
}

// protocolCalls are the system calls that make a generation and publish it.
var protocolCalls = []string{"mkdirat", "linkat", "symlinkat", "renameat", "fsync", "unlinkat"}

// The same at each of the system calls of the protocol, with strace.
func TestExportsKilledAtEachCall(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("SKIPPED: no strace here: exports are killed at random times only")
	}
	base := newLab(t)
	args := []string{"export", "-q", "results.json", "--records", pattern, "--increments", "inc"}
	before := state{"gpt": {{ID: "a"}, {ID: "b"}}}
	before.write(base)
	base.jsonguard(args...)
	before["falcon"] = []result{{ID: "c"}}
	before.write(base)
	base.jsonguard(args...)
	before["gpt"] = append(before["gpt"], result{ID: "x"})
	before.write(base)
	base.jsonguard(args...) // three generations, of which the first is gone; three files
	after := before.clone()
	after["gpt"][2].N = 7
	after["falcon"] = append(after["falcon"], result{ID: "d"})

	points := 0
	for _, call := range protocolCalls {
		hit := 0
		for n := 1; n <= 40; n++ {
			l := newLab(t)
			require.NoError(t, exec.Command("cp", "-a", base.dir+"/.", l.dir).Run())
			after.write(l)
			trace := exec.Command("strace", append([]string{"-f", "-qq", "-o", l.path("trace"), "-e", "trace=" + call,
				"-e", fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n), binary}, args...)...)
			trace.Env = append(os.Environ(), "GOMAXPROCS=1")
			err := l.start(trace).Wait()
			text, rerr := os.ReadFile(l.path("trace"))
			require.NoError(t, rerr)
			if strings.Contains(string(text), "ptrace") && strings.Contains(string(text), "not permitted") {
				t.Skip("SKIPPED: strace may not trace here")
			}
			got, readErr := readCurrent(l.path("inc"))
			require.NoError(t, readErr)
			if err == nil { // there is no such call any more
				require.Equal(t, after.rows(), got)
				break
			}
			hit++
			points++
			require.True(t, same(got, before.rows()) || same(got, after.rows()), "killed at %s %d: %q", call, n, got)
			l.jsonguard(args...)
			got, readErr = readCurrent(l.path("inc"))
			require.NoError(t, readErr)
			require.Equal(t, after.rows(), got, "after %s %d", call, n)
			l.requireTidy("inc")
		}
		require.NotZero(t, hit, "%s was never called", call)
	}
	t.Logf("%d kill points", points)
}

// temps are the hidden files that an export to out.parquet makes.
func (l *lab) temps() []string {
	names, err := filepath.Glob(l.path(".out.parquet.*.tmp"))
	require.NoError(l, err)
	return names
}

// writeBig makes the file one whose export takes a while.
func (l *lab) writeBig() {
	big := state{}
	for i := range 60_000 {
		big["gpt"] = append(big["gpt"], result{ID: fmt.Sprint("a result with a name that takes some time ", i), N: i})
	}
	big.write(l)
}

// endInTheMiddle sends an export a signal while its file is open, and again until one was not done before that. group: as
// typed at a terminal, also to what it runs. before restores what an export that was done has changed.
func (l *lab) endInTheMiddle(signal syscall.Signal, group bool, before func()) *exec.Cmd {
	for range 50 {
		before()
		cmd := l.start(exec.Command(binary, "export", "-q", l.file, "--records", pattern, "-o", "out.parquet"))
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		for open := false; !open; {
			select {
			case <-ended:
				open = true
			case <-time.After(time.Millisecond):
				open = len(l.temps()) > 0
			}
		}
		victim := cmd.Process.Pid
		if group {
			victim = -victim
		}
		_ = syscall.Kill(victim, signal)
		<-ended
		if !cmd.ProcessState.Success() {
			return cmd
		}
	}
	require.Fail(l, "it was always faster")
	return nil
}

// A Parquet file whose writer dies holds nothing; the one that was there before is still there, and what was left is removed by
// the next export. This is why sidecars, not Parquet files, are the journal.
func TestAKilledExportLeavesTheOldFile(t *testing.T) {
	l := newLab(t)
	old := state{"gpt": {{ID: "old"}}}
	old.write(l)
	l.jsonguard("export", "-q", l.file, "--records", pattern, "-o", "old.parquet")
	before, err := os.ReadFile(l.path("old.parquet"))
	require.NoError(t, err)
	l.writeBig()
	l.endInTheMiddle(syscall.SIGKILL, true, func() { require.NoError(t, os.WriteFile(l.path("out.parquet"), before, 0o644)) })
	got, err := readFile(l.path("out.parquet"))
	require.NoError(t, err)
	require.True(t, same(old.rows(), got), "%d rows", len(got))
	left := l.temps()
	require.Len(t, left, 1)
	_, err = readFile(left[0])
	require.Error(t, err, "a file that is not finished can be read")

	l.jsonguard("export", "-q", l.file, "--records", pattern, "-o", "out.parquet")
	got, err = readFile(l.path("out.parquet"))
	require.NoError(t, err)
	require.Len(t, got, 60_000)
	require.Empty(t, l.temps(), "what a killed one left")
}

// Ctrl-C, and a shell's kill: nothing is left, and the process dies of it.
func TestInterruptedExport(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if signal.Ignored(s) { // inherited, from nohup for example; the command leaves it so
			t.Skipf("SKIPPED: %v is ignored here", s)
		}
		for _, group := range []bool{true, false} {
			l := newLab(t)
			l.writeBig()
			cmd := l.endInTheMiddle(s, group, func() { _ = os.Remove(l.path("out.parquet")) })
			w := cmd.ProcessState.Sys().(syscall.WaitStatus)
			require.True(t, w.Signaled() && w.Signal() == s, "%v", cmd.ProcessState)
			names, err := os.ReadDir(l.dir)
			require.NoError(t, err)
			require.Len(t, names, 1, "%v", names)
		}
	}
}

// A Ctrl-C at any time of an import: all rows or none, nothing else is left, and the process dies of it.
func TestInterruptedImport(t *testing.T) {
	if signal.Ignored(syscall.SIGINT) { // inherited, from nohup for example; the command leaves it so
		t.Skip("SKIPPED: SIGINT is ignored here")
	}
	l := newLab(t)
	l.writeBig()
	l.jsonguard("export", "-q", l.file, "--records", pattern, "-o", "out.parquet")
	began := time.Now()
	l.jsonguard("import", "-q", "out.parquet", "-o", "whole.json")
	took := time.Since(began)
	whole, err := os.ReadFile(l.path("whole.json"))
	require.NoError(t, err)
	none, all := 0, 0
	for round := range 9 {
		dir := l.path(fmt.Sprint(round))
		require.NoError(t, os.Mkdir(dir, 0o755))
		cmd := l.start(exec.Command(binary, "import", "-q", "out.parquet", "-o", filepath.Join(dir, "back.json")))
		time.Sleep(took * time.Duration(round) / 8)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		err := cmd.Wait()
		content, rerr := os.ReadFile(filepath.Join(dir, "back.json"))
		if rerr == nil {
			all++
			require.True(t, bytes.Equal(whole, content), "%d bytes", len(content))
		} else {
			none++
			require.ErrorIs(t, rerr, fs.ErrNotExist)
			w := cmd.ProcessState.Sys().(syscall.WaitStatus)
			require.True(t, w.Signaled() && w.Signal() == syscall.SIGINT, "%v", err)
		}
		names, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, e := range names {
			require.Contains(t, []string{"back.json", "back.json.lock"}, e.Name())
		}
	}
	require.NotZero(t, none)
	t.Logf("%d imports were interrupted, %d were done", none, all)
}

// A Ctrl-C ends the tool before the command has heard of it.
func TestInterruptedToolFirst(t *testing.T) {
	if signal.Ignored(syscall.SIGINT) { // inherited, from nohup for example; the command leaves it so
		t.Skip("SKIPPED: SIGINT is ignored here")
	}
	l := newLab(t)
	l.writeBig()
	l.jsonguard("export", "-q", l.file, "--records", pattern, "-o", "out.parquet")
	for _, argv := range [][]string{
		{"export", "-q", l.file, "--records", pattern, "-o", "again.parquet"}, {"import", "-q", "out.parquet", "-o", "back.json"},
	} {
		for round := 0; ; round++ {
			require.Less(t, round, 50, "it was always faster")
			cmd := l.start(exec.Command(binary, argv...))
			ended := make(chan struct{})
			go func() { _ = cmd.Wait(); close(ended) }()
			met := false
			for over := false; !over && !met; {
				select {
				case <-ended:
					over = true
				case <-time.After(time.Millisecond):
					if tool := childOf(cmd.Process.Pid); tool > 0 {
						met = syscall.Kill(tool, syscall.SIGINT) == nil
					}
				}
			}
			time.Sleep(100 * time.Millisecond)
			_ = cmd.Process.Signal(syscall.SIGINT)
			<-ended
			if w := cmd.ProcessState.Sys().(syscall.WaitStatus); !w.Exited() || w.ExitStatus() != 0 {
				require.True(t, w.Signaled() && w.Signal() == syscall.SIGINT, "%v", cmd.ProcessState)
				break
			}
		}
	}
}

// The tool is killed, not the command: no file appears, and it is said.
func TestKilledTool(t *testing.T) {
	l := newLab(t)
	old := state{"gpt": {{ID: "old"}}}
	old.write(l)
	l.jsonguard("export", "-q", l.file, "--records", pattern, "-o", "old.parquet")
	before, err := os.ReadFile(l.path("old.parquet"))
	require.NoError(t, err)
	l.writeBig()
	for round := 0; ; round++ {
		require.Less(t, round, 50, "it was always faster")
		require.NoError(t, os.WriteFile(l.path("out.parquet"), before, 0o644))
		var said bytes.Buffer
		cmd := exec.Command(binary, "export", "-q", l.file, "--records", pattern, "-o", "out.parquet")
		cmd.Stderr = &said
		l.start(cmd)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for killed := false; !killed; {
			select {
			case err = <-ended: // it was faster
				ended <- err
				killed = true
			case <-time.After(time.Millisecond):
				if tool := childOf(cmd.Process.Pid); tool > 0 {
					_ = syscall.Kill(tool, syscall.SIGKILL)
					killed = true
				}
			}
		}
		if err = <-ended; err == nil {
			_, err = readFile(l.path("out.parquet"))
			require.NoError(t, err, "it says that it is done")
			continue
		}
		require.Equal(t, 74, status(err), said.String())
		require.Contains(t, said.String(), "jsonguard-parquet ended early")
		break
	}
	got, err := readFile(l.path("out.parquet"))
	require.NoError(t, err)
	require.True(t, same(old.rows(), got), "%d rows", len(got))
	names, err := filepath.Glob(l.path(".out.parquet*"))
	require.NoError(t, err)
	require.Empty(t, names)
}

// childOf is a process that pid has started, 0: none.
func childOf(pid int) int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, _ := os.ReadFile(name)
		var id, parent int
		if i := bytes.LastIndexByte(text, ')'); i > 0 {
			_, _ = fmt.Sscanf(string(text), "%d", &id)
			_, _ = fmt.Sscanf(string(text[i+4:]), "%d", &parent)
		}
		if parent == pid {
			return id
		}
	}
	return 0
}
