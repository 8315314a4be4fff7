package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var lineAndColumn = regexp.MustCompile(`line \d+, column \d+`)

// A file that is no JSON is never written, by no verb: 65, the place, and not a byte on stdout.
func TestWhatIsNoJSONIsLeftAlone(t *testing.T) {
	for _, c := range []struct {
		name, text   string
		line, column int
	}{
		{"a value is missing", "{\n  \"a\": 1,\n  \"b\": ,\n}\n", 3, 8},
		{"cut off", `{"a": [1, 2`, 1, 12},
		{"a string over two lines", "{\"a\": \"x\ny\"}", 1, 7},
		{"a comma too many", "{\"a\": 1,}", 1, 9},
		{"two documents", "{\"a\": 1}\n{\"a\": 2}\n", 2, 1},
		{"a comment", "{\"a\": 1 // one\n}", 1, 9},
		{"single quotes", "{'a': 1}", 1, 2},
		{"Python's own words", "{\"a\": None}", 1, 7},
		{"NUL behind the end", "{\"a\": 1}\x00", 1, 9},
		{"NUL in a string", "{\"a\": \"\x00\"}", 1, 8},
		{"NULs only, as after a power cut", strings.Repeat("\x00", 4096), 1, 1},
		{"a tab in a string", "{\"a\": \"\t\"}", 1, 8},
		{"a byte that is no UTF-8", "{\n\"a\": \"é\xff\"}", 2, 8},
		{"a name that is no UTF-8", "{\"\xc3\": 1}", 1, 3},
		{"overlong UTF-8", "{\"a\": \"\xc0\xaf\"}", 1, 8},
		{"a surrogate in UTF-8", "{\"a\": \"\xed\xa0\x80\"}", 1, 8},
		{"two marks", "\ufeff\ufeff{}", 1, 2},
		{"UTF-16", "\xff\xfe{\x00}\x00", 1, 1},
		{"nested too deep", strings.Repeat("[", 10_001), 1, 10_001},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "a.json")
			require.NoError(t, os.WriteFile(file, []byte(c.text), 0o644))
			for _, args := range [][]string{
				{"get", file}, {"get", file, "/a"}, {"set", file, "/a", "1"}, {"set", file, "", "{}"}, {"incr", file, "/n"}, {"append", file, "/l", "1"},
				{"delete", file, "/a"}, {"patch", file, `{"a": 1}`}, {"patch", "--rfc6902", file, `[{"op":"add","path":"/x","value":1}]`},
				{"update", file, ".a = 1"}, {"update", file, "."}, {"merge", file, file, file}, {"edit", file}, {"recover", file},
			} {
				status, stdout, stderr := call(args...)
				if args[0] == "recover" { // nothing is pending: it does not even look
					require.Zero(t, status, stderr)
					continue
				}
				require.Equal(t, statusData, status, "%q: %s", args, stderr)
				require.Empty(t, stdout, "%q", args)
				require.Contains(t, stderr, fmt.Sprintf("line %d, column %d", c.line, c.column), "%q", args)
				require.NotContains(t, stderr, "\x00")
			}
			status, _, stderr := call("get", "--json", file)
			require.Equal(t, statusData, status)
			var complaint struct{ Line, Column, Status int }
			require.NoError(t, json.Unmarshal([]byte(stderr), &complaint))
			require.Equal(t, c.line, complaint.Line)
			require.Equal(t, c.column, complaint.Column)
			require.Equal(t, statusData, complaint.Status)
			status, stdout, _ := call("verify", file)
			require.Equal(t, statusData, status)
			require.Regexp(t, lineAndColumn, stdout)
			status, stdout, stderr = call("exec", "--file", file, "--", "go", "version")
			require.Equal(t, statusBefore, status)
			require.Empty(t, stdout)
			require.Regexp(t, lineAndColumn, stderr)

			requireBytes(t, file, c.text)
			for _, left := range mustNames(t, dir) {
				require.True(t, left == "a.json" || left == "a.json.lock" || left == ".a.json.guard", left)
			}
		})
	}
}

