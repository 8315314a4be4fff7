//go:build unix

package concurrency

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// careful are the doors through which a worker comes that says what it changes.
var careful = []string{"update", "apply", "journal", "verbs", "batch"}

// all doors: under exec (as auto decides, and with a copy) a program writes all of the file in a style of its own.
var all = append(careful[:len(careful):len(careful)], "exec", "copy")

const (
	untouched = "{\n  \"rate\": 1.10,\n  \"caf\\u00e9\": \"a\\/b\",\n"
	rest      = "  \"counter\": 0,\n  \"log\": []\n}\n"
)

// What nobody changed keeps its value: its bytes may become a program's where that wrote alone for a moment (ADR 15).
func TestNothingIsLostOrDoubled(t *testing.T) {
	raw := runCampaign(t, "results.json", all, untouched+rest)
	doc, err := merge.Parse(raw, merge.JSON)
	require.NoError(t, err)
	rate, err := doc.Get(merge.Pointer{"rate"})
	require.NoError(t, err)
	require.JSONEq(t, "1.10", string(rate))
	cafe, err := doc.Get(merge.Pointer{"café"})
	require.NoError(t, err)
	require.JSONEq(t, `"a/b"`, string(cafe))
}

func TestBytesNobodyChanged(t *testing.T) {
	raw := runCampaign(t, "results.json", careful, untouched+rest)
	require.True(t, bytes.HasPrefix(raw, []byte(untouched)), "untouched lines changed:\n%.200s", raw)
}

// JSON Lines are appended in place, not replaced.
func TestNothingIsLostOrDoubledInLines(t *testing.T) {
	const line = "{\"rate\": 1.10, \"caf\\u00e9\": \"a\\/b\"}\n"
	raw := runCampaign(t, "results.jsonl", all, line)
	require.True(t, bytes.HasPrefix(raw, []byte(line)), "untouched line changed:\n%.200s", raw)
}

// runCampaign returns what the file holds in the end.
func runCampaign(t *testing.T, name string, doors []string, content string) []byte {
	c := newCampaign(t, name, content, *procs)
	c.do(doors, func() {})
	raw, _, _ := c.check()
	return raw
}

func newCampaign(t *testing.T, name, content string, workers int) *campaign {
	t.Logf("seed %d", *seed)
	dir := *place
	if dir == "" {
		var err error
		dir, err = os.MkdirTemp("", "concurrency-*")
		require.NoError(t, err)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("kept: %s", dir)
				return
			}
			_ = os.RemoveAll(dir)
		})
	}
	file := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	c := &campaign{
		t: t, file: file, workers: workers, updates: *updates, random: rand.New(rand.NewPCG(*seed, 1)), tried: map[string]bool{}, acked: map[string]bool{},
		written: map[string]bool{}, next: map[string]int{}, live: map[int]*exec.Cmd{}, programs: map[string]*os.Process{},
	}
	if isLines(file) {
		c.format = merge.Lines
	}
	transcript, err := os.Create(filepath.Join(dir, "transcript"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = transcript.Close() })
	c.transcript = transcript
	return c
}

// do is the whole run; done is called behind the workers.
func (c *campaign) do(doors []string, done func()) {
	observer := c.observe()
	c.work(doors)
	observer()
	done()
	c.recover()
}

// campaign is one run: its processes and what they said.
type campaign struct {
	t       *testing.T
	file    string
	workers int
	updates int // of each
	format  merge.Format
	random  *rand.Rand

	mu       sync.Mutex
	tried    map[string]bool
	acked    map[string]bool
	written  map[string]bool // by programs: to the end, whether or not that was acknowledged
	next     map[string]int  // the update that a worker has not tried yet
	live     map[int]*exec.Cmd
	programs map[string]*os.Process // under exec
	errors   []string
	torn     atomic.Int64
	reads    atomic.Int64
	kills    int

	transcript io.Writer // what workers said, and when
}

