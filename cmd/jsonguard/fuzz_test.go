package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

const fuzzDocument = `{"n": 1, "l": [1], "o": {"a": "x"}}` + "\n"

// fuzzFile is a file of this process, as it was at first. In memory where that can be had: an fsync takes longer than all the
// rest.
func fuzzFile(t *testing.T) string {
	dir := fuzzDir()
	require.NoError(t, os.RemoveAll(filepath.Join(dir, ".a.json.guard")))
	file := filepath.Join(dir, "a.json")
	require.NoError(t, os.WriteFile(file, []byte(fuzzDocument), 0o600))
	return file
}

var fuzzDir = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("/dev/shm", "jsonguard-fuzz-*")
	if err != nil {
		dir, err = os.MkdirTemp("", "jsonguard-fuzz-*")
	}
	if err != nil {
		panic(err)
	}
	return dir
})

// FuzzCommandLine: whatever stands where a verb wants a pointer and a value, it is done or refused with a clear error, a
// documented status and nothing on stdout; and the file is a document before and after.
func FuzzCommandLine(f *testing.F) {
	// What stands in one place with something ordinary in the other: the fuzzer puts them together, and in CI its time goes by
	// while it runs these first.
	for i, at := range []string{"", "/n", "/l/-", "/o/a", "/o/~0", "n", ".o.a", "$.l[0]", "-1", "--json", "/l/99999999999999999999"} {
		f.Add(fuzzVerbs[i%len(fuzzVerbs)], at, "1")
		f.Add("set", at, "1")
	}
	for i, value := range []string{"-5", `"x"`, "abc", `{"a": null}`, "[", "1e400", "--string", "-q"} {
		f.Add(fuzzVerbs[i%len(fuzzVerbs)], "/n", value)
		f.Add("set", "/l/-", value)
	}
	f.Fuzz(func(t *testing.T, verb, at, value string) {
		if !slices.Contains(fuzzVerbs, verb) || strings.ContainsRune(at+value, 0) || namesFiles(at) || namesFiles(value) {
			t.Skip()
		}
		file := fuzzFile(t)
		args := []string{verb, file}
		if verb != "patch" {
			args = append(args, at)
		}
		if verb != "get" && verb != "delete" {
			args = append(args, value)
		}
		status, stdout, stderr := call(args...)
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, merge.Valid(content, merge.JSON), "%q: %s", args, content)
		if status == 0 {
			return
		}
		require.Contains(t, []int{1, 64, 65}, status, "%q: %s", args, stderr)
		require.Equal(t, fuzzDocument, string(content), "%q: %s", args, stderr)
		if status != 1 {
			require.True(t, strings.HasPrefix(stderr, "jsonguard: ") || strings.HasPrefix(stderr, `{"error":`), "%q: %s", args, stderr)
			require.Empty(t, stdout, "%q", args)
		}
	})
}

var fuzzVerbs = []string{"get", "set", "incr", "append", "delete", "patch"}

// namesFiles: it is a flag that names other files, or waits.
func namesFiles(arg string) bool {
	return strings.HasPrefix(arg, "--p") || strings.HasPrefix(arg, "--t")
}

// FuzzBatch: every line on stdin that is not blank gets one answer, in order, and the file is a document.
func FuzzBatch(f *testing.F) {
	f.Add([]byte(`{"op":"incr","at":"/n"}` + "\n" + `{"op":"set","at":"/a","value":1,"id":7,"ack":"journaled"}` + "\n"))
	f.Add([]byte("{\n\n[]\nnull\n{}\n" + `{"op":"append","at":"/l","value":`))
	f.Add([]byte(`{"op":"delete","at":""}` + "\r\n" + `{"op":"patch","at":"/o","value":{"a":null}}`))
	f.Fuzz(func(t *testing.T, stdin []byte) {
		file := fuzzFile(t)
		var out, errs bytes.Buffer
		status := newApp(bytes.NewReader(stdin), &out, &errs).run([]string{"batch", file})
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, merge.Valid(content, merge.JSON), "%q: %s", stdin, content)
		lines := 0
		for line := range bytes.Lines(stdin) {
			if len(bytes.TrimSpace(line)) > 0 {
				lines++
			}
		}
		answers, refused := 0, 0
		for line := range bytes.Lines(out.Bytes()) {
			var a struct{ OK *bool }
			require.NoError(t, json.Unmarshal(line, &a), "%q", line)
			require.NotNil(t, a.OK, "%q", line)
			if answers++; !*a.OK {
				refused++
			}
		}
		require.Equal(t, lines, answers, "%q: %s%s", stdin, &out, &errs)
		require.Equal(t, refused > 0, status != 0, "%q: status %d: %s", stdin, status, &errs)
	})
}