// What is odd and yet a document: only what was asked for is changed, every other byte stays.
func TestOddDocumentsKeepTheirBytes(t *testing.T) {
	digits := strings.Repeat("7", 5000)
	deep := strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999)
	for _, c := range []struct{ name, before, pointer, value, after string }{
		{"empty", "", "/a", "1", "{\n  \"a\": 1\n}\n"},
		{"white space", " \n\n", "/a", "1", "{\n  \"a\": 1\n}\n"},
		{"a mark", "\ufeff{\"a\": 1}", "/a", "2", "\ufeff{\"a\": 2}"},
		{"a mark and nothing", "\ufeff", "/a", "2", "\ufeff{\n  \"a\": 2\n}\n"},
		{"CRLF, no end of the last line", "{\r\n\t\"a\": 1\r\n}", "/b", "2", "{\r\n\t\"a\": 1,\r\n\t\"b\": 2\r\n}"},
		{"1e400", `{"x": 1e400, "y": -1e400, "z": 1e-400, "a": 1}`, "/a", "2", `{"x": 1e400, "y": -1e400, "z": 1e-400, "a": 2}`},
		{"beyond 2^53", `{"x": 9007199254740993, "a": 1}`, "/a", "9007199254740995", `{"x": 9007199254740993, "a": 9007199254740995}`},
		{"5,000 digits", `{"x": ` + digits + `, "a": 1}`, "/a", digits, `{"x": ` + digits + `, "a": ` + digits + `}`},
		{"NaN", `{"x": [NaN, Infinity, -Infinity], "a": 1}`, "/a", "NaN", `{"x": [NaN, Infinity, -Infinity], "a": NaN}`},
		{"lone surrogates", `{"\ud800": "\udc00\ud800x", "a": 1}`, "/a", `"\ud83d"`, `{"\ud800": "\udc00\ud800x", "a": "\ud83d"}`},
		{"duplicate names", `{"a": 1, "b": 0, "a": 2}`, "/a", "3", `{"a": 1, "b": 0, "a": 3}`},
		{"escapes and numbers", `{"x": "a\/b\u00e9", "y": 1.10, "z": -0.0, "w": 1E5, "a": 1}`, "/a", "2", `{"x": "a\/b\u00e9", "y": 1.10, "z": -0.0, "w": 1E5, "a": 2}`},
		{"10,000 deep", `{"x": ` + deep + `, "a": 1}`, "/a", "2", `{"x": ` + deep + `, "a": 2}`},
		{"a scalar", "1", "", `"x"`, `"x"`},
		{"odd white space", "{ \"x\" :\t[ ]\n,\"a\":1\n\n} \n \n", "/a", "2", "{ \"x\" :\t[ ]\n,\"a\":2\n\n} \n \n"},
	} {
		for _, verb := range []string{"set", "update", "exec"} {
			if verb != "set" && (strings.TrimSpace(strings.TrimPrefix(c.before, "\ufeff")) == "" || c.pointer == "" || c.name == "duplicate names" || verb == "update" && strings.Contains(c.value, "NaN")) {
				continue
			}
			t.Run(c.name+", "+verb, func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "a.json")
				require.NoError(t, os.WriteFile(file, []byte(c.before), 0o644))
				var status int
				var stderr string
				switch verb {
				case "set":
					status, _, stderr = call("set", file, c.pointer, c.value)
				case "update":
					t.Setenv("VALUE", c.value)
					status, _, stderr = call("update", file, "."+c.pointer[1:]+" = ($ENV.VALUE | fromjson)")
					if c.name == "lone surrogates" { // jq has no word for one
						require.Zero(t, status, stderr)
						content, err := os.ReadFile(file)
						require.NoError(t, err)
						require.True(t, strings.HasPrefix(string(content), `{"\ud800": "\udc00\ud800x", "a": `))
						return
					}
				case "exec":
					new := filepath.Join(t.TempDir(), "new")
					require.NoError(t, os.WriteFile(new, []byte(c.after), 0o644))
					if _, err := os.Stat("/bin/cp"); err != nil {
						t.Skip("SKIPPED: no cp")
					}
					status, _, stderr = call("exec", "--file", file, "--", "/bin/cp", new, "{}")
				}
				require.Zero(t, status, stderr)
				requireBytes(t, file, c.after)
				status, stdout, stderr := call("get", file, c.pointer)
				require.Zero(t, status, stderr)
				require.Equal(t, c.value+"\n", stdout)
			})
		}
	}
}

// Of duplicate names the last counts; when it goes, none may come back from behind it.
func TestDeletingADuplicateName(t *testing.T) {
	for _, args := range [][]string{{"delete", "FILE", "/a"}, {"patch", "FILE", `{"a": null}`}, {"update", "FILE", "del(.a)"}} {
		file := filepath.Join(t.TempDir(), "a.json")
		require.NoError(t, os.WriteFile(file, []byte(`{"a": 1, "b": 0, "a": 2}`), 0o644))
		args[1] = file
		status, _, stderr := call(args...)
		require.Zero(t, status, stderr)
		status, _, _ = call("get", file, "/a")
		require.Equal(t, statusMissing, status, "%q", args)
		status, stdout, _ := call("get", file, "/b")
		require.Zero(t, status)
		require.Equal(t, "0\n", stdout)
	}
}

func requireBytes(t *testing.T, file, want string) {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	if string(content) != want { // and not with megabytes of difference on the screen
		at := 0
		for at < len(content) && at < len(want) && content[at] == want[at] {
			at++
		}
		require.Fail(t, "other bytes", "%d bytes, not %d, different from byte %d on: %.60q, not %.60q", len(content), len(want), at, content[at:], want[at:])
	}
}

func mustNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
