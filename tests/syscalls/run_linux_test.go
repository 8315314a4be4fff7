package syscalls

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// changing are the calls that change something, other than the opening of new files: what is done to those follows.
const changing = "write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,ftruncate,linkat,fchmod,fchmodat,flock"

// run is one scenario in a directory of its own.
type run struct {
	s    *scenario
	dir  string
	file string
}

// prepared makes what is on disk before, once for each scenario: every run starts from a copy.
func prepared(t *testing.T) []*scenario {
	for i := range scenarios {
		s := &scenarios[i]
		if s.template != "" {
			continue
		}
		var err error
		s.template, err = os.MkdirTemp(place, "template-*")
		require.NoError(t, err)
		if s.file == "" {
			s.file = "doc.json"
		}
		content := "{\n  \"keep\": 1.10,\n  \"n\": 0\n}\n"
		if s.isLines() {
			content = "{\"keep\": 1.10}\n"
		}
		r := &run{s, s.template, filepath.Join(s.template, s.file)}
		if !s.missing {
			require.NoError(t, os.WriteFile(r.file, []byte(content), 0o644))
		}
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, "next.json"), []byte("{\n  \"keep\": 1.10,\n  \"n\": 1\n}\n"), 0o644))
		if s.prepare != nil {
			s.prepare(t, r)
		}
	}
	all := make([]*scenario, len(scenarios))
	for i := range scenarios {
		all[i] = &scenarios[i]
	}
	return all
}

func (s *scenario) isLines() bool { return strings.HasSuffix(s.file, ".jsonl") }

// start is a fresh copy of what is on disk before.
func (s *scenario) start() (*run, error) {
	dir, err := os.MkdirTemp(place, "run-*")
	if err != nil {
		return nil, err
	}
	return &run{s, dir, filepath.Join(dir, s.file)}, copyTree(s.template, dir)
}

func (r *run) end() { _ = os.RemoveAll(r.dir) }

func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == from {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		dst := filepath.Join(to, strings.TrimPrefix(path, from))
		switch {
		case e.IsDir():
			return os.Mkdir(dst, info.Mode().Perm())
		case e.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			return errors.Join(err, os.Symlink(target, dst))
		}
		content, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(dst, content, info.Mode().Perm()))
	})
}

func (r *run) args(args []string) []string {
	full := make([]string, len(args))
	for i, a := range args {
		full[i] = strings.ReplaceAll(a, "FILE", r.s.file)
	}
	return full
}

func (r *run) environment(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "EDITOR=cp next.json", "VISUAL=")
	cmd.Stdin = strings.NewReader(r.s.stdin)
	cmd.WaitDelay = time.Minute
	if r.s.runner { // one whose wrapper was killed holds the pipes open
		cmd.WaitDelay = 2 * time.Second
	}
	return cmd
}

func (r *run) command(args ...string) *exec.Cmd {
	return r.environment(exec.Command(binary, r.args(args)...))
}

// traced is the command under strace, without the programs that it starts.
func (r *run) traced(trace string, inject []string, args ...string) *exec.Cmd {
	argv := []string{"-f", "-qq", "-o", filepath.Join(r.dir, "trace"), "-e", "trace=" + trace}
	if r.s.runner {
		argv = append(argv, "-b", "execve")
	}
	argv = append(append(argv, inject...), binary)
	return r.environment(exec.Command("strace", append(argv, r.args(args)...)...))
}

// point is the nth call of a kind in a thread.
type point struct {
	call string
	n    int
	text string // the call, as strace wrote it
}

func (p point) String() string { return fmt.Sprintf("%s %d", p.call, p.n) }

var callLine = regexp.MustCompile(`^(\d+) +([a-z]\w*)\((.*)`)

