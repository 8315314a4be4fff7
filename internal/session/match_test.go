package session

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGuessedFiles(t *testing.T) {
	m := newMatcher("/work", nil)
	for file, want := range map[string]bool{
		"/work/a.json": true, "/work/x/y/a.jsonl": true, "/work/a.ndjson": true, "/work/.a.json": true,
		"/work/a.json.tmp": false, "/work/a.txt": false, "/elsewhere/a.json": false, "/workshop/a.json": false,
		"/work/node_modules/p/package.json": false, "/work/x/dist/a.json": false, "/work/build/a.json": false,
		"/work/target/a.json": false, "/work/.git/a.json": false, "/work/x/.cache/a.json": false,
	} {
		require.Equal(t, want, m.match(file), file)
	}
	for name, want := range map[string]bool{"a.json": true, ".a.json.tmp": true, "a.jsonl": true, "a.txt": false} {
		require.Equal(t, want, m.named(name), name)
	}
	require.True(t, newMatcher("/", nil).match("/a.json"))
}

func TestPatterns(t *testing.T) {
	m := newMatcher("/work", []string{"history.json", "runs/**/*.jsonl", "/data/[ab].json"})
	for file, want := range map[string]bool{
		"/work/history.json": true, "/work/x/history.json": false, "/work/runs/a.jsonl": true,
		"/work/runs/x/y/a.jsonl": true, "/work/runs/a.json": false, "/data/a.json": true, "/data/c.json": false,
		"/work/node_modules/history.json": false,
	} {
		require.Equal(t, want, m.match(file), file)
	}
	require.True(t, newMatcher("/work", []string{"a[.json"}).match("/work/a[.json"))

	m = newMatcher("/work", []string{"history.json", "db-*.json"})
	for name, want := range map[string]bool{
		"history.json": true, "history.tmp": true, ".history.json.x7": true, "history.json.lock": true,
		"db-1.json": true, "results.json": false, "db1.json": false,
	} {
		require.Equal(t, want, m.named(name), name)
	}
}
