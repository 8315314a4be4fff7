//go:build linux

package concurrency

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/intercept"
	"jsonguard/merge"
)

// guessed: nobody names the file.
var guessed bool

// kind is one way in which a program that knows nothing of jsonguard writes the file it shares.
type kind struct {
	name    string
	formats string // of the file: "json", "lines", or both
	run     func(p *program) error
	// locks: programs of this kind exclude each other, so that what they count in the document needs no policy.
	locks bool
	// removes: killed alone between taking the name away and making it anew, it has removed the file, as without us.
	removes bool
}

var kinds = slices.Concat(inPlace, held, locking, replacing, appending)

func init() {
	roles["program"] = programWorker
	for _, k := range kinds {
		doorsOfPrograms[k.name] = func(c *campaign, n int) { c.runKind(n, k) }
	}
}

func kindNamed(name string) (kind, bool) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return kind{}, false
	}
	return kinds[i], true
}

// shared is a document in which programs of every kind count: each update is an element of a list, a member of an object, one
// more of a sum, and, of programs that lock, one more of a counter.
const shared = `{
  "counter": 0,
  "log": [],
  "exec": {},
  "ids": [],
  "sum": 0,
  "locked": {},
  "verbs": [],
  "batch": [],
  "pad": %q
}
`

var pad = strings.Repeat("what nobody changes ", 500)

const sharedPolicy = `{"rules": [{"at": "/sum", "merge": "sum"}]}`

// A document of some pages, so that a write is not one step.
func sharedDocument() string {
	locked := map[string]int{}
	for _, k := range locking {
		locked[k.name] = 0
	}
	counters, _ := json.Marshal(locked)
	text := fmt.Sprintf(shared, pad)
	return strings.Replace(text, `"locked": {}`, `"locked": `+string(counters), 1)
}

// Programs of every kind under exec, beside everything else on the same document.
func TestProgramsOfEveryKind(t *testing.T) {
	runPrograms(t, "results.json", "json", sharedDocument())
}

func TestProgramsOfEveryKindInLines(t *testing.T) {
	runPrograms(t, "results.jsonl", "lines", strings.Repeat("{\"rate\": 1.10, \"caf\\u00e9\": \"a\\/b\"}\n", 1))
}

// What nobody names is guarded as well, and nothing is left beside it: no directory, no lock file.
func TestProgramsOfGuessedFiles(t *testing.T) {
	for name, content := range map[string]string{"guessed.json": sharedDocument(), "guessed.jsonl": "{}\n"} {
		t.Run(name, func(t *testing.T) {
			guessed = true
			defer func() { guessed = false }()
			runPrograms(t, name, map[bool]string{true: "lines", false: "json"}[isLines(name)], content)
		})
	}
}

func runPrograms(t *testing.T, name, format, content string) {
	if _, err := intercept.Probe(); err != nil {
		t.Skip("SKIPPED:", err)
	}
	if *partial {
		t.Skip("SKIPPED: what programs do to a mount point is not intercepted")
	}
	doors := all
	if guessed {
		doors = nil // a verb names the file
	}
	if *chosen == "" {
		for _, k := range kinds {
			if guessed && (k.removes || k.name == "filelock") {
				continue // where nobody else has a hand on it, a removal is real at once; the lock file is the program's own
			}
			if strings.Contains(k.formats, format) {
				doors = append(doors[:len(doors):len(doors)], k.name)
			}
			if k.name == "flock" || k.name == "fcntl" { // they have to exclude each other under several supervisors
				doors = append(doors, k.name)
			}
		}
	} else {
		doors = nil
		for name := range strings.SplitSeq(*chosen, ",") {
			k, ok := kindNamed(name)
			require.True(t, ok || slices.Contains(all, name), "-doors: no %q", name)
			if !ok || strings.Contains(k.formats, format) {
				doors = append(doors, name)
			}
		}
		if len(doors) == 0 {
			t.Skip("SKIPPED: none of -doors writes", format)
		}
	}
	if *some > 0 {
		doors = slices.Clone(doors)
		rand.New(rand.NewPCG(*seed, 2)).Shuffle(len(doors), func(i, j int) { doors[i], doors[j] = doors[j], doors[i] })
		doors = doors[:min(*some, len(doors))]
		t.Log("doors:", doors)
	}
	c := newCampaign(t, name, content, max(*procs, len(doors)))
	c.updates = max(1, *updates/4) // they take their time
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(c.file), "jsonguard.json"), []byte(sharedPolicy), 0o600))
	stop := c.nothingStays
	if !guessed {
		stop = c.stay()
	}
	c.do(doors, stop)
	_, doc, counts := c.check()
	c.checkPrograms(doc, counts)
}