func (c *campaign) work(doors []string) {
	stop := make(chan struct{})
	var killer sync.WaitGroup
	if *kill {
		killer.Go(func() { c.killAtRandom(stop) })
	}
	var workers sync.WaitGroup
	for n := range c.workers {
		kind := doors[n%len(doors)]
		if run := doorsOfPrograms[kind]; run != nil {
			workers.Go(func() { run(c, n) })
			continue
		}
		workers.Go(func() { c.runWorker(n, kind) })
	}
	workers.Wait()
	close(stop)
	killer.Wait()
	require.Empty(c.t, c.errors, "seed %d", *seed)
}

// runWorker does its updates, in as many processes as it takes: a killed one is followed by another that goes on
// behind what the first tried.
func (c *campaign) runWorker(n int, kind string) {
	name := fmt.Sprintf("%s%d", kind, n)
	for next := 0; next < c.updates; {
		killed, err := c.runOnce(name, kind, next)
		if err != nil && !killed {
			c.failed(name, err)
			return
		}
		c.mu.Lock()
		next = c.next[name]
		c.mu.Unlock()
	}
}

func (c *campaign) failed(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errors = append(c.errors, fmt.Sprintf("%s: %v", name, err))
}

// doorsOfPrograms are the kinds of programs under exec, by name, where there are some.
var doorsOfPrograms = map[string]func(c *campaign, n int){}

func (c *campaign) runOnce(name, kind string, first int) (killed bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	args := []string{c.file, name, strconv.Itoa(first), strconv.Itoa(c.updates - first), kind}
	switch kind {
	case "verbs":
		args[4] = c.list("verbs")
		return c.run(exec.Command("sh", append([]string{"-c", verbScript, binary}, args...)...), "", c.listen)
	case "batch":
		cmd := exec.Command(binary, "batch", "--timeout", "2m", c.file)
		in, err := cmd.StdinPipe()
		if err != nil {
			return false, err
		}
		return c.run(cmd, "", func(out io.Reader) []string {
			c.feedBatch(in, bufio.NewReader(out), name, first)
			return nil
		})
	case "exec", "copy":
		mode := map[string]string{"exec": "auto", "copy": "copy"}[kind]
		return c.run(exec.Command(binary, append([]string{"exec", "-q", "--mode", mode, "--timeout", "2m", "--file", c.file, "--", self, "{}"}, args[1:4]...)...), "naive", c.listen)
	default:
		return c.run(exec.Command(self, args...), "library", c.listen)
	}
}

// run starts a command in a group of its own, and has talk read what it says, to the end: it returns what went wrong in it.
func (c *campaign) run(cmd *exec.Cmd, role string, talk func(out io.Reader) (failures []string)) (killed bool, err error) {
	cmd.Env = append(os.Environ(), "CONCURRENCY_ROLE="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	c.mu.Lock()
	c.live[cmd.Process.Pid] = cmd
	c.mu.Unlock()
	failures := talk(out)
	c.mu.Lock() // a number is not another process's before it is waited for
	delete(c.live, cmd.Process.Pid)
	c.mu.Unlock()
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status := exit.Sys().(syscall.WaitStatus)
		// A killed child of the shell or of exec shows as a status of 128+9 of its parent; 65: what one left is in quarantine.
		killed = *kill && (status.Signaled() || status.ExitStatus() == 137 || status.ExitStatus() == 65)
	}
	if err == nil && len(failures) > 0 {
		err = errors.New("a program failed")
	}
	if err != nil {
		err = fmt.Errorf("%w: %s%s", err, strings.Join(failures, "\n"), stderr.String())
	}
	return killed, err
}

// verbScript: $0 is jsonguard; FILE NAME FIRST COUNT LIST. patch and append are one change only with batch, so that here the
// list is all there is to count.
const verbScript = `i=$3; end=$(($3 + $4))
while [ $i -lt $end ]; do
	echo "try $2-$i"
	"$0" append --timeout 2m "$1" "$5" "\"$2-$i\"" || exit
	echo "ack $2-$i"
	i=$((i + 1))
done`

// list is the pointer of the list that a kind of worker appends to: JSON Lines are one list.
func (c *campaign) list(kind string) string {
	if c.format == merge.Lines {
		return ""
	}
	return "/" + kind
}

