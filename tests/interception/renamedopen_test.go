//go:build linux

package interception

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Lines, too, of which each beginning is whole: with open(t, "w") as f: …; os.replace(t, "r.jsonl"), whose end is in a buffer yet.
func TestLinesRenamedBeforeTheyAreClosed(t *testing.T) {
	needs(t, "python3")
	for _, files := range [][]string{{"r.jsonl"}, nil} {
		l := newLab(t)
		l.write("r.jsonl", "1\n2\n")
		out, err := l.guarded(files, "python3", "-c", `import os
lines=open("r.jsonl").read()
with open("t.tmp","w") as f: f.write(lines+"3\n"); os.replace("t.tmp","r.jsonl")`).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, "1\n2\n3\n", l.read("r.jsonl"), "%s", out)
		require.NoFileExists(t, l.path("t.tmp"))
	}
}

// What was renamed and never finished is a torn write, like any other; what was finished and not closed counts. Also when the supervisor
// is killed, who held the file's lock: the next use of the file brings it in.
func TestRenamedBeforeItIsClosedAndKilled(t *testing.T) {
	needs(t, "python3")
	for _, who := range []string{"os.getpid()", "os.getppid()"} {
		for _, text := range []string{`{"a": 1, "b"`, `{"a": 1, "b": 2}`} {
			t.Run(who+" "+text, func(t *testing.T) {
				l := newLab(t)
				l.write("r.json", `{"a": 1}`)
				out, err := l.guarded(results, "python3", "-c", `import os,signal,sys,time
open("r.json").read()
f=open(".t","w"); os.rename(".t","r.json"); f.write(sys.argv[1]); f.flush()
os.kill(`+who+`,signal.SIGKILL); time.sleep(600)`, text).CombinedOutput()
				require.Error(t, err, "%s", out)
				out, err = exec.Command(binary, "recover", l.path("r.json")).CombinedOutput()
				require.NoError(t, err, "%s", out)
				torn, err := filepath.Glob(l.path(".r.json.guard/quarantine/*.torn"))
				require.NoError(t, err)
				if text[len(text)-1] == '}' {
					require.JSONEq(t, text, l.read("r.json"), "%s", out)
					require.Empty(t, torn)
					return
				}
				require.Equal(t, `{"a": 1}`, l.read("r.json"))
				require.Len(t, torn, 1, "%s", out)
				kept, err := os.ReadFile(torn[0])
				require.NoError(t, err)
				require.Equal(t, text, string(kept))
			})
		}
	}
}

// Where another process has its own file behind the name by now, there is nothing to take over: the program is told, and nothing is
// merged that is not finished.
func TestRenamedBeforeItIsClosedBehindASharedName(t *testing.T) {
	needs(t, "python3")
	l := newLab(t)
	l.write("r.json", `{"a": 1}`)
	out, err := l.guarded(results, "python3", "-c", `import subprocess
def start(text): return subprocess.Popen(["python3","-c",text],stdin=subprocess.PIPE,stdout=subprocess.PIPE)
a=start("""import errno,os
open("r.json").read()
f=open("r.json.tmp","w"); f.write('{"a": 1, "b"'); f.flush(); print(flush=True); input()
try: os.rename("r.json.tmp","r.json")
except OSError as e: assert e.errno==errno.EBUSY, e
else: raise SystemExit("it was renamed")""")
a.stdout.readline()
b=start("f=open('r.json.tmp','w'); print(flush=True); input()")
b.stdout.readline()
a.communicate(b"\n"); b.communicate(b"\n")
raise SystemExit(a.returncode)`).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "before it has closed it")
	require.Equal(t, `{"a": 1}`, l.read("r.json"))
}
