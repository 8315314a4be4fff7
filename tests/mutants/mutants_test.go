// Package mutants proves that the tests can fail: each file of testdata breaks one guarantee in a copy of the sources,
// and each of the tests named in it must go red there. A mutant whose text is not found any more fails as well, so that the
// list follows the code.
//
//	go test ./tests/mutants -mutants -timeout 60m
//	go test ./tests/mutants -mutants -part core
//	go test ./tests/mutants -mutants -part quick -budget 5m
//	go test ./tests/mutants -mutants -part rest
//	go test ./tests/mutants -mutants -run 'TestMutantsAreCaught/no-lock'
package mutants

import (
	"context"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"jsonguard/tests/command"
)

var (
	run  = flag.Bool("mutants", false, "build each mutant and run the tests that must catch it (minutes)")
	long = flag.Bool("long", false, "also those that only a long test catches")

	part   = flag.String("part", "", `"core": those that every run has to catch; "rest": the others; "quick": of these, those that tests of a package catch; "": all`)
	budget = flag.Duration("budget", 0, "begin none after this time; the core is always run, and which of the others are depends on -seed; 0: all")
	seed   = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of their order")
)

// core are the breaks that every run has to catch, whatever its budget.
var core = []string{
	"no-temp-fsync", "no-directory-fsync-before-rename", "no-directory-fsync-after-rename", "no-journal-fsync",
	"lock-none", "lock-file-unlinked", "truncate-before-rename", "replay-without-watermark", "short-write-ignored",
	"close-error-ignored", "last-writer-wins", "commit-record-unsynced", "settled-trusted-blindly", "acknowledged-too-early",
	"session-scratch-folded-again", "session-one-base-for-all-threads", "rename-pop-takes-all", "sum-equal-is-once",
	"view-line-lost-folded-again", "unreadable-drops-its-watermark", "session-never-from-memory", "rename-added-only", "repair-takes-what-was-passed-over",
}

// chosen are the mutants of -part, in a random order.
func chosen(t *testing.T) (mutants []mutant) {
	paths, err := filepath.Glob("testdata/*.txtar")
	require.NoError(t, err)
	cores := 0
	for _, path := range paths {
		m := read(t, path)
		if m.core() {
			cores++
		}
		if *part == "" || *part == "core" && m.core() || *part == "rest" && !m.core() || *part == "quick" && m.quick() {
			mutants = append(mutants, m)
		}
	}
	require.Len(t, core, cores, "a mutant of the core is missing")
	require.NotEmpty(t, mutants, "-part %s", *part)
	rand.New(rand.NewPCG(*seed, 5)).Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })
	return mutants
}

// mutant is one file of testdata:
//
//	breaks: the promise that is broken, in words
//	file: lock/flock.go
//	caught by: ./lock ./sidecar -run TestOne$|TestTwo$
//	-- old --
//	lines that are in the file once
//	-- new --
//	what takes their place
type mutant struct {
	name     string
	breaks   string
	file     string
	caughtBy []string // arguments of go test
	old, new string
}

func (m mutant) core() bool { return slices.Contains(core, m.name) }

// quick: it is none of the core, and caught without a campaign and without processes that race.
func (m mutant) quick() bool {
	switch m.caughtBy[0] {
	case "./merge", "./sidecar", "./atomicjson", "./internal/policy", "./internal/records", "./internal/stats", "./internal/watch":
		return !m.core() && !strings.Contains(strings.Join(m.caughtBy, " "), "Crash") && !slices.Contains(m.caughtBy, "TestErrors$")
	}
	return false
}

