package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"

	"jsonguard/internal/intercept"
	"jsonguard/internal/parquet"
	"jsonguard/internal/watch/page"
)

// The test binary is jsonguard itself when it is called by that name, so that the scripts run a real process.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"jsonguard":         main,
		"jsonguard-page":    func() { os.Exit(page.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		"jsonguard-parquet": func() { os.Exit(parquet.Run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

func TestScripts(t *testing.T) { runScripts(t, "testdata/script", "") }

// What every mode of exec has in common: the same command lines.
func TestExecInEveryMode(t *testing.T) {
	for _, mode := range []string{modeCopy, modeIntercept, modeAuto} {
		t.Run(mode, func(t *testing.T) { runScripts(t, "testdata/exec", mode) })
	}
}

func runScripts(t *testing.T, dir, mode string) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			e.Setenv("MODE", mode)
			self, err := exec.LookPath("jsonguard")
			e.Setenv("JSONGUARD", filepath.Dir(self))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "mkfifo": mkfifo, "bytes": writeBytes, "loud": loud,
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "intercepts":
				return mode == modeIntercept, nil
			case "intercept":
				_, err := intercept.Probe() // the kernel may be too old, or a sandbox
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
	})
}

// exits N PROGRAM ARG... runs a program that must end with that very status.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS PROGRAM ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
		if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
			got = 128 + int(w.Signal())
		}
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%s: exit status %d, not %d", strings.Join(args[1:], " "), got, want)
	}
}

