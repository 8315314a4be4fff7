package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What JSON.md promises of each verb: members may come, none of these may go.
func TestJSONOfEveryVerb(t *testing.T) {
	changed := []string{"file", "changed", "generation", "folded", "conflicts", "rejected", "torn"}
	with := func(more ...string) []string { return append(more, changed...) }
	for _, c := range []struct {
		args    string // FILE stands for the file, DIR for its directory
		members []string
	}{
		{"get FILE", []string{"file", "pointer", "value"}},
		{"get FILE /l/0", []string{"file", "pointer", "value"}},
		{"set FILE /a 1", with("pointer")},
		{"set FILE /n 1", with("pointer")}, // nothing changed
		{"incr FILE /n", with("pointer", "value")},
		{"append FILE /l 2", with("pointer")},
		{"delete FILE /gone", with("pointer")},
		{`patch FILE {"x":null}`, changed},
		{`patch FILE --rfc6902 [{"op":"test","path":"/n","value":1}]`, changed},
		{"update FILE .n+=1", changed},
		{"edit FILE", changed},
		{"recover FILE", with("salvaged")},
		{"merge FILE FILE FILE", []string{"result", "conflicts"}},
		{"merge -o DIR/out FILE FILE FILE", []string{"output", "conflicts"}},
		{"status FILE", []string{"target", "exists", "size", "modified", "generation", "settled", "pending", "conflicts", "quarantined", "unguarded", "sidecars"}},
		{"stats FILE --records /l/*", []string{"file", "records", "groups", "skipped"}},
		{"stats FILE --records /l/* --by v= --expect v=1.1,2", []string{"file", "records", "groups", "skipped", "complete", "incomplete", "missing", "unexpected"}},
		{"watch FILE --for 10ms --grow /l", []string{"time", "file", "exists", "size", "modified", "versions", "per_second", "generation", "counts", "grown", "live", "dead",
			"writers", "pending", "conflicts", "quarantined", "unguarded", "alarms", "shrunk"}},
		{"conflicts FILE", []string{"file", "conflicts"}},
		{"history FILE", []string{"file", "kept", "versions"}},
		{"diff FILE 0", []string{"file", "from", "to", "edits"}},
		{"restore FILE --to now", with("restored")},
		{"restore FILE --to now --dry-run", []string{"file", "dry_run", "restored", "edits"}},
		{"verify FILE", []string{"file", "ok", "findings"}},
		{"clean FILE", []string{"file", "removed"}},
		{"export FILE --records /l/* -o DIR/out.parquet", []string{"file", "output", "records", "columns", "bytes", "notes"}},
		{"export FILE --records /l/* --increments DIR/new", []string{"file", "increments", "generation", "files", "records", "added", "changed", "deleted", "written", "bytes", "notes"}},
		{"doctor DIR", []string{"directory", "ok", "findings"}},
		{"stress --procs 3 --updates 1 DIR", []string{"ok", "report"}},
		{"version", []string{"version", "go", "os", "arch", "modified"}},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Setenv("VISUAL", "true")
			dir := t.TempDir()
			file := filepath.Join(dir, "a.json")
			require.NoError(t, os.WriteFile(file, []byte("{\n  \"n\": 1,\n  \"l\": [1.10, 2]\n}\n"), 0o644))
			var args []string
			for _, a := range strings.Fields(c.args) {
				args = append(args, strings.NewReplacer("FILE", file, "DIR", dir).Replace(a))
			}
			status, stdout, stderr := process(t, append(args, "--json")...)
			require.Zero(t, status, stderr)
			require.Empty(t, stderr)
			require.Equal(t, 1, strings.Count(stdout, "\n"), "one line")
			var object map[string]json.RawMessage
			require.NoError(t, json.Unmarshal([]byte(stdout), &object), stdout)
			for _, name := range c.members {
				require.Contains(t, object, name)
				switch name {
				case "conflicts", "rejected", "torn", "salvaged", "findings", "sidecars", "removed", "groups", "skipped", "counts", "writers", "alarms":
					if number := strings.HasPrefix(c.args, "status") || strings.HasPrefix(c.args, "watch"); name != "conflicts" || !number {
						require.Equal(t, byte('['), object[name][0], "%s: a list is never null", name)
					}
				}
			}
		})
	}
}

// A failure is one object on stderr, and nothing on stdout.
func TestJSONOfFailures(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.json")
	require.NoError(t, os.WriteFile(broken, []byte("{\"a\": 1,}\n"), 0o644))
	whole := filepath.Join(dir, "whole.json")
	require.NoError(t, os.WriteFile(whole, []byte("{\"a\": 1}\n"), 0o644))
	missing := filepath.Join(dir, "missing.json")
	for _, c := range []struct {
		args   []string
		status int
		column int
	}{
		{[]string{"get", missing}, statusNoFile, 0},
		{[]string{"get", whole, "/none"}, statusMissing, 0},
		{[]string{"get", broken}, statusData, 9},
		{[]string{"set", broken, "/a", "1"}, statusData, 9},
		{[]string{"set", whole, "/a", "{"}, statusUsage, 2},
		{[]string{"set", whole, "a", "1"}, statusUsage, 0},
		{[]string{"incr", whole, "/a", "x"}, statusUsage, 0},
		{[]string{"append", whole, "/a", "1"}, statusData, 0},
		{[]string{"update", whole, ".a.b"}, statusData, 0},
		{[]string{"delete", missing, "/a"}, statusNoFile, 0},
		{[]string{"status", missing}, statusNoFile, 0},
		{[]string{"stats", whole, "--records", "/none"}, statusMissing, 0},
		{[]string{"stats", broken, "--records", "/*"}, statusData, 9},
		{[]string{"set", filepath.Join(dir, "none", "a.json"), "/a", "1"}, statusCreate, 0},
		{[]string{"merge", whole, broken, whole}, statusData, 9},
		{[]string{"merge", "-o", filepath.Join(dir, "none", "a.json"), whole, whole, whole}, statusCreate, 0},
		{[]string{"nonsense"}, statusUsage, 0},
		{[]string{"get", "--nonsense", whole}, statusUsage, 0},
	} {
		status, stdout, stderr := call(append([]string{"--json"}, c.args...)...)
		require.Equal(t, c.status, status, "%q: %s", c.args, stderr)
		require.Empty(t, stdout, "%q", c.args)
		require.Equal(t, 1, strings.Count(stderr, "\n"), "%q: %s", c.args, stderr)
		var object struct {
			Error, Hint          string
			Status, Line, Column int
		}
		require.NoError(t, json.Unmarshal([]byte(stderr), &object), "%q: %s", c.args, stderr)
		require.Equal(t, c.status, object.Status)
		require.NotEmpty(t, object.Error)
		require.Equal(t, c.column, object.Column, "%q", c.args)
	}
}
