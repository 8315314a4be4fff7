package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A wrong policy stops every verb before it does anything: what is pending of others would be folded without it.
func TestAWrongPolicyStopsEveryVerb(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.json")
	const content = `{"n": 1, "l": []}`
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "jsonguard.json"), []byte("{\n  \"ruls\": []\n}\n"), 0o600))
	t.Setenv("EDITOR", "false")
	for _, args := range [][]string{
		{"get", file, "/n"}, {"set", file, "/n", "2"}, {"incr", file, "/n"}, {"append", file, "/l", "1"}, {"delete", file, "/n"},
		{"patch", file, `{"n": 2}`}, {"update", file, ".n = 2"}, {"batch", file}, {"edit", file}, {"status", file},
		{"conflicts", file}, {"recover", file}, {"verify", file}, {"clean", file}, {"normalize", file}, {"merge", file, file, file},
		{"policy", "check", file}, {"policy", "explain", file, "/n"}, {"policy", "suggest", file},
	} {
		status, stdout, stderr := call(args...)
		require.Equal(t, statusUsage, status, "%q: %s", args, stderr)
		require.Empty(t, stdout, "%q", args)
		require.Contains(t, stderr, `jsonguard.json:2:3: /ruls: unknown key "ruls"`, "%q", args)
		require.Contains(t, stderr, `hint: did you mean "rules"?`, "%q", args)
	}
	ran := filepath.Join(dir, "ran")
	status, stdout, stderr := call("exec", "--file", file, "--", os.Args[0], "-test.run", "none", ran)
	require.Equal(t, statusBefore, status, stderr)
	require.Empty(t, stdout)
	require.Contains(t, stderr, `jsonguard.json:2:3: /ruls: unknown key "ruls"`)
	now, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, content, string(now))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2, "nothing is made")
}

func TestSince(t *testing.T) {
	now := mustTime(t, "2026-03-10T12:00:00Z")
	for text, want := range map[string]string{
		"90m": "2026-03-10T10:30:00Z", "7d": "2026-03-03T12:00:00Z", "2026-01-31T12:00:00Z": "2026-01-31T12:00:00Z",
	} {
		got, ok := parseSince(text, now)
		require.True(t, ok, text)
		require.True(t, got.Equal(mustTime(t, want)), "%s: %s", text, got)
	}
	for _, text := range []string{"", "yesterday", "-5m", "5", "99999999999d"} {
		_, ok := parseSince(text, now)
		require.False(t, ok, text)
	}
}

func mustTime(t *testing.T, text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	return at
}