// points runs a command once, to its end, and lists its calls: those of its main thread, and where it serves a program
// those of every thread.
func (r *run) points(trace string, args ...string) ([]point, error) {
	if _, err := finish(r.traced(trace, nil, args...)); err != nil { // its status is not the question
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(r.dir, "trace"))
	if err != nil {
		return nil, err
	}
	counts, listed := map[string]int{}, map[string]bool{}
	var list []point
	main := ""
	for line := range strings.Lines(string(text)) {
		m := callLine.FindStringSubmatch(line)
		if m == nil || strings.HasPrefix(m[2], "syscall_") { // newer than strace
			continue
		}
		if main == "" {
			main = m[1]
		}
		if m[1] != main && !r.s.runner {
			continue
		}
		counts[m[1]+m[2]]++
		p := point{m[2], counts[m[1]+m[2]], m[3]}
		if !listed[p.String()] {
			listed[p.String()] = true
			list = append(list, p)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no calls were seen: %s", r.s.name, text)
	}
	return list, nil
}

// outcome is how a command ended.
type outcome struct {
	status         int // -1: by a signal
	stdout, stderr string
}

func (o outcome) acknowledged() bool { return o.status == 0 }

func finish(cmd *exec.Cmd) (outcome, error) {
	const patience = 2 * time.Minute
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		return outcome{}, err
	}
	hangs := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if !hangs.Stop() {
		return outcome{}, fmt.Errorf("%q does not end: %s", cmd.Args, &errs)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return outcome{}, err
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}, nil
}

// check recovers for good and counts. acknowledged: the verb ended by itself and with success.
func (r *run) check(acknowledged bool) error {
	want := []int{r.s.before + r.s.adds}
	if !acknowledged && !r.finished() {
		want = append(want, r.s.before)
	}
	// A runner whose wrapper was killed may still be about to end; its copy is its own until then.
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		n, content, err := r.recovered()
		if err != nil {
			return err
		}
		if n == want[0] || n == want[len(want)-1] {
			break
		}
		if !r.s.runner || n > want[0] || time.Now().After(deadline) {
			return fmt.Errorf("/n is %d, not one of %v: %s", n, want, content)
		}
	}
	return nil
}

// finished: the runner had completed its write, which is safe from then on.
func (r *run) finished() bool {
	_, err := os.Stat(filepath.Join(r.dir, "finished"))
	return err == nil
}

// recovered is what the next process sees.
func (r *run) recovered() (n int, content []byte, err error) {
	ctx := context.Background()
	g, err := sidecar.Open(r.file, sidecar.Options{Timeout: time.Minute, Warn: func(string) {}})
	if err != nil {
		return 0, nil, err
	}
	defer g.Close()
	if _, _, err := g.Recover(ctx, r.s.salvage); err != nil {
		return 0, nil, err
	}
	if content, err = os.ReadFile(r.file); err != nil && !(r.s.missing && errors.Is(err, fs.ErrNotExist)) {
		return 0, nil, err
	}
	if err == nil && !r.s.missing && !bytes.Contains(content, []byte("\"keep\": 1.10")) {
		return 0, nil, fmt.Errorf("bytes that nobody changed are gone: %s", content)
	}
	if n, err = r.count(content); err != nil {
		return 0, nil, fmt.Errorf("%w: %s", err, content)
	}
	findings, err := g.Verify(ctx, r.s.repair)
	for _, f := range findings {
		if !f.OK && !f.Repaired && !(r.s.torn && f.Check == "quarantine") {
			err = errors.Join(err, fmt.Errorf("verify: %s %s: %s", f.Check, f.Path, f.Detail))
		}
	}
	return n, content, err
}

// count is how often somebody added 1.
func (r *run) count(content []byte) (int, error) {
	if len(content) == 0 && r.s.missing {
		return 0, nil
	}
	if r.s.isLines() {
		if err := merge.Valid(content, merge.Lines); err != nil {
			return 0, err
		}
		return bytes.Count(content, []byte("\n")) - 1, nil
	}
	var doc struct{ N int }
	err := json.Unmarshal(content, &doc)
	return doc.N, err
}

// What is on disk before.

func guarded(t *testing.T, r *run) {
	g, err := sidecar.Open(r.file, sidecar.Options{})
	require.NoError(t, err)
	require.NoError(t, g.Journal(t.Context(), merge.Op{Kind: merge.OpSet, At: "/g", Value: merge.Raw("1")}))
	require.NoError(t, g.Close())
}

// pending leaves changes of processes that are dead.
func pending(owners, each int) func(*testing.T, *run) {
	return func(t *testing.T, r *run) {
		for range owners {
			r.leave(t, strings.Repeat(r.oneMore()+"\n", each))
		}
	}
}

func (r *run) oneMore() string {
	if r.s.isLines() {
		return `{"op":"append","at":"","value":1,"ack":"journaled"}`
	}
	return `{"op":"incr","at":"/n","ack":"journaled"}`
}

