//go:build linux

package interception

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that a program empties is empty at once, where nobody else has a hand on it.
var emptiers = map[string]struct{ script, want string }{
	"colon":                 {`: > r.json; [ ! -s r.json ] && [ -z "$(cat r.json)" ]`, ""},
	"colon, then append":    {`: > r.json; echo '{"b":2}' >> r.json; grep -q b r.json`, `{"b":2}`},
	"colon, then write":     {`: > r.json; echo '{"b":2}' > r.json; grep -q b r.json`, `{"b":2}`},
	"truncate":              {`truncate -s 0 r.json; [ ! -s r.json ]`, ""},
	"cp":                    {`cp /dev/null r.json; [ ! -s r.json ]`, ""},
	"ftruncate":             {`python3 -c 'f=open("r.json","r+"); f.truncate(0); f.close(); assert open("r.json").read()==""'; [ ! -s r.json ]`, ""},
	"truncate(2), Python":   {`python3 -c 'import os; os.truncate("r.json",0); assert os.path.getsize("r.json")==0'`, ""},
	"an exception":          {`python3 -c 'f=open("r.json","w"); f.write(__import__("json").dumps(object()))' 2>/dev/null || :; [ ! -s r.json ]`, ""},
	"O_TRUNC, nothing read": {`python3 -c 'import os; os.close(os.open("r.json",os.O_WRONLY|os.O_TRUNC)); assert os.path.getsize("r.json")==0'`, ""},
}

func TestEmptiedFiles(t *testing.T) {
	needs(t, "python3", "truncate")
	for name, e := range emptiers {
		for _, files := range [][]string{results, nil} {
			t.Run(fmt.Sprintf("%s %v", name, files), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				l.write("r.json", "{\"a\":1}\n")
				l.together(l.guarded(files, "sh", "-ec", e.script))
				if e.want == "" {
					require.Empty(t, l.read("r.json"))
				} else {
					require.JSONEq(t, e.want, l.read("r.json"))
				}
				l.clean("r.json")
			})
		}
	}
}

// Beside another party only the tree that emptied it sees that, until the end: then it is done if nobody changed the file.
func TestEmptiedBesideAnother(t *testing.T) {
	needs(t, "python3")
	for _, changes := range []bool{false, true} {
		t.Run(fmt.Sprintf("who changes it: %v", changes), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.write("r.json", `{"a":1}`)
			other := `import json,os,time
d=json.load(open("r.json")); open("ready","w").close()
while not os.path.exists("emptied"): time.sleep(.005)
assert json.load(open("r.json"))=={"a":1}
`
			if changes {
				other += "d['b']=1\nwith open('r.json','w') as f: json.dump(d,f)\njson.load(open('r.json'))\n"
			}
			other += "open('done','w').close()\n"
			l.together(
				l.guarded(results, "python3", "-c", other),
				l.guarded(results, "sh", "-ec", `while [ ! -e ready ]; do sleep .01; done; : > r.json; [ -z "$(cat r.json)" ]; : > emptied; while [ ! -e done ]; do sleep .01; done`),
			)
			if changes {
				require.JSONEq(t, `{"a":1,"b":1}`, l.read("r.json"))
			} else {
				require.Empty(t, l.read("r.json"))
			}
		})
	}
}

// An empty file is one with no document in it yet.
func TestTouchedFirst(t *testing.T) {
	needs(t, "python3")
	for _, files := range [][]string{results, nil} {
		l := newLab(t)
		l.write("r.json", "")
		l.together(l.guarded(files, "python3", "-c", `import json
for i in range(3):
    try: d=json.load(open("r.json"))
    except ValueError: d=dict()
    d["k%d"%i]=i
    with open("r.json","w") as f: json.dump(d,f)`))
		require.JSONEq(t, `{"k0":0,"k1":1,"k2":2}`, l.read("r.json"))
	}
}

// A file with two names: a fold would split them. Named, it is refused before anything runs; guessed, it is left alone, and
// that is said once.
func TestHardLinkedFile(t *testing.T) {
	for _, files := range [][]string{results, nil} {
		l := newLab(t)
		l.write("r.json", `{"a":1}`)
		require.NoError(t, os.Link(l.path("r.json"), l.path("other")))
		cmd := l.guarded(files, "sh", "-c", `for i in 1 2 3; do echo '{"b":2}' > r.json; done`)
		out, err := cmd.CombinedOutput()
		require.Equal(t, 1, strings.Count(string(out), "2 hard links"), "said once: %s", out)
		if files == nil {
			require.NoError(t, err, "%s", out)
			require.JSONEq(t, `{"b":2}`, l.read("r.json"))
		} else {
			require.Equal(t, 125, cmd.ProcessState.ExitCode(), "%s", out)
			require.Contains(t, string(out), "--follow-links")
			require.JSONEq(t, `{"a":1}`, l.read("r.json"))
		}
		require.Equal(t, l.read("r.json"), l.read("other"), "still one file")
	}
}
