//go:build unix

package policy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/intercept"
)

// document is what the runners keep.
type document struct {
	Models map[string]*struct {
		Total   int            `json:"total_tests"`
		Success int            `json:"success"`
		Rate    float64        `json:"success_rate"`
		ByType  map[string]int `json:"by_type"`
		Runs    []struct {
			ID   int    `json:"id"`
			Type string `json:"type"`
			OK   bool   `json:"ok"`
		} `json:"runs"`
	} `json:"models"`
}

// spellings of two models and of one that nobody renames, as runners have them.
var spellings = []string{
	"deepseek-v3-0324", "deepseek-v3-0324-2", "deepseek-v3-0324-3", "DeepSeek-V3-0324", "deepseek-r1-0528", "DEEPSEEK-R1-0528", "qwen2.5-72b-instruct",
}

var properNames = []string{"DeepSeek-V3-0324", "DeepSeek-R1-0528", "qwen2.5-72b-instruct"}

func TestRunnersCountExactly(t *testing.T) {
	for _, c := range []struct{ mode, style string }{
		{"copy", "memory replace"}, {"intercept", "reread"}, {"intercept", "memory replace"},
	} {
		t.Run(c.mode+" "+c.style, func(t *testing.T) {
			if _, err := intercept.Probe(); c.mode == "intercept" && err != nil {
				t.Skipf("SKIPPED: no interception here: %v", err)
			}
			s := newScene(t, c.mode, c.style)
			s.start(*runners, *kills)
			s.verify(0)
		})
	}
}

// scene is one shared file and everybody who ever wrote it.
type scene struct {
	t           *testing.T
	mode, style string
	python      string
	script      string
	dir, file   string
	rand        *rand.Rand

	mu          sync.Mutex
	tried, done map[int]bool
	next        int
	killed      int
}

func newScene(t *testing.T, mode, style string) *scene {
	t.Logf("-seed %d", *seed)
	s := &scene{t: t, mode: mode, style: style, python: python(t), tried: map[int]bool{}, done: map[int]bool{}, rand: rand.New(rand.NewPCG(*seed, 1))}
	var err error
	s.script, err = filepath.Abs("testdata/runner.py")
	require.NoError(t, err)
	s.dir = t.TempDir()
	s.file = filepath.Join(s.dir, "results.json")
	policy, err := os.ReadFile("testdata/jsonguard.json")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "jsonguard.json"), policy, 0o600))
	require.NoError(t, os.WriteFile(s.file, []byte("{\"models\": {}}\n"), 0o600))
	return s
}

// start runs programs, so many at a time, and kills some, until they are through.
func (s *scene) start(atOnce, kills int) {
	slots := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i := range atOnce + kills {
		slots <- struct{}{}
		name := spellings[s.rand.IntN(len(spellings))]
		how := death{-1, false, 0}
		if i < kills {
			how = death{s.rand.IntN(*tests), s.rand.IntN(2) == 0, time.Duration(s.rand.IntN(15)) * time.Millisecond}
		}
		all.Go(func() {
			defer func() { <-slots }()
			s.run(name, how)
		})
	}
	all.Wait()
}

// death is when a program, or its wrapper, is killed: a while after it began its test number at, -1 never.
type death struct {
	at      int
	wrapper bool
	after   time.Duration
}

// run is one program under exec. It returns when neither it nor its wrapper lives.
func (s *scene) run(name string, how death) {
	s.mu.Lock()
	first := s.next
	s.next += *tests
	s.mu.Unlock()
	target := "{}"
	if s.mode == "intercept" {
		target = s.file
	}
	cmd := exec.Command(binary, "exec", "--mode", s.mode, "--timeout", "120s", "--file", s.file, "--",
		s.python, s.script, target, name, strconv.Itoa(first), strconv.Itoa(*tests), s.style)
	out, err := cmd.StdoutPipe()
	s.must(err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	s.must(cmd.Start())
	pid := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() { // to its end: a program may live on without its wrapper
		word, number, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			continue // cut off by the kill
		}
		s.mu.Lock()
		switch word {
		case "pid":
			pid = n
		case "try":
			s.tried[n] = true
			if n-first == how.at {
				victim := pid
				if how.wrapper {
					victim = cmd.Process.Pid
				}
				s.killed++
				time.AfterFunc(how.after, func() { _ = syscall.Kill(victim, syscall.SIGKILL) })
			}
		case "ack":
			s.done[n] = true
		}
		s.mu.Unlock()
	}
	err = cmd.Wait()
	if how.at < 0 && err != nil {
		s.t.Errorf("%s: %v\n%s", cmd, err, stderr.String())
	}
}

func (s *scene) must(err error) {
	if err != nil {
		s.t.Error(err)
	}
}

func (s *scene) guard(args ...string) string {
	cmd := exec.Command(binary, args...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "%s: %s", args, out)
	return string(out)
}

func (s *scene) read() document {
	raw, err := os.ReadFile(s.file)
	require.NoError(s.t, err)
	var doc document
	require.NoError(s.t, json.Unmarshal(raw, &doc), string(raw))
	return doc
}

// verify: what was acknowledged is there, once; every number is that of the records; nobody's spelling is left.
// before is how many tests there were at the beginning, without records.
func (s *scene) verify(before int) {
	t := s.t
	s.guard("recover", s.file)
	doc := s.read()
	there := map[int]bool{}
	total := 0
	for name, m := range doc.Models {
		require.Contains(t, properNames, name)
		success, byType := 0, map[string]int{}
		for _, r := range m.Runs {
			require.False(t, there[r.ID], "test %d is there twice", r.ID)
			require.True(t, s.tried[r.ID], "nobody ran test %d", r.ID)
			there[r.ID] = true
			byType[r.Type]++
			if r.OK {
				success++
			}
		}
		if before == 0 {
			require.Equal(t, len(m.Runs), m.Total, name)
			require.Equal(t, success, m.Success, name)
			require.Equal(t, byType, m.ByType, name)
		}
		require.InDelta(t, float64(m.Success)/float64(m.Total), m.Rate, 1e-12, name)
		total += m.Total
	}
	for id := range s.done {
		require.True(t, there[id], "test %d was written and is not there", id)
	}
	require.Equal(t, before+len(there), total)
	t.Logf("%d tests in %d models; %d were tried, %d written; %d programs or wrappers killed", total, len(doc.Models), len(s.tried), len(s.done), s.killed)
}

// One model that had become four stays one while runners keep writing the old spellings.
func TestTheModelsStayOne(t *testing.T) {
	s := newScene(t, "copy", "memory replace")
	models := map[string]any{}
	for name, n := range map[string]int{"deepseek-v3-0324": 412, "deepseek-v3-0324-2": 201, "deepseek-v3-0324-3": 60, "DeepSeek-V3-0324": 36,
		"deepseek-r1-0528": 100, "DeepSeek-R1-0528": 15, "llama-3.3-70b": 400, "Llama-3.3-70B-Instruct": 39, "qwen2.5-72b-instruct": 50} {
		models[name] = map[string]any{"total_tests": n, "success": n / 2, "success_rate": float64(n/2) / float64(n), "by_type": map[string]int{"math": n}, "runs": []any{}}
	}
	raw, err := json.MarshalIndent(map[string]any{"models": models}, "", "  ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.file, raw, 0o600))
	table := s.guard("normalize", s.file)
	require.Regexp(t, `= DeepSeek-V3-0324 .* 709\n`, table)
	count := func() map[string]int {
		counts := map[string]int{}
		for name, m := range s.read().Models {
			counts[name] = m.Total
			require.Equal(t, m.Total, m.ByType["math"]+m.ByType["code"]+m.ByType["text"], name)
		}
		return counts
	}
	require.Equal(t, map[string]int{"DeepSeek-V3-0324": 709, "DeepSeek-R1-0528": 115, "Llama-3.3-70B-Instruct": 439, "qwen2.5-72b-instruct": 50}, count())
	s.start(4, 0)
	counts := count()
	require.Len(t, counts, 4, "no model came back: %v", counts)
	total := 0
	for _, n := range counts {
		total += n
	}
	require.Equal(t, 709+115+439+50+4**tests, total, fmt.Sprint(counts))
	require.Contains(t, s.guard("normalize", "-v", s.file), "every name is spelled")
}