// leave lets a batch journal operations while the file is locked, and kills it.
func (r *run) leave(t *testing.T, lines string) {
	hold := exec.Command("flock", r.file+".lock", "sh", "-c", "echo held; exec sleep 600")
	held, err := hold.StdoutPipe()
	require.NoError(t, err)
	hold.Args = append(hold.Args[:1:1], append([]string{"--no-fork"}, hold.Args[1:]...)...)
	require.NoError(t, hold.Start())
	defer func() {
		_ = hold.Process.Kill()
		_ = hold.Wait()
	}()
	_, err = io.ReadFull(held, make([]byte, len("held\n")))
	require.NoError(t, err)
	cmd := r.command("batch", "FILE")
	cmd.Stdin = nil
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = in.Write([]byte(lines))
	require.NoError(t, err)
	var answers []byte
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

func refused(t *testing.T, r *run) {
	r.leave(t, `{"op":"append","at":"/keep","value":1,"ack":"journaled"}`+"\n"+r.oneMore()+"\n")
}

// deadRunner leaves the finished copy of a runner whose wrapper was killed.
func deadRunner(t *testing.T, r *run) {
	r.leaveRunner(t, `cp next.json "$0"; kill -9 $PPID`)
}

func tornRunner(t *testing.T, r *run) {
	r.leaveRunner(t, `printf '{"keep": 1.10, "n": 1, "cut": ' > "$0"; kill -9 $PPID`)
}

// tornAddition is torn behind something that the file did not have: salvaging adds, and changes nothing.
func tornAddition(t *testing.T, r *run) {
	require.NoError(t, os.WriteFile(r.file, []byte("{\n  \"keep\": 1.10\n}\n"), 0o644))
	tornRunner(t, r)
}

func (r *run) leaveRunner(t *testing.T, script string) {
	cmd := r.command("exec", "-q", "--mode", "copy", "--file", "FILE", "--", "sh", "-c", script, "{}")
	out, err := cmd.StdoutPipe() // ends with the runner
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = io.Copy(io.Discard, out)
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
}

// damaged has a sidecar that cannot be read beyond its second change.
func damaged(t *testing.T, r *run) {
	r.leave(t, strings.Repeat(r.oneMore()+"\n", 4))
	names, err := filepath.Glob(filepath.Join(r.dir, ".doc.json.guard", "pending", "*"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	content, err := os.ReadFile(names[0])
	require.NoError(t, err)
	lines := bytes.SplitAfter(content, []byte("\n"))
	lines[3][10] ^= 1 // header, two good ones, this
	require.NoError(t, os.WriteFile(names[0], bytes.Join(lines, nil), 0o644))
}

// policy puts a policy beside the file.
func policy(text string, then ...func(*testing.T, *run)) func(*testing.T, *run) {
	return func(t *testing.T, r *run) {
		require.NoError(t, os.WriteFile(filepath.Join(r.dir, "jsonguard.json"), []byte(text), 0o644))
		for _, prepare := range then {
			prepare(t, r)
		}
	}
}

// misspelled has what belongs to /n under another name.
func misspelled(t *testing.T, r *run) {
	require.NoError(t, os.WriteFile(r.file, []byte("{\n  \"keep\": 1.10,\n  \"m\": 1,\n  \"n\": 0\n}\n"), 0o644))
}

// conflict has a 1 at /n that lost.
func conflict(t *testing.T, r *run) {
	for _, n := range []string{"1", "0"} {
		r.leave(t, `{"op":"set","at":"/n","value":`+n+`,"ack":"journaled"}`+"\n")
	}
	out, err := r.command(recovery...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// versions are three, of which each was counted up from the one before: generations 2 to 4.
func versions(t *testing.T, r *run) {
	for range 3 {
		out, err := r.command(incr...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
}

// linked makes the file a symbolic link to one elsewhere.
func linked(t *testing.T, r *run) {
	require.NoError(t, os.Mkdir(filepath.Join(r.dir, "real"), 0o755))
	require.NoError(t, os.Rename(r.file, filepath.Join(r.dir, "real", "file.json")))
	require.NoError(t, os.Symlink("real/file.json", r.file))
	pending(2, 1)(t, r)
}
