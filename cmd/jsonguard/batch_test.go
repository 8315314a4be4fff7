package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/lock"
)

// answer is a line of batch's output.
type answer struct {
	ID      json.RawMessage `json:"id"`
	OK      bool            `json:"ok"`
	Value   json.RawMessage `json:"value"`
	Error   string          `json:"error"`
	Status  int             `json:"status"`
	Pending bool            `json:"pending"`
}

func runBatch(t *testing.T, file, input string) (answers []answer, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	status = newApp(strings.NewReader(input), &out, &errs).run([]string{"batch", file})
	require.Empty(t, errs.String())
	for d := json.NewDecoder(&out); ; {
		var a answer
		err := d.Decode(&a)
		if err == io.EOF {
			return answers, status
		}
		require.NoError(t, err)
		answers = append(answers, a)
	}
}

func TestBatchAnswersEveryLineAndStopsAtNone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.json")
	lines := []struct {
		line   string
		status int // 0: it is done
	}{
		{"\x00", 64}, {"garbage", 64}, {"[1]", 64}, {`"x"`, 64}, {"{", 64}, {`{"op":1}`, 64}, {`{"op":"set"}`, 64}, {"\ufeff{}", 64},
		{`{"op":"set","at":"/a","value":}`, 64}, {`{"op":"set","at":"/\ud800","value":1}`, 64}, {`{"op":"set","at":"a","value":1}`, 64},
		{`{"op":"incr","at":"/n","value":"1"}`, 64}, {`{"op":"set","at":"/n","value":1,"ack":"maybe"}`, 64}, {`{"op":"drop","at":"/n"}`, 64},
		{"{\"op\":\"set\",\"at\":\"/u\",\"value\":\"\xff\"}", 64},
		{`{"op":"get","at":"/n"}`, 66}, {`{"op":"incr","at":"/n"}`, 0}, {`{"op":"get","at":"/m"}`, 1}, {`{"op":"append","at":"/n","value":1}`, 65},
		{`{"op":"set","at":"/a/b","value":[NaN,1.10,1e400]}`, 0}, {`{"op":"delete","at":"/none"}`, 0}, {`{"op":"delete","at":""}`, 65},
		{`{"op":"patch","at":"","value":{"z":1}}`, 0}, {`{"op":"incr","at":"/n","value":-0.5}`, 0},
	}
	var input strings.Builder
	for _, l := range lines {
		input.WriteString(l.line + "\n\r\n\n")
	}
	input.WriteString(`{"op":"get","at":"/n","id":{"last":[]}}`) // and no end of the line
	answers, status := runBatch(t, file, input.String())
	require.Len(t, answers, len(lines)+1)
	for i, l := range lines {
		require.Equal(t, l.status, answers[i].Status, "%s: %+v", l.line, answers[i])
		require.Equal(t, l.status == 0, answers[i].OK, l.line)
		require.Equal(t, l.status != 0, answers[i].Error != "", l.line)
		require.Equal(t, "null", string(answers[i].ID))
	}
	last := answers[len(lines)]
	require.Equal(t, `{"last":[]} 0.5`, string(last.ID)+" "+string(last.Value))
	require.Equal(t, statusNoFile, status, "the worst")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(content), "1.10")
	require.Contains(t, string(content), "1e400")
}

func TestBatchHugeLine(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.json")
	huge := strings.Repeat("x", 2*bytesAtOnce)
	answers, status := runBatch(t, file, `{"op":"set","at":"/huge","value":"`+huge+`"}`+"\n"+`{"op":"incr","at":"/n"}`+"\n"+huge+"\n")
	require.Len(t, answers, 3)
	require.True(t, answers[0].OK && answers[1].OK && !answers[2].OK)
	require.Less(t, len(answers[2].Error), 500)
	require.Equal(t, statusUsage, status)
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Greater(t, info.Size(), int64(len(huge)))
}

