package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestStress(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "new.json")
	status, stdout, stderr := process(t, "stress", "--json", "--procs", "9", "--updates", "8", "--size", "20000", file)
	require.Zero(t, status, stdout+stderr)
	var found struct {
		OK     bool
		Report stressReport
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &found))
	require.True(t, found.OK)
	require.Equal(t, 9*8, found.Report.Kept)
	require.Equal(t, map[string]int{"library": 24, "verb": 24, "exec": 24}, found.Report.Acked)
	require.Positive(t, found.Report.Reads)
	require.Empty(t, mustNames(t, dir), "what it made is removed when all is well")
}

// Whatever FILE is, what is there is not touched.
func TestStressHarmsNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious.json")
	require.NoError(t, os.WriteFile(precious, []byte("{}\n"), 0o644))
	link := filepath.Join(dir, "link.json")
	require.NoError(t, os.Symlink("nothing.json", link))
	for place, want := range map[string]int{precious: statusUsage, link: statusCreate, filepath.Join(dir, "none", "a.json"): statusCreate, filepath.Join(precious, "a.json"): statusCreate} {
		status, stdout, stderr := process(t, "stress", place)
		require.Equal(t, want, status, "%s: %s", place, stderr)
		require.Empty(t, stdout)
		requireContent(t, precious, "{}\n")
	}
	require.Equal(t, []string{"link.json", "precious.json"}, mustNames(t, dir))
}

// The checks themselves: what is lost, doubled, torn or changed is found.
func TestStressFindsWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.json")
	const size = 500
	whole := string(stressDocument(size))
	for _, c := range []struct {
		name, file, says string
	}{
		{"lost", `{"log": ["verb.0-0"], "library": 0, "verb": 1`, "1 operation lost (verb.0-1)"},
		{"doubled", `{"log": ["verb.0-0", "verb.0-1", "verb.0-1"], "library": 0, "verb": 3`, "1 operation there twice (verb.0-1)"},
		{"a counter", `{"log": ["verb.0-0", "verb.0-1"], "library": 0, "verb": 1`, "counter verb is 1"},
		{"the other counter", `{"log": ["verb.0-0", "verb.0-1"], "library": 1, "verb": 2`, "counter library is 1, not 0"},
		{"nobody's", `{"log": ["verb.0-0", "verb.0-1", "verb.7-7"], "library": 0, "verb": 3`, "an id nobody wrote"},
		{"records of others", `{"log": ["verb.0-0", "verb.0-1"], "library": 0, "verb": 2, `, "records that nobody touched were changed"},
		{"nothing", `{"log": ["verb.0-0", "verb.0-1"], "library": 0, "verb": 2`, ""},
	} {
		rest := ",\n  \"others\"" + whole[bytes.Index([]byte(whole), []byte(`"others"`))+len(`"others"`):]
		if c.name == "records of others" {
			rest = `"others": {}}`
		}
		require.NoError(t, os.WriteFile(file, []byte(c.file+rest), 0o644))
		r := &stressRun{file: file, o: stressOptions{size: size}, tried: map[string]bool{"verb.0-0": true, "verb.0-1": true}, acked: map[string]string{"verb.0-0": "verb", "verb.0-1": "verb"}}
		report, err := r.check()
		require.NoError(t, err, c.name)
		failed := report.print(newApp(nil, &bytes.Buffer{}, &bytes.Buffer{}))
		if c.says == "" {
			require.Empty(t, failed, c.name)
			continue
		}
		require.Contains(t, strings.Join(failed, "; "), c.says, c.name)
	}
	report := &stressReport{Torn: 3, Reads: 9, Others: true}
	require.Equal(t, []string{"3 reads of 9 torn"}, report.print(newApp(nil, &bytes.Buffer{}, &bytes.Buffer{})))
}

// Ctrl-C ends demo and stress with everything they started, and takes away what they made.
func TestInterruptedProofsCleanUp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"demo"}, {"stress", "--updates", "1000"}} {
		tmp := t.TempDir()
		cmd := jsonguard(t, args...)
		cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		require.NoError(t, cmd.Start())
		waitUntil(t, "its programs should write", func() bool {
			files, _ := filepath.Glob(filepath.Join(tmp, "jsonguard-*", "*.json"))
			return len(files) > 0
		})
		require.NoError(t, unix.Kill(-cmd.Process.Pid, unix.SIGINT)) // as a terminal does
		requireDiedOf(t, cmd, unix.SIGINT)
		require.Contains(t, out.String(), "interrupted")
		require.Empty(t, mustNames(t, tmp))
		waitUntil(t, "no process of its group should be left", func() bool { return unix.Kill(-cmd.Process.Pid, 0) == unix.ESRCH })
	}
}
