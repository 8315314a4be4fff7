//go:build linux

package interception

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a program left incomplete and goes on with is one version, whoever goes on and however often, as long as nobody puts another in its place.
// What nobody completes is in quarantine.
var continued = map[string]struct {
	script, want string
	torn         int
}{
	"in two goes":                  {`printf '{"a":' > r.json; printf '2}' >> r.json; grep -q 2 r.json`, `{"a":2}`, 0},
	"in three":                     {`printf '{"a":' > r.json; printf 2 >> r.json; printf '}' >> r.json; grep -q 2 r.json`, `{"a":2}`, 0},
	"by another program":           {`printf '{"a":' > r.json; sh -c 'printf 2}' >> r.json; grep -q 2 r.json`, `{"a":2}`, 0},
	"of a file that was not there": {`rm r.json; printf '{"a":' > r.json; printf '2}' >> r.json; grep -q 2 r.json`, `{"a":2}`, 0},
	"read, written":                {`printf '{"a":' > r.json; python3 -c 'f=open("r.json","r+"); assert f.read()=="{\"a\":"; f.write("2}"); f.close()'; grep -q 2 r.json`, `{"a":2}`, 0},
	"nothing added":                {`printf '{"a":' > r.json; : >> r.json`, `{"a":1}`, 1},
	"only read":                    {`printf '{"a":' > r.json; python3 -c 'open("r.json","r+").read()'`, `{"a":1}`, 1},
	"locked, only read":            {`printf '{"a":' > r.json; python3 -c 'import fcntl; f=open("r.json","r+"); fcntl.flock(f,fcntl.LOCK_EX); f.read()'`, `{"a":1}`, 1},
	"nothing added, then the rest": {`printf '{"a":' > r.json; : >> r.json; printf '2}' >> r.json; grep -q 2 r.json`, `{"a":2}`, 0},
	"emptied, and made anew":       {`printf '{"a":' > r.json; python3 -c 'f=open("r.json","r+"); f.truncate(0); f.write("{\"a\":3}"); f.close()'; grep -q 3 r.json`, `{"a":3}`, 0},
	"replaced by a whole one":      {`printf '{"a":' > r.json; printf '{"a":3}' > r.json; printf ' ' >> r.json; grep -q 3 r.json`, `{"a":3}`, 1},
	"renamed over":                 {`python3 -c 'import os; open("r.json","w").write("{"); open("t","w").write("{\"a\":3}"); os.rename("t","r.json"); f=open("r.json","a+"); f.seek(0); assert f.read()=="{\"a\":3}"'`, `{"a":3}`, 1},
}

func TestContinued(t *testing.T) {
	needs(t, "python3")
	for name, c := range continued {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.write("r.json", `{"a":1}`)
			cmd := l.guarded(results, "sh", "-ec", c.script)
			out, err := cmd.CombinedOutput()
			if status := cmd.ProcessState.ExitCode(); c.torn == 0 {
				require.NoError(t, err, "%s", out)
			} else {
				require.Equal(t, 65, status, "%s", out)
			}
			require.JSONEq(t, c.want, l.read("r.json"), "%s", out)
			torn, err := filepath.Glob(l.path(".r.json.guard/quarantine/*.torn"))
			require.NoError(t, err)
			require.Len(t, torn, c.torn, "%s", out)
		})
	}
}

// Lines, too, and what is salvaged of them is there once.
func TestContinuedLines(t *testing.T) {
	l := newLab(t)
	l.write("log.jsonl", "0\n")
	logs := []string{"log.jsonl"}
	l.together(l.guarded(logs, "sh", "-ec", `printf '{"a":' >> log.jsonl; : >> log.jsonl; printf '1}\n2\n' >> log.jsonl`))
	require.Equal(t, "0\n{\"a\":1}\n2\n", l.read("log.jsonl"))
	out, err := l.guarded(logs, "sh", "-ec", `printf '3\n{"b"' >> log.jsonl; : >> log.jsonl; printf ':4}\n{"c"' >> log.jsonl`).CombinedOutput()
	require.Error(t, err, "%s", out)
	out, err = exec.Command(binary, "recover", "--salvage", l.path("log.jsonl")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "0\n{\"a\":1}\n2\n3\n{\"b\":4}\n", l.read("log.jsonl"))
}
