package session

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGuessedFiles(t *testing.T) {
	m := newMatcher("/base", nil)
	for file, want := range map[string]bool{
		"/base/a.json": true, "/base/x/y/a.jsonl": true, "/base/a.ndjson": true, "/base/.a.json": true,
		"/base/a.json.tmp": false, "/base/a.txt": false, "/elsewhere/a.json": false, "/baseshop/a.json": false,
		"/base/node_modules/p/package.json": false, "/base/x/dist/a.json": false, "/base/build/a.json": false,
		"/base/target/a.json": false, "/base/.git/a.json": false, "/base/x/.cache/a.json": false,
	} {
		require.Equal(t, want, m.match(file), file)
	}
	for name, want := range map[string]bool{"a.json": true, ".a.json.tmp": true, "a.jsonl": true, "a.txt": false} {
		require.Equal(t, want, m.named(name), name)
	}
	require.True(t, newMatcher("/", nil).match("/a.json"))
}

func TestPatterns(t *testing.T) {
	m := newMatcher("/base", []string{"history.json", "runs/**/*.jsonl", "/data/[ab].json"})
	for file, want := range map[string]bool{
		"/base/history.json": true, "/base/x/history.json": false, "/base/runs/a.jsonl": true,
		"/base/runs/x/y/a.jsonl": true, "/base/runs/a.json": false, "/data/a.json": true, "/data/c.json": false,
		"/base/node_modules/history.json": false,
	} {
		require.Equal(t, want, m.match(file), file)
	}
	require.True(t, newMatcher("/base", []string{"a[.json"}).match("/base/a[.json"))

	m = newMatcher("/base", []string{"history.json", "db-*.json"})
	for name, want := range map[string]bool{
		"history.json": true, "history.tmp": true, ".history.json.x7": true, "history.json.lock": true,
		"db-1.json": true, "results.json": false, "db1.json": false,
	} {
		require.Equal(t, want, m.named(name), name)
	}
}