// nothingStays: what supervisors leave that are killed is for the next one.
func (c *campaign) nothingStays() {
	t := c.t
	if *kill {
		cmd := c.under("sh", "-c", `exec 3<>"$1"`, "sh", c.file)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		if len(c.quarantined()) > 0 {
			return
		}
	}
	require.NoDirExists(t, c.guard())
	require.NoFileExists(t, c.file+".lock")
}

// under is a program under a supervisor.
func (c *campaign) under(argv ...string) *exec.Cmd {
	args := []string{"exec", "-q", "--mode", "intercept", "--timeout", "5m"}
	if !guessed {
		args = append(args, "--file", c.file)
	}
	cmd := exec.Command(binary, append(append(args, "--"), argv...)...)
	cmd.Dir = filepath.Dir(c.file)
	return cmd
}

// stay keeps another party at the file, which only has it open: a removal is real at once where there is none. It ends with stop.
func (c *campaign) stay() (stop func()) {
	cmd := c.under("sh", "-c", `exec 3<"$1"; echo open; read -r _ || :`, "sh", c.file)
	in, err := cmd.StdinPipe()
	require.NoError(c.t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(c.t, err)
	cmd.Stderr = os.Stderr
	require.NoError(c.t, cmd.Start())
	_, err = out.Read(make([]byte, len("open\n")))
	require.NoError(c.t, err)
	return func() {
		_ = in.Close()
		require.NoError(c.t, cmd.Wait())
	}
}

// sharedScript starts several programs under one supervisor: PROGRAM FILE KIND (NAME FIRST COUNT)...
const sharedScript = `program=$1 file=$2 kind=$3; shift 3
while [ $# -gt 0 ]; do "$program" "$file" "$kind" "$1" "$2" "$3" & shift 3; done
wait`

// runKind runs programs of one kind under a supervisor, again where they were killed, until they have done their updates.
func (c *campaign) runKind(n int, k kind) {
	var names []string
	for i := range *programs {
		names = append(names, fmt.Sprintf("%s.%d.%d", k.name, n, i))
	}
	for {
		var left []string
		c.mu.Lock()
		for _, name := range names {
			if next := c.next[name]; next < c.updates {
				left = append(left, name, strconv.Itoa(next), strconv.Itoa(c.updates-next))
			}
		}
		c.mu.Unlock()
		if len(left) == 0 {
			return
		}
		self, err := os.Executable()
		if err == nil {
			argv := []string{self, c.file, k.name}
			if len(left) > 3 {
				argv = []string{"sh", "-c", sharedScript, "sh", self, c.file, k.name}
			}
			var killed bool
			killed, err = c.run(c.under(append(argv, left...)...), "program", c.listen)
			if killed {
				continue
			}
		}
		if err != nil {
			c.failed(k.name, err)
			return
		}
	}
}

// program is one process under exec: FILE KIND NAME FIRST COUNT.
type program struct {
	kind       kind
	file, name string
	next, end  int
}

func programWorker(args []string) int {
	if len(args) > 0 && args[0] == heir {
		return inherit()
	}
	k, ok := kindNamed(args[1])
	if !ok {
		return fail(fmt.Errorf("no kind %q", args[1]))
	}
	first, _ := strconv.Atoi(args[3])
	count, _ := strconv.Atoi(args[4])
	p := &program{kind: k, file: args[0], name: args[2], next: first, end: first + count}
	word := "pid"
	if k.removes {
		word = "spared"
	}
	say(word, fmt.Sprint(os.Getpid(), " ", p.name))
	if err := k.run(p); err != nil {
		say("fail", fmt.Sprintf("%s: %v", p.name, err))
		return 1
	}
	say("end", p.name)
	return 0
}

// each does one update after the other. What update returned from is acknowledged: closed, renamed, unlocked or synced.
func (p *program) each(update func(id string) error) error {
	for ; p.next < p.end; p.next++ {
		id := fmt.Sprintf("%s-%d", p.name, p.next)
		announce(id)
		if err := update(id); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		acknowledge(id)
	}
	return nil
}

// wrote: all of it is in the file that the program has; from here on it may not be thrown away.
func wrote(id string) { say("wrote", id) }

// rest lets a moment pass, each third time, in which the supervisor takes what has rested for 50 ms.
func (p *program) rest() {
	if p.next%3 == 1 {
		time.Sleep(45*time.Millisecond + rand.N(20*time.Millisecond))
	}
}

// read returns what the program finds in the file. Of lines, those that are whole.
func (p *program) read() ([]byte, error) {
	raw, err := os.ReadFile(p.file)
	for p.kind.removes && errors.Is(err, os.ErrNotExist) { // another program of the same tree is about to make it anew
		time.Sleep(time.Millisecond)
		raw, err = os.ReadFile(p.file)
	}
	if isLines(p.file) {
		raw = raw[:bytes.LastIndexByte(raw, '\n')+1]
	}
	return raw, err
}

// with makes the version that the program writes, from the one it read.
func (p *program) with(raw []byte, id string) ([]byte, error) {
	if isLines(p.file) {
		return fmt.Appendf(slices.Clone(raw), "%q\n", id), nil
	}
	var doc map[string]any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&doc); err != nil {
		return nil, fmt.Errorf("%w in %q", err, raw)
	}
	doc["exec"].(map[string]any)[id] = p.next
	doc["ids"] = append(doc["ids"].([]any), id)
	increment(doc, "sum")
	if p.kind.locks {
		increment(doc["locked"].(map[string]any), p.kind.name)
	}
	if p.next%2 == 0 {
		return json.Marshal(doc)
	}
	return json.MarshalIndent(doc, "", "  ")
}

