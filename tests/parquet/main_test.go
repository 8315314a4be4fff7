// Package parquet runs the verbs export and import as processes: they are killed, run at once, their disk is full; and readers
// that share no code with them, DuckDB and hyparquet, look at what they wrote.
package parquet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/parquet"
	"jsonguard/internal/table"
	"jsonguard/tests/command"
)

// binary is the real command, built once, with jsonguard-parquet beside it.
var binary string

func TestMain(m *testing.M) {
	os.Exit(command.Run(m, &binary, "jsonguard-parquet"))
}

// lab is a directory with a shared file in it.
type lab struct {
	testing.TB
	dir, file string
}

func newLab(t testing.TB) *lab {
	dir := t.TempDir()
	return &lab{t, dir, filepath.Join(dir, "results.json")}
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

const pattern = "/models/*/results/*"

// jsonguard runs the command in the lab's directory; it must succeed.
func (l *lab) jsonguard(args ...string) string {
	out, stderr, err := l.try(args...)
	require.NoError(l, err, "%q: %s", args, stderr)
	return out
}

func (l *lab) try(args ...string) (stdout, stderr string, err error) {
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = l.dir, &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// result is a record of the tests.
type result struct {
	ID   string `json:"id"`
	OK   bool   `json:"ok"`
	N    int    `json:"n"`
	More *int   `json:"more,omitempty"`
}

// state is what there is by model: the records in their order.
type state map[string][]result

func (s state) write(l *lab) {
	doc := map[string]any{}
	for model, results := range s {
		doc[model] = map[string]any{"results": results}
	}
	text, err := json.MarshalIndent(map[string]any{"version": 1, "models": doc}, "", " ")
	require.NoError(l, err)
	temp := l.file + ".new"
	require.NoError(l, os.WriteFile(temp, text, 0o644))
	require.NoError(l, os.Rename(temp, l.file))
}

func (s state) clone() state {
	out := state{}
	for model, results := range s {
		out[model] = append([]result(nil), results...)
	}
	return out
}

// rows are the lines of s as they should be read back.
func (s state) rows() (lines []string) {
	for model, results := range s {
		for i, r := range results {
			text, err := json.Marshal(r)
			if err != nil {
				panic(err)
			}
			lines = append(lines, fmt.Sprintf("%q %d %s", model, i, text))
		}
	}
	sort.Strings(lines)
	return lines
}

// readFile reads a Parquet file in this process.
func readFile(name string) (lines []string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var stream bytes.Buffer
	if err := parquet.Decode(&stream, f, info.Size(), ""); err != nil {
		return nil, err
	}
	r, err := table.NewReader(&stream)
	if err != nil {
		return nil, err
	}
	for {
		var row table.Row
		if _, err := r.Next(nil, &row); errors.Is(err, io.EOF) {
			return lines, nil
		} else if err != nil {
			return nil, err
		}
		var one result
		if err := json.Unmarshal(row.Raw, &one); err != nil {
			return nil, err
		}
		text, err := json.Marshal(one)
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("%s %s %s", row.Steps[0], row.Steps[1], text))
	}
}

// readCurrent lists and reads as a program does that knows nothing of generations.
func readCurrent(dir string) (lines []string, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "current", "*.parquet"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		more, err := readFile(name)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	sort.Strings(lines)
	return lines, nil
}

func same(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }
