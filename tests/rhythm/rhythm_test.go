//go:build linux

// Package rhythm looks for races that show in a certain rhythm only. It builds jsonguard with a point before every statement that asks
// something of a file, a lock, a channel or another part of it, and runs the campaigns of tests/concurrency again and again: each time
// with a plan of its own, which makes some processes sleep at one or two of the points. So each rhythm is extreme, instead of
// everything being slow. The product has no part in it: the points are in an overlay of the build.
//
//	go test ./tests/rhythm -seed 0 -plans 100000 -for 3h -parallel 3 -timeout 4h
//	go test ./tests/rhythm -run TestRhythms -seed 7                              the plans of that seed again
//	go test ./tests/rhythm -plan 'sidecar/scratch.go:100.0=50:100:50:80:2000' -campaign '…' -plans 20
//
// What a plan found is told with the plan, and its whole output is kept. The same plan makes the same places slow, though not the same
// interleaving: it may take some turns to meet it again.
package rhythm

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/intercept"
	"jsonguard/tests/command"
	"jsonguard/tests/rhythm/delay"
)

var (
	plans     = flag.Int("plans", 2, "how many plans are tried")
	budget    = flag.Duration("for", 0, "no plan begins after this time; 0: all are tried")
	parallel  = flag.Int("parallel", 2, "how many at once: they sleep most of their time")
	seed      = flag.Uint64("seed", 1, "of the plans; 0: others each time")
	given     = flag.String("plan", "", "this plan, each time: POINT=SLOW:ODDS:FROM:TO:ALTOGETHER, one or two of them, separated by commas; see delay.Stop")
	givenWhat = flag.String("campaign", "", "of -plan: the arguments of the tests of tests/concurrency, as a red run prints them")
	only      = flag.String("points", "", "points in whose name this is")
	built     = flag.String("built", "", "a directory in which the instrumented executables are kept, and found by the next run")
	patience  = flag.Duration("patience", 8*time.Minute, "after which a plan hangs")
)

func TestRhythms(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: it builds everything again, and takes seconds")
	}
	if _, err := intercept.Probe(); err != nil {
		t.Skip("SKIPPED:", err)
	}
	b := build(t)
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("seed %d, %d points", *seed, len(b.points))
	random := rand.New(rand.NewPCG(*seed, 1))
	met := b.calibrate(t, random)
	next := b.planner(met, random)

	began := time.Now()
	var tried, red atomic.Int64
	var work sync.WaitGroup
	todo := make(chan plan)
	for range *parallel {
		work.Go(func() {
			for p := range todo {
				tried.Add(1)
				if !b.try(t, p) {
					red.Add(1)
				}
			}
		})
	}
	for n := 0; n < *plans && (*budget == 0 || time.Since(began) < *budget); n++ {
		todo <- next()
	}
	close(todo)
	work.Wait()
	t.Logf("plans %d, red %d, points met %d", tried.Load(), red.Load(), len(met))
}

// bench is what is built, and where.
type bench struct {
	dir    string // of the executables
	points []point
	output string // a directory that stays if something is red
	mu     sync.Mutex
}

func build(t *testing.T) *bench {
	b := &bench{dir: cmp.Or(*built, t.TempDir())}
	require.NoError(t, os.MkdirAll(b.dir, 0o755))
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	require.NoError(t, err)
	mutated, err := command.Mutated()
	require.NoError(t, err)
	var replace map[string]string
	b.points, replace, err = instrument(strings.TrimSpace(string(out)), t.TempDir(), mutated)
	require.NoError(t, err)
	require.NotEmpty(t, b.points)
	tests := filepath.Join(b.dir, "tests")
	if _, err := os.Stat(tests); err != nil || *built == "" {
		require.NoError(t, command.Build(filepath.Join(b.dir, "jsonguard"), "jsonguard", replace))
		require.NoError(t, command.BuildTests(tests, "jsonguard/tests/concurrency", replace))
	}
	b.output, err = os.MkdirTemp("", "rhythm-*")
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("kept: %s", b.output)
			return
		}
		_ = os.RemoveAll(b.output)
	})
	return b
}

// plan is one run of a campaign, with the points at which processes sleep.
type plan struct {
	stops    []delay.Stop
	campaign []string
	name     string // of the points, for people
}

// campaigns are the tests that a plan may choose, with what they need to be over in a moment.
var campaigns = [][]string{
	{"-test.run", "^TestProgramsOfEveryKind$", "-some", "4", "-procs", "4", "-updates", "16"},
	{"-test.run", "^TestProgramsOfEveryKindInLines$", "-some", "4", "-procs", "4", "-updates", "16"},
	{"-test.run", "^TestProgramsOfGuessedFiles$", "-some", "4", "-procs", "4", "-updates", "12"},
	{"-test.run", "^TestNothingIsLostOrDoubled(InLines)?$", "-procs", "7", "-updates", "6"},
}

// calibrate runs each campaign without a delay, and returns the points that anybody came by.
func (b *bench) calibrate(t *testing.T, random *rand.Rand) (met []int) {
	if *given != "" {
		return nil
	}
	counts := filepath.Join(b.output, "counts")
	require.NoError(t, os.WriteFile(counts, make([]byte, 4*len(b.points)), 0o666))
	var work sync.WaitGroup
	for i, c := range campaigns {
		args := append(slices.Clone(c), "-seed", strconv.FormatUint(random.Uint64(), 10))
		if i%2 == 0 {
			args = append(args, "-kill")
		}
		work.Go(func() { b.run(t, plan{name: "no delay", campaign: args}, delay.Counts+"="+counts) })
	}
	work.Wait()
	raw, err := os.ReadFile(counts)
	require.NoError(t, err)
	for i, n := range unsafe.Slice((*uint32)(unsafe.Pointer(&raw[0])), len(b.points)) {
		if n > 0 && strings.Contains(b.points[i].String()+" "+b.points[i].in, *only) {
			met = append(met, i)
		}
	}
	require.NotEmpty(t, met, "points that the campaigns come by")
	return met
}

// planner draws plans: each point comes first before one comes again.
func (b *bench) planner(met []int, random *rand.Rand) func() plan {
	if *given != "" {
		stops, name := b.parse(*given)
		return func() plan {
			campaign := strings.Fields(*givenWhat)
			if !slices.Contains(campaign, "-seed") {
				campaign = append(campaign, "-seed", strconv.FormatUint(random.Uint64(), 10))
			}
			return plan{stops, campaign, name}
		}
	}
	var turn []int
	return func() plan {
		if len(turn) == 0 {
			turn = slices.Clone(met)
			random.Shuffle(len(turn), func(i, j int) { turn[i], turn[j] = turn[j], turn[i] })
		}
		p := plan{stops: []delay.Stop{draw(turn[0], random)}}
		turn = turn[1:]
		if random.IntN(3) == 0 {
			p.stops = append(p.stops, draw(met[random.IntN(len(met))], random))
		}
		p.campaign = append(slices.Clone(campaigns[random.IntN(len(campaigns))]), "-seed", strconv.FormatUint(random.Uint64(), 10))
		if random.IntN(2) == 0 {
			p.campaign = append(p.campaign, "-kill")
		}
		var names []string
		for _, s := range p.stops {
			names = append(names, b.nameOf(s))
		}
		p.name = strings.Join(names, ",")
		return p
	}
}

func draw(point int, random *rand.Rand) delay.Stop {
	s := delay.Stop{
		Point: point,
		Slow:  []int{30, 60, 100}[random.IntN(3)],
		Odds:  []int{10, 30, 100}[random.IntN(3)],
		From:  []int{1, 5, 40, 55}[random.IntN(4)],
		// What the rest does in a delay may take longer than the delay of a fold.
		Altogether: 1500,
	}
	s.To = max(s.From, []int{10, 60, 80, 300}[random.IntN(4)])
	return s
}

func (b *bench) nameOf(s delay.Stop) string {
	_, how, _ := strings.Cut(s.String(), ":")
	return b.points[s.Point].String() + "=" + how
}

func (b *bench) parse(text string) (stops []delay.Stop, name string) {
	for one := range strings.SplitSeq(text, ",") {
		where, how, _ := strings.Cut(one, "=")
		i := slices.IndexFunc(b.points, func(p point) bool { return p.String() == where })
		s, err := delay.Parse(fmt.Sprintf("%d:%s", i, how))
		if i < 0 || err != nil {
			panic(fmt.Sprintf("-plan %s: no such point, or not its numbers: %v", one, err))
		}
		stops = append(stops, s)
	}
	return stops, text
}

func (b *bench) try(t *testing.T, p plan) (green bool) {
	var texts []string
	for _, s := range p.stops {
		texts = append(texts, s.String())
	}
	return b.run(t, p, delay.Plan+"="+strings.Join(texts, ","))
}

// run runs a campaign in a group of its own, which is killed when it hangs, after it has said where its goroutines are.
func (b *bench) run(t *testing.T, p plan, env string) (green bool) {
	out, err := os.CreateTemp(b.output, "plan-*")
	require.NoError(t, err)
	defer out.Close()
	fmt.Fprintf(out, "-plan '%s' -campaign '%s'\n", p.name, strings.Join(p.campaign, " "))
	ctx, cancel := context.WithTimeout(t.Context(), *patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(b.dir, "tests"), append([]string{"-test.v"}, p.campaign...)...)
	mine := "RHYTHM_RUN=" + filepath.Base(out.Name())
	cmd.Env = append(os.Environ(), env, mine, command.Built+"="+b.dir)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		left := processesOf(mine)
		for _, pid := range left {
			fmt.Fprintf(out, "hangs: %s\n", describe(pid))
		}
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		for _, pid := range left {
			if pid != cmd.Process.Pid {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		return nil
	}
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if err == nil {
		_ = os.Remove(out.Name())
		return true
	}
	said, rerr := os.ReadFile(out.Name())
	b.mu.Lock()
	defer b.mu.Unlock()
	t.Errorf("%v (%s)\n%s", errors.Join(err, ctx.Err(), rerr), out.Name(), said)
	return false
}

// processesOf are those that have a variable in their environment.
func processesOf(variable string) (pids []int) {
	names, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range names {
		if environment, err := os.ReadFile(name); err == nil && slices.Contains(strings.Split(string(environment), "\x00"), variable) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// describe says what a process is, and what each of its threads waits for.
func describe(pid int) string {
	dir := fmt.Sprintf("/proc/%d", pid)
	line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	said := fmt.Sprintf("%d %s", pid, strings.ReplaceAll(string(line), "\x00", " "))
	stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
	said += "\n\t" + strings.TrimSpace(string(stat))
	threads, _ := filepath.Glob(filepath.Join(dir, "task/*"))
	for _, thread := range threads {
		where, _ := os.ReadFile(filepath.Join(thread, "wchan"))
		call, _ := os.ReadFile(filepath.Join(thread, "syscall"))
		stack, _ := os.ReadFile(filepath.Join(thread, "stack")) // as root
		said += fmt.Sprintf("\n\t%s %s %s\n%s", filepath.Base(thread), where, strings.TrimSpace(string(call)), stack)
	}
	return said
}
