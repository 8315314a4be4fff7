//go:build unix

package policy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Two TinyDB processes start from the same table and count their ids on from it: every document is there, and what each
// does to its own later finds it. So it is when the wrapper of one is killed in between.
func TestTwoTinyDBProcesses(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(map[bool]string{false: "alive", true: "wrapper killed"}[kill], func(t *testing.T) {
			const inserts = 5
			dir := t.TempDir()
			file := filepath.Join(dir, "db.json")
			require.NoError(t, os.WriteFile(file, []byte(`{"_default": {"1": {"by": "nobody", "i": 0, "updates": 2}}}`), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "jsonguard.json"), []byte(`{"rules": [{"at": "/_default", "merge": "renumber"}]}`), 0o600))
			insert, update := filepath.Join(dir, "insert"), filepath.Join(dir, "update")
			var workers []*tinyWorker
			for _, name := range []string{"A", "B"} {
				workers = append(workers, startTiny(t, file, name, inserts, insert, update))
			}
			for _, w := range workers {
				w.until("opened")
			}
			require.NoError(t, os.WriteFile(insert, nil, 0o600))
			for _, w := range workers {
				w.until("inserted")
			}
			if kill {
				require.NoError(t, syscall.Kill(workers[1].cmd.Process.Pid, syscall.SIGKILL))
			}
			require.NoError(t, os.WriteFile(update, nil, 0o600))
			for i, w := range workers {
				w.until("updated")
				if err := w.cmd.Wait(); !kill || i == 0 {
					require.NoError(t, err, w.stderr.String())
				}
			}
			out, err := exec.Command(binary, "recover", file).CombinedOutput()
			require.NoError(t, err, "%s", out)
			checkTable(t, file, inserts)
		})
	}
}

func checkTable(t *testing.T, file string, inserts int) {
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	var doc map[string]map[string]struct {
		By      string
		I       int
		Updates int
		Who     string
	}
	require.NoError(t, json.Unmarshal(raw, &doc), string(raw))
	seen := map[string]bool{}
	for id, d := range doc["_default"] {
		seen[fmt.Sprint(d.By, d.I)] = true
		require.Equal(t, 2, d.Updates, "document %s: %s", id, raw)
		if d.By != "nobody" {
			require.Equal(t, d.By, d.Who, "document %s was changed by another than its owner: %s", id, raw)
		}
	}
	require.Len(t, seen, 2*inserts+1, string(raw))
	require.Len(t, doc["_default"], 2*inserts+1, string(raw))
}

type tinyWorker struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr strings.Builder
}

func startTiny(t *testing.T, file, name string, inserts int, insert, update string) *tinyWorker {
	script, err := filepath.Abs("testdata/tinydb_worker.py")
	require.NoError(t, err)
	w := &tinyWorker{t: t, cmd: exec.Command(binary, "exec", "--mode", "copy", "--file", file, "--",
		withTinyDB(t), script, "{}", name, strconv.Itoa(inserts), insert, update)}
	out, err := w.cmd.StdoutPipe()
	require.NoError(t, err)
	w.lines = bufio.NewScanner(out)
	w.cmd.Stderr = &w.stderr
	require.NoError(t, w.cmd.Start())
	t.Cleanup(func() { _ = w.cmd.Process.Kill() })
	return w
}

func (w *tinyWorker) until(word string) {
	for w.lines.Scan() {
		if strings.HasPrefix(w.lines.Text(), "with") {
			w.t.Log(w.lines.Text())
		}
		if w.lines.Text() == word {
			return
		}
	}
	require.Fail(w.t, "ended before it said "+word, w.stderr.String())
}

// withTinyDB is an interpreter that has TinyDB; one without it runs a stand-in, which is said.
func withTinyDB(t *testing.T) string {
	for _, path := range []string{"python3", "/usr/bin/python3"} { // the second is where a distribution's package goes
		if exec.Command(path, "-c", "import tinydb").Run() == nil {
			return path
		}
	}
	t.Log("SKIPPED: TinyDB is not there (python3-tinydb): a stand-in does to the file what TinyDB does")
	return python(t)
}