// listen takes down what workers say, a line at a time.
func (c *campaign) listen(out io.Reader) (failures []string) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, id, _ := strings.Cut(lines.Text(), " ")
		c.mu.Lock()
		fmt.Fprintln(c.transcript, time.Now().UTC().Format("15:04:05.000000"), lines.Text())
		switch word {
		case "try":
			c.try(id)
		case "wrote":
			c.written[id] = true // until something is written over it
		case "over":
			delete(c.written, id)
		case "ack":
			c.acked[id] = true
		case "pid":
			number, name, _ := strings.Cut(id, " ")
			if pid, err := strconv.Atoi(number); err == nil {
				c.programs[name], _ = os.FindProcess(pid)
			}
		case "end":
			delete(c.programs, id)
		case "fail":
			failures = append(failures, id)
		}
		c.mu.Unlock()
	}
	return failures
}

// try: a worker that is killed is followed by one that goes on behind it. c.mu is held.
func (c *campaign) try(id string) {
	c.tried[id] = true
	i := strings.LastIndexByte(id, '-')
	name := id[:i]
	if n, err := strconv.Atoi(id[i+1:]); err == nil {
		c.next[name] = max(c.next[name], n+1)
	}
}

// feedBatch drives `jsonguard batch`: one operation a line, one acknowledgement a line.
func (c *campaign) feedBatch(in io.WriteCloser, out *bufio.Reader, name string, first int) {
	defer in.Close()
	for i := first; i < c.updates; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		ack := []string{"visible", "journaled"}[i%2]
		c.mu.Lock()
		c.try(id)
		c.mu.Unlock()
		if _, err := fmt.Fprintf(in, `{"op":"append","at":%q,"value":%q,"id":%q,"ack":%q}`+"\n", c.list("batch"), id, id, ack); err != nil {
			return
		}
		line, err := out.ReadBytes('\n')
		var answer struct {
			ID string
			OK bool
		}
		if err != nil || json.Unmarshal(line, &answer) != nil {
			return
		}
		if answer.OK && answer.ID == id {
			c.mu.Lock()
			c.acked[id] = true
			c.mu.Unlock()
		}
	}
}

// killAtRandom kills a process, or the whole group of one (the wrapper and its runner), or a program under a wrapper, at
// random moments.
func (c *campaign) killAtRandom(stop chan struct{}) {
	for limit := c.workers * c.updates / 8; c.kills < limit; {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(c.random.IntN(30)+1) * time.Millisecond):
		}
		c.mu.Lock()
		var victims []int
		for pid := range c.live {
			victims = append(victims, pid)
		}
		var inside []*os.Process
		for _, p := range c.programs {
			inside = append(inside, p)
		}
		if len(inside) > 0 && c.random.IntN(2) == 0 {
			if inside[c.random.IntN(len(inside))].Kill() == nil {
				c.kills++
			}
		} else if len(victims) > 0 {
			pid := victims[c.random.IntN(len(victims))]
			if c.random.IntN(2) == 0 {
				pid = -pid
			}
			if syscall.Kill(pid, syscall.SIGKILL) == nil {
				c.kills++
			}
		}
		c.mu.Unlock()
	}
}

// observe reads the file all the time, as a program does that knows nothing of jsonguard.
func (c *campaign) observe() (stop func()) {
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			raw, err := os.ReadFile(c.file)
			if errors.Is(err, fs.ErrNotExist) || err == nil && !c.whole(raw) {
				c.torn.Add(1)
			}
			c.reads.Add(1)
			time.Sleep(200 * time.Microsecond)
		}
	})
	return func() { close(done); reader.Wait() }
}

// whole says whether a reader got one complete version. Of JSON Lines, what ends in a newline: the kernel shows an
// append page by page, so that the last line may lack its end for the moment of the write.
func (c *campaign) whole(raw []byte) bool {
	if c.format == merge.Lines {
		return merge.Valid(raw[:bytes.LastIndexByte(raw, '\n')+1], merge.Lines) == nil
	}
	return len(raw) > 0 && merge.Valid(raw, merge.JSON) == nil
}