func TestBatchOfManyIsOneRewriteOfMany(t *testing.T) {
	t.Parallel()
	const operations = 100_000
	for _, name := range []string{"a.json", "a.jsonl"} {
		file := filepath.Join(t.TempDir(), name)
		var input strings.Builder
		for i := range operations {
			if name == "a.json" {
				fmt.Fprintf(&input, `{"op":"incr","at":"/n","id":%d}`+"\n", i)
			} else {
				fmt.Fprintf(&input, `{"op":"append","at":"","value":{"i":%d},"id":%d}`+"\n", i, i)
			}
		}
		began := time.Now()
		answers, status := runBatch(t, file, input.String())
		t.Logf("%s: %d operations a second", name, int(operations/time.Since(began).Seconds()))
		require.Zero(t, status)
		require.Len(t, answers, operations)
		for i, a := range answers {
			if !a.OK || string(a.ID) != fmt.Sprint(i) || name == "a.json" && string(a.Value) != fmt.Sprint(i+1) {
				require.Fail(t, "wrong answer", "%d: %+v", i, a)
			}
		}
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		if name == "a.jsonl" {
			require.Equal(t, operations, bytes.Count(content, []byte("\n")))
			require.Regexp(t, `^{"i": ?0}\n{"i": ?1}\n`, string(content[:40]))
		}
		// A rewrite for each, durable as they are, would take minutes.
		require.Less(t, time.Since(began), time.Minute)
	}
}

// What was journaled is in the file when batch ends: nobody else may use it for days.
func TestBatchFoldsWhatItJournaled(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.json")
	answers, status := runBatch(t, file, `{"op":"set","at":"/a","value":1,"ack":"journaled"}`+"\n"+`{"op":"incr","at":"/n","ack":"journaled"}`)
	require.Zero(t, status)
	require.Len(t, answers, 2)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.JSONEq(t, `{"a": 1, "n": 1}`, string(content))
}

// Also when another process has the lock just then.
func TestBatchWaitsToFoldWhatItJournaled(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.json")
	held, err := lock.Acquire(t.Context(), file)
	require.NoError(t, err)
	var out, errs bytes.Buffer
	status := make(chan int, 1)
	go func() {
		status <- newApp(strings.NewReader(`{"op":"incr","at":"/n","ack":"journaled"}`), &out, &errs).run([]string{"batch", "--timeout", "5m", file})
	}()
	select {
	case <-status:
		require.Fail(t, "it left what it journaled to others", "%s", errs.String())
	case <-time.After(300 * time.Millisecond):
	}
	require.NoError(t, held.Release())
	require.Zero(t, <-status, "%s", errs.String())
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.JSONEq(t, `{"n": 1}`, string(content))
}

// A client in Python: one request at a time.
const pythonClient = `
import json, subprocess, sys
p = subprocess.Popen(["jsonguard", "batch", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
def do(**op):
    p.stdin.write(json.dumps(op) + "\n"); p.stdin.flush()
    return json.loads(p.stdout.readline())
for i in range(20):
    assert do(op="incr", at="/n", id=i) == {"id": i, "ok": True, "value": i + 1}
assert do(op="set", at="/name", value="caf\u00e9 \U0001F600", id="s")["ok"]
assert do(op="get", at="/name", id=None)["value"] == "caf\u00e9 \U0001F600"
assert do(op="set", at="/nan", value=float("nan"))["ok"]
r = do(op="append", at="/n", value=1, id="bad")
assert not r["ok"] and r["status"] == 65 and r["id"] == "bad", r
p.stdin.close()
assert p.stdout.read() == "" and p.wait() == 65
print("done")
`

const nodeClient = `
const {spawn} = require('child_process'), readline = require('readline');
const p = spawn('jsonguard', ['batch', process.argv[2]], {stdio: ['pipe', 'pipe', 'inherit']});
const waiting = new Map(); let next = 0;
readline.createInterface({input: p.stdout}).on('line', l => { const a = JSON.parse(l); waiting.get(a.id)(a); waiting.delete(a.id); });
const run = op => new Promise(done => { const id = next++; waiting.set(id, done); p.stdin.write(JSON.stringify({...op, id}) + '\n'); });
(async () => {
  const sums = await Promise.all(Array.from({length: 500}, () => run({op: 'incr', at: '/n'})));
  if (sums.some((a, i) => !a.ok || a.value !== i + 1)) throw new Error('sums');
  await run({op: 'set', at: '/name', value: 'caf\u00e9'});
  if ((await run({op: 'get', at: '/name'})).value !== 'caf\u00e9') throw new Error('name');
  p.on('close', status => { if (status === 0) console.log('done'); });
  p.stdin.end();
})();
`

func TestBatchClients(t *testing.T) {
	t.Parallel()
	for program, script := range map[string]string{"python3": pythonClient, "node": nodeClient} {
		t.Run(program, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skipf("SKIPPED: %s is missing: its client was not tried", program)
			}
			dir := t.TempDir()
			name := filepath.Join(dir, "client")
			require.NoError(t, os.WriteFile(name, []byte(script), 0o644))
			out, err := exec.Command(program, name, filepath.Join(dir, "a.json")).CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Equal(t, "done", strings.TrimSpace(string(out)))
		})
	}
}
