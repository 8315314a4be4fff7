//go:build linux

package interception

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A program that has read the file, and writes it later through a descriptor that could read it as well, has counted on from what it
// read: another one has counted meanwhile, and one of both would be missing. Who does read by that descriptor counts on from there.
func TestCountedOnFromWhatWasRead(t *testing.T) {
	needs(t, "python3")
	const before = `import json, mmap, os, subprocess, sys
def another(): subprocess.run([sys.argv[1], "-q", "incr", "r.json", "/n"], check=True)
d = json.load(open("r.json"))
another()
`
	for name, c := range map[string]struct{ script, want string }{
		"not read by it": {`f = open("r.json", "r+"); d["n"] += 1
json.dump(d, f); f.truncate(); f.close()`, `{"n": 3}`},
		"not read, and something else": {`f = open("r.json", "r+"); d["n"] += 1; d["mine"] = 1
json.dump(d, f); f.truncate(); f.close()`, `{"n": 3, "mine": 1}`},
		"in two pieces, with a rest": {`import time
text = json.dumps({"n": d["n"] + 1, "mine": "x" * 20})
f = open("r.json", "r+"); f.write(text[:9]); f.flush(); time.sleep(.2); f.write(text[9:]); f.flush(); time.sleep(.2); f.close()`, `{"n": 3, "mine": "xxxxxxxxxxxxxxxxxxxx"}`},
		"read by it": {`f = open("r.json", "r+"); d = json.load(f); d["n"] += 1
f.seek(0); json.dump(d, f); f.truncate(); f.close()`, `{"n": 3}`},
		"read as memory": {`f = open("r.json", "r+b"); m = mmap.mmap(f.fileno(), 0); d = json.loads(m[:]); d["n"] += 1
m[:len(m)] = json.dumps(d).encode().ljust(len(m)); m.close(); f.close()`, `{"n": 3}`},
		"read by another descriptor": {`f = open("r.json", "r+"); d = json.load(open("r.json")); d["n"] += 1
json.dump(d, f); f.truncate(); f.close()`, `{"n": 3}`},
		"only opened":             {`f = open("r.json", "r+"); f.close()`, `{"n": 2}`},
		"written as it was found": {`f = open("r.json", "r+"); t = f.read(); f.seek(0); f.write(t); f.close()`, `{"n": 2}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.write("r.json", `{"n": 1}`)
			l.write("jsonguard.json", `{"rules": [{"at": "/n", "merge": "sum"}]}`)
			l.one(before+c.script, binary)
			require.JSONEq(t, c.want, l.read("r.json"))
			require.NoFileExists(t, l.path(".r.json.guard/conflicts.jsonl"))
		})
	}
}

// What a descriptor that is held open has added so far is there with its count: who read one without the other, and then both, would seem
// to have counted on from the second.
func TestHeldRecordsAreThereWithTheirCount(t *testing.T) {
	needs(t, "python3")
	l := newLab(t)
	l.write("r.json", `{"n": 1, "l": ["a"], "state": "idle"}`)
	l.write("jsonguard.json", `{"rules": [{"at": "/n", "merge": "sum"}]}`)
	l.one(`import json, mmap, os, subprocess, sys, time
holder = subprocess.Popen([sys.executable, "-c", '''
import json, sys
f = open("r.json", "r+"); d = json.load(f)
d["n"] += 1; d["l"].append("b"); d["state"] = "busy"
f.seek(0); json.dump(d, f); f.truncate(); f.flush()
sys.stdin.read()
f.close()'''], stdin=subprocess.PIPE)
end = time.time() + 300
while True:
    d = json.load(open("r.json"))
    if "b" in d["l"]: break
    assert time.time() < end
    time.sleep(.01)
assert d == {"n": 2, "l": ["a", "b"], "state": "idle"}, d
holder.communicate(); assert holder.returncode == 0
f = open("r.json", "r+b"); f.truncate(200)
d["n"] += 1; d["l"].append("c")
m = mmap.mmap(f.fileno(), 200); m[:] = json.dumps(d).encode().ljust(200); m.close(); f.close()`)
	require.JSONEq(t, `{"n": 3, "l": ["a", "b", "c"], "state": "busy"}`, l.read("r.json"))
}