// recover is what the next use does: several at once, some of them killed.
func (c *campaign) recover() {
	if *kill {
		for range 10 {
			cmd := exec.Command(binary, "recover", c.file)
			require.NoError(c.t, cmd.Start())
			time.Sleep(time.Duration(c.random.IntN(8)) * time.Millisecond)
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	// A runner whose wrapper was killed may still be at work; its copy is its own until it ends.
	var last string
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		out, err := exec.Command(binary, "recover", "--timeout", "5m", c.file).CombinedOutput()
		var exit *exec.ExitError
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 65) { // 65: a torn copy went to quarantine
			require.NoError(c.t, err, "%s", out)
		}
		last = string(out)
		left, err := os.ReadDir(filepath.Join(c.guard(), "pending"))
		if err != nil || len(left) == 0 {
			return
		}
	}
	status, _ := exec.Command(binary, "status", c.file).CombinedOutput()
	left, _ := exec.Command("ls", "-laR", c.guard()).CombinedOutput()
	c.t.Fatalf("sidecars stay: %s\n%s\n%s", last, status, left)
}

func (c *campaign) guard() string {
	return filepath.Join(filepath.Dir(c.file), "."+filepath.Base(c.file)+".guard")
}

// check returns what the file holds, and how often each id.
func (c *campaign) check() ([]byte, *merge.Document, map[string]int) {
	t := c.t
	raw, err := os.ReadFile(c.file)
	require.NoError(t, err)
	doc, err := merge.Parse(raw, c.format)
	require.NoError(t, err)

	var counts map[string]int
	if c.format == merge.Lines {
		counts = map[string]int{}
		c.countList(doc, nil, 1, counts)
	} else {
		counts = c.countRecords(doc)
	}
	lost, doubled, unknown := 0, 0, 0
	for id := range c.acked {
		if counts[id] == 0 {
			lost++
			t.Errorf("lost: %s", id)
		}
	}
	for id, n := range counts {
		if n > 1 {
			doubled++
			t.Errorf("%d times: %s", n, id)
		}
		if !c.tried[id] {
			unknown++
			t.Errorf("nobody wrote: %s", id)
		}
	}
	if !*partial {
		require.Zero(t, c.torn.Load(), "torn reads")
	}
	require.NotZero(t, c.reads.Load())
	t.Logf("tried %d, acknowledged %d, in the file %d, lost %d, doubled %d, kills %d, reads %d", len(c.tried), len(c.acked), len(counts), lost, doubled, c.kills, c.reads.Load())
	require.Zero(t, lost+doubled+unknown, "seed %d", *seed)
	return raw, doc, counts
}

// countRecords counts the ids in a JSON document, and checks that the counter went with the list.
func (c *campaign) countRecords(doc *merge.Document) map[string]int {
	counts := map[string]int{}
	c.countList(doc, merge.Pointer{"log"}, 0, counts)
	inLog := 0
	for _, n := range counts {
		inLog += n
	}
	counter, err := doc.Get(merge.Pointer{"counter"})
	require.NoError(c.t, err)
	require.Equal(c.t, strconv.Itoa(inLog), string(counter), "counter and list were changed together")
	for _, list := range []string{"verbs", "batch"} {
		c.countList(doc, merge.Pointer{list}, 0, counts)
	}
	if _, err := doc.Get(merge.Pointer{"exec"}); err == nil {
		require.NoError(c.t, doc.Each(merge.Pointer{"exec"}, func(id string, _ []byte) bool { counts[id]++; return true }))
	}
	return counts
}

// countList counts the ids in a list, behind its first elements.
func (c *campaign) countList(doc *merge.Document, at merge.Pointer, first int, counts map[string]int) {
	if _, err := doc.Get(at); errors.Is(err, merge.ErrNotFound) {
		return
	}
	require.NoError(c.t, doc.Each(at, func(index string, value []byte) bool {
		if i, err := strconv.Atoi(index); err == nil && i < first {
			return true
		}
		var id string
		require.NoError(c.t, json.Unmarshal(value, &id), "element %s of %q in %s", index, at.String(), doc.Bytes())
		counts[id]++
		return true
	}))
}