func TestMutantsAreCaught(t *testing.T) {
	root := moduleRoot(t)
	t.Logf("seed %d", *seed)
	began := time.Now()
	var caught, left atomic.Int64
	t.Cleanup(func() {
		if *run {
			t.Logf("%d mutants caught", caught.Load())
		}
		if n := left.Load(); n > 0 {
			t.Logf("SKIPPED: %d mutants, the budget of %v was used up", n, *budget)
		}
	})
	for _, m := range chosen(t) {
		t.Run(m.name, func(t *testing.T) {
			src, err := os.ReadFile(filepath.Join(root, m.file))
			require.NoError(t, err)
			require.Equal(t, 1, strings.Count(string(src), m.old), "%s: the text to replace must be there once", m.file)
			if !*run {
				return
			}
			if slices.Contains(m.caughtBy, "-long") && !*long {
				t.Skip("SKIPPED: only a long test catches it; run with -long")
			}
			t.Parallel()
			if !m.core() && *budget > 0 && time.Since(began) > *budget {
				left.Add(1)
				t.SkipNow()
			}
			m.mustBeCaught(t, root, string(src))
			caught.Add(1)
		})
	}
	if !*run {
		t.Skip("SKIPPED: mutants are only checked to apply and to compile; run with -mutants to see each of them caught")
	}
}

func (m mutant) mustBeCaught(t *testing.T, root, src string) {
	mutated := filepath.Join(t.TempDir(), filepath.Base(m.file))
	require.NoError(t, os.WriteFile(mutated, []byte(m.mutate(src)), 0o600))
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.file): mutated}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, text, 0o600))

	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	goTool := func(args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), command.Overlay+"="+overlay)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := goTool("build", "-overlay", overlay, "./"+filepath.Dir(m.file))
	require.NoError(t, err, "the mutant must compile:\n%s", out)
	const attempts = 3 // a race is not met each time
	for attempt := 0; err == nil && attempt < attempts; attempt++ {
		out, err = goTool(append([]string{"test", "-count=1", "-overlay", overlay}, m.caughtBy...)...)
	}
	require.Error(t, err, "survived: %s\n%s", m.breaks, out)
	require.Regexp(t, `(?m)^--- FAIL|^panic: test timed out`, out, "must fail in a test:\n%s", out)
	for _, name := range m.run() {
		name, exact := strings.CutSuffix(strings.TrimPrefix(name, "^"), "$")
		if !exact {
			name += `\S*`
		}
		require.Regexp(t, `(?m)^(--- FAIL: |\t+)\S*`+name+` \(`, out, "%s is green all the same: %s\n%s", name, m.breaks, out)
	}
}

// run are the alternatives of -run, without what they say of subtests.
func (m mutant) run() []string {
	at := slices.Index(m.caughtBy, "-run")
	if at < 0 {
		return nil
	}
	if all := m.caughtBy[at+1]; strings.Contains(all, "(") {
		test, _, _ := strings.Cut(all, "/")
		return []string{test}
	}
	var names []string
	for name := range strings.SplitSeq(m.caughtBy[at+1], "|") {
		test, _, _ := strings.Cut(name, "/")
		names = append(names, test)
	}
	return names
}

func (m mutant) mutate(src string) string { return strings.Replace(src, m.old, m.new, 1) }

func read(t *testing.T, path string) mutant {
	archive, err := txtar.ParseFile(path)
	require.NoError(t, err)
	m := mutant{name: strings.TrimSuffix(filepath.Base(path), ".txtar")}
	for line := range strings.Lines(string(archive.Comment)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		require.True(t, ok, "%s: %q", path, line)
		switch key {
		case "breaks":
			m.breaks = value
		case "file":
			m.file = value
		case "caught by":
			m.caughtBy = strings.Fields(value)
		default:
			require.Fail(t, "unknown key", "%s: %q", path, line)
		}
	}
	require.Len(t, archive.Files, 2, path)
	require.Equal(t, []string{"old", "new"}, []string{archive.Files[0].Name, archive.Files[1].Name}, path)
	m.old, m.new = string(archive.Files[0].Data), string(archive.Files[1].Data)
	require.NotEmpty(t, m.breaks, path)
	require.NotEmpty(t, m.caughtBy, path)
	return m
}

func moduleRoot(t *testing.T) string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
