//go:build unix

package concurrency

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
	t.Logf("seed %d", *seed)
	dir := *place
	if dir == "" {
		dir = t.TempDir()
	}
	file := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	c := &campaign{t: t, file: file, random: rand.New(rand.NewPCG(*seed, 1)), tried: map[string]bool{}, acked: map[string]bool{}}
	if isLines(file) {
		c.format = merge.Lines
	}
	observer := c.observe()
	c.work(doors)
	observer()
	c.recover()
	return c.check()
}

// campaign is one run: its processes and what they said.
type campaign struct {
	t      *testing.T
	file   string
	format merge.Format
	random *rand.Rand

	mu     sync.Mutex
	tried  map[string]bool
	acked  map[string]bool
	live   map[int]*exec.Cmd
	errors []string
	torn   atomic.Int64
	reads  atomic.Int64
	kills  int
}

func (c *campaign) work(doors []string) {
	c.live = map[int]*exec.Cmd{}
	stop := make(chan struct{})
	var killer sync.WaitGroup
	if *kill {
		killer.Go(func() { c.killAtRandom(stop) })
	}
	var workers sync.WaitGroup
	for n := range *procs {
		kind := doors[n%len(doors)]
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
	for next := 0; next < *updates; {
		tried, killed, err := c.runOnce(name, kind, next)
		next += tried
		if err != nil && !killed {
			c.mu.Lock()
			c.errors = append(c.errors, fmt.Sprintf("%s: %v", name, err))
			c.mu.Unlock()
			return
		}
	}
}

func (c *campaign) runOnce(name, kind string, first int) (tried int, killed bool, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, false, err
	}
	args := []string{c.file, name, strconv.Itoa(first), strconv.Itoa(*updates - first), kind}
	var cmd *exec.Cmd
	role := "library"
	switch kind {
	case "verbs":
		args[4] = c.list("verbs")
		cmd = exec.Command("sh", append([]string{"-c", verbScript, binary}, args...)...)
	case "batch":
		cmd = exec.Command(binary, "batch", "--timeout", "2m", c.file)
	case "exec", "copy":
		role = "naive"
		mode := map[string]string{"exec": "auto", "copy": "copy"}[kind]
		cmd = exec.Command(binary, append([]string{"exec", "-q", "--mode", mode, "--timeout", "2m", "--file", c.file, "--", self, "{}"}, args[1:4]...)...)
	default:
		cmd = exec.Command(self, args...)
	}
	cmd.Env = append(os.Environ(), "CONCURRENCY_ROLE="+role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, false, err
	}
	var feed *os.File
	if kind == "batch" {
		r, w, err := os.Pipe()
		if err != nil {
			return 0, false, err
		}
		cmd.Stdin, feed = r, w
		defer r.Close()
	}
	if err := cmd.Start(); err != nil {
		return 0, false, err
	}
	c.mu.Lock()
	c.live[cmd.Process.Pid] = cmd
	c.mu.Unlock()
	if kind == "batch" {
		tried = c.feedBatch(feed, bufio.NewReader(out), name, first)
	} else {
		tried = c.listen(bufio.NewScanner(out))
	}
	err = cmd.Wait()
	c.mu.Lock()
	delete(c.live, cmd.Process.Pid)
	c.mu.Unlock()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status := exit.Sys().(syscall.WaitStatus)
		// A killed child of the shell or of exec shows as a status of 128+9 of its parent.
		killed = *kill && (status.Signaled() || status.ExitStatus() == 137)
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return tried, killed, err
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

func (c *campaign) listen(lines *bufio.Scanner) (tried int) {
	for lines.Scan() {
		word, id, _ := strings.Cut(lines.Text(), " ")
		c.mu.Lock()
		switch word {
		case "try":
			tried++
			c.tried[id] = true
		case "ack":
			c.acked[id] = true
		}
		c.mu.Unlock()
	}
	return tried
}

// feedBatch drives `jsonguard batch`: one operation a line, one acknowledgement a line.
func (c *campaign) feedBatch(in *os.File, out *bufio.Reader, name string, first int) (tried int) {
	defer in.Close()
	for i := first; i < *updates; i++ {
		id := fmt.Sprintf("%s-%d", name, i)
		ack := []string{"visible", "journaled"}[i%2]
		c.mu.Lock()
		c.tried[id] = true
		c.mu.Unlock()
		tried++
		if _, err := fmt.Fprintf(in, `{"op":"append","at":%q,"value":%q,"id":%q,"ack":%q}`+"\n", c.list("batch"), id, id, ack); err != nil {
			return tried
		}
		line, err := out.ReadBytes('\n')
		var answer struct {
			ID string
			OK bool
		}
		if err != nil || json.Unmarshal(line, &answer) != nil {
			return tried
		}
		if answer.OK && answer.ID == id {
			c.mu.Lock()
			c.acked[id] = true
			c.mu.Unlock()
		}
	}
	return tried
}

// killAtRandom kills a process, or the whole group of one (the wrapper and its runner), at random moments.
func (c *campaign) killAtRandom(stop chan struct{}) {
	for limit := *procs * *updates / 8; c.kills < limit; {
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
		if len(victims) > 0 {
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

func (c *campaign) check() []byte {
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
	return raw
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
		require.NoError(c.t, json.Unmarshal(value, &id))
		counts[id]++
		return true
	}))
}