func increment(in map[string]any, member string) {
	n, _ := in[member].(json.Number).Int64()
	in[member] = n + 1
}

// version is read and with.
func (p *program) version(id string) ([]byte, error) {
	raw, err := p.read()
	if err != nil {
		return nil, err
	}
	return p.with(raw, id)
}

// checkPrograms looks at what programs under exec count beside the ids, and for what they wrote and nobody acknowledged.
func (c *campaign) checkPrograms(doc *merge.Document, counts map[string]int) {
	t := c.t
	kept := c.quarantined()
	if !*kill {
		require.Empty(t, string(kept), "quarantine")
	}
	missing, inQuarantine := 0, 0
	for id := range c.written {
		switch {
		case counts[id] > 0:
		case bytes.Contains(kept, []byte(`"`+id+`"`)):
			inQuarantine++
		default:
			missing++
			t.Errorf("written, and thrown away: %s", id)
		}
	}
	require.Zero(t, missing, "seed %d", *seed)
	out, err := exec.Command(binary, "verify", c.file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Logf("in quarantine %d", inQuarantine)
	if c.format == merge.Lines {
		return
	}
	kept, err = doc.Get(merge.Pointer{"pad"})
	require.NoError(t, err)
	if *kill && string(kept) != strconv.Quote(pad) {
		// A program was killed in the middle of one write over the old text, which begins with the new counts and ends with the old ones,
		// and is a document because both ends lie in one string. Nothing tells that from one that is whole.
		t.Log("torn in the middle of a string by a kill: its counts are not compared")
		return
	}
	require.Equal(t, strconv.Quote(pad), string(kept), "what nobody changed")
	listed, members, byKind := map[string]int{}, map[string]int{}, map[string]int{}
	c.countList(doc, merge.Pointer{"ids"}, 0, listed)
	require.NoError(t, doc.Each(merge.Pointer{"exec"}, func(id string, _ []byte) bool {
		if name, _, ok := strings.Cut(id, "."); ok {
			members[id]++
			byKind[name]++
		}
		return true
	}))
	for id, n := range listed {
		require.Equal(t, 1, n, "times in the list: %s", id)
	}
	require.Equal(t, members, listed, "list and object were changed together")
	sum, err := doc.Get(merge.Pointer{"sum"})
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(len(members)), string(sum), "the sum is of as many as are there")
	for _, k := range locking {
		n, err := doc.Get(merge.Pointer{"locked", k.name})
		require.NoError(t, err)
		require.Equal(t, strconv.Itoa(byKind[k.name]), string(n), "counted under %s", k.name)
	}
}

// quarantined is all that is in quarantine.
func (c *campaign) quarantined() (all []byte) {
	dir := filepath.Join(c.guard(), "quarantine")
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(c.t, err)
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(c.t, err)
		all = append(append(all, raw...), '\n')
	}
	return all
}