// bytes FILE TEXT writes what a script cannot hold; TEXT is a Go string literal without its quotes.
func writeBytes(ts *testscript.TestScript, neg bool, args []string) {
	text, err := strconv.Unquote(`"` + args[1] + `"`)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// loud says on the console why a part of a script is not run.
func loud(ts *testscript.TestScript, neg bool, args []string) {
	os.Stderr.WriteString("SKIPPED: " + strings.Join(args, " ") + "\n")
}

// jsonguard runs the test binary as jsonguard in a process of its own.
func jsonguard(t *testing.T, args ...string) *exec.Cmd {
	self, err := exec.LookPath("jsonguard")
	require.NoError(t, err, "TestMain puts it into PATH")
	return exec.Command(self, args...)
}

// process runs jsonguard in a process of its own.
func process(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := jsonguard(t, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func call(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = newApp(strings.NewReader(""), &out, &errs).run(args)
	return status, out.String(), errs.String()
}

func TestEveryVerbHasAnExampleAndUsage(t *testing.T) {
	root := newApp(strings.NewReader(""), os.Stdout, os.Stderr).rootCommand(nil)
	for _, c := range root.Commands() {
		require.NotEmpty(t, c.Short, c.Name())
		if !c.Hidden {
			require.NotEmpty(t, c.Long, c.Name())
			require.Contains(t, c.Example, "jsonguard "+c.Name(), c.Name())
		}
	}
}

// A verb is made by itself where the arguments begin with it, and is the same then.
func TestVerbsByThemselves(t *testing.T) {
	a := newApp(strings.NewReader(""), os.Stdout, os.Stderr)
	all := a.rootCommand(nil)
	for _, v := range a.verbs() {
		alone, _, err := a.rootCommand([]string{v.name}).Find([]string{v.name})
		require.NoError(t, err, v.name)
		among, _, err := all.Find([]string{v.name})
		require.NoError(t, err, v.name)
		require.Equal(t, v.name, alone.Name())
		require.Equal(t, among.UsageString(), alone.UsageString())
	}
	if made := len(a.rootCommand([]string{"get"}).Commands()); made > 1 {
		t.Errorf("get is made with %d other verbs", made-1)
	}
	require.Greater(t, len(a.rootCommand([]string{"man"}).Commands()), 25, "man writes about all")
}

func TestUsageProblemsAre64AndPrintNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.json")
	for _, args := range [][]string{
		{"gte"}, {"get"}, {"get", "--nope", file}, {"set", file, "/a"}, {"set", file, "a", "1"}, {"set", "", "/a", "1"},
		{"incr", file, "/a", "one"}, {"delete", file, ""}, {"get", file, "/a", "/b"}, {"update", file, ".a ="},
		{"update", file, "nope(1)"}, {"stress", "--procs", "0"}, {"lock", file, "true"}, {"lock", file, "--"},
		{"set", file, "/a", "abc"}, {"get", "--timeout", "soon", file},
	} {
		status, stdout, stderr := call(args...)
		require.Equal(t, statusUsage, status, "%q: %s", args, stderr)
		require.Empty(t, stdout, "%q", args)
		require.True(t, strings.HasPrefix(stderr, "jsonguard: "), "%q: %s", args, stderr)
		_, err := os.Stat(file)
		require.ErrorIs(t, err, os.ErrNotExist, "%q", args)
	}
}

func TestHints(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.json")
	for _, c := range []struct {
		args []string
		hint string
	}{
		{[]string{"set", file, "/a", "abc"}, `did you mean '"abc"', or --string?`},
		{[]string{"set", file, "/a", "it's"}, `did you mean '"it'\''s"', or --string?`},
		{[]string{"set", file, "models/gpt", "1"}, "did you mean /models/gpt?"},
		{[]string{"get", file, ".models.gpt"}, "did you mean /models/gpt?"},
		{[]string{"get", file, "$.runs[0]"}, "did you mean /runs/0?"},
		{[]string{"stattus", file}, "did you mean status?"},
		{[]string{"get", "--rw", file}, "did you mean --raw?"},
	} {
		_, _, stderr := call(c.args...)
		require.Contains(t, stderr, "jsonguard: hint: "+c.hint, "%q", c.args)
	}
}

func TestNegativeNumbersAreValues(t *testing.T) {
	require.Equal(t, []string{"incr", "f", "/n", "\x00-5"}, keepNegatives([]string{"incr", "f", "/n", "-5"}))
	require.Equal(t, []string{"set", "f", "/n", "\x00-1.5e3", "-q"}, keepNegatives([]string{"set", "f", "/n", "-1.5e3", "-q"}))
	require.Equal(t, []string{"exec", "--", "set", "-5"}, keepNegatives([]string{"exec", "--", "set", "-5"}))
	require.Equal(t, []string{"lock", "set", "--", "incr", "-5"}, keepNegatives([]string{"lock", "set", "--", "incr", "-5"}))
	require.Equal(t, []string{"set", "--", "-5", "/n", "1"}, keepNegatives([]string{"set", "--", "-5", "/n", "1"}))
}

func TestFillLeavesTheProgramsOwnTextAlone(t *testing.T) {
	require.Equal(t, []string{"{}", "x", "/c", "--db=/c", "-f=/c"}, fill([]string{"{}", "x", "{}", "--db={}", "-f={}"}, "/c"))
	for _, own := range []string{"d={}", "{}:{}", "print({})", "--eval=d={}", "-={}", "--a b={}", "{} ", "--db={}:{}", "{}\n"} {
		require.Equal(t, []string{"{}", own}, fill([]string{"{}", own}, "/c"), "the program's own text")
	}
	for _, own := range [][]string{
		{"/usr/bin/find", ".", "-exec", "cat", "{}", ";"},
		{"env", "A=b", "find", ".", "-execdir", "cat", "{}", "+"},
		{"timeout", "5", "xargs", "-I{}", "cat", "{}"},
		{"nice", "parallel", "cat", "{}", ":::", "a"},
		{"fd", "-x", "cat", "{}"},
	} {
		require.Equal(t, own, fill(own, "/c"))
		require.False(t, filled(own))
	}
	require.Equal(t, []string{"runner", "find", "/c"}, fill([]string{"runner", "find", "{}"}, "/c"), "a word of its own")
	require.Equal(t, []string{"runner", "/c", "-exec", "/c"}, fill([]string{"runner", "{}", "-exec", "{}"}, "/c"))
}

func TestExecFailuresBeforeTheProgramAre125(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.json")
	for _, args := range [][]string{
		{"exec"}, {"exec", "--mode", "copy", "--", "true"}, {"exec", "--file", file}, {"exec", "--nope", "--", "true"},
		{"exec", "--mode", "copy", "--file", file, "--file", "b", "--", "true"},
		{"exec", "--mode", "other", "--file", file, "--", "true"}, {"exec", "--json", "--file", file, "--", "true"},
		{"exec", "--mode", "copy", "--file", filepath.Join(file, "none", "a.json"), "--", "go"},
		{"exec", "--file", filepath.Join(os.Args[0], "a.json"), "--", "go"},
		{"exec", "--mode", "copy", "--file", "*.json", "--", "true"},
		{"exec", "--env", "A=B", "--file", file, "--", "true"},
	} {
		status, stdout, stderr := call(args...)
		require.Equal(t, statusBefore, status, "%q: %s", args, stderr)
		require.Empty(t, stdout)
		require.True(t, strings.HasPrefix(stderr, "jsonguard: "), "%q: %s", args, stderr)
	}
	status, _, stderr := call("exec", "--file", file, "--", "no-such-program-at-all")
	require.Equal(t, statusNotFound, status, stderr)
	status, _, stderr = call("exec", "--file", file, "--", t.TempDir())
	require.Equal(t, statusCannotRun, status, stderr)
}
