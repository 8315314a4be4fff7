//go:build linux

package interception

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// one runs a Python program under exec and wants it to succeed.
func (l *lab) one(script string, args ...string) {
	l.together(l.guarded(results, append([]string{"python3", "-c", script}, args...)...))
}

// A consumer that takes all jobs off a list while producers append: every job runs once.
func TestQueueConsumer(t *testing.T) {
	needs(t, "python3")
	const each = 10
	l := newLab(t)
	l.write("r.json", "[]")
	producer := `import json,sys,time
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d.append(sys.argv[1]+str(i))
    with open("r.json","w") as f: json.dump(d,f)
    time.sleep(.004)`
	consumer := `import json,sys,time
ran=[]; end=time.time()+150
while len(ran)<int(sys.argv[1]) and time.time()<end:
    d=json.load(open("r.json"))
    if d:
        with open("r.json","w") as f: json.dump([],f)
        ran+=d
    time.sleep(.002)
json.dump(ran,open("ran.txt","w"))`
	n := fmt.Sprint(each)
	l.together(
		l.guarded(results, "python3", "-c", producer, "a", n),
		l.guarded(results, "python3", "-c", producer, "b", n),
		l.guarded(results, "python3", "-c", consumer, fmt.Sprint(2*each)),
	)
	var ran []string
	require.NoError(t, json.Unmarshal([]byte(l.read("ran.txt")), &ran))
	count := map[string]int{}
	for _, job := range ran {
		count[job]++
	}
	require.Len(t, ran, 2*each, "%v", ran)
	require.Len(t, count, 2*each)
	require.Empty(t, l.list("r.json"))
}

func TestAListThatIsEmptiedAgain(t *testing.T) {
	needs(t, "python3")
	l := newLab(t)
	l.write("r.json", `{"l": 0}`)
	l.one(`import json
for v in [],[1],[]:
    d=json.load(open("r.json")); d["l"]=v
    with open("r.json","w") as f: json.dump(d,f)`)
	require.JSONEq(t, `{"l":[]}`, l.read("r.json"))
}

func TestAppendersFromMemory(t *testing.T) {
	needs(t, "python3")
	const each = 20
	l := newLab(t)
	l.write("r.json", "[]")
	script := `import json,sys
d=json.load(open("r.json"))
for i in range(int(sys.argv[2])):
    d.append(sys.argv[1]+str(i))
    with open("r.json","w") as f: json.dump(d,f)`
	l.together(
		l.guarded(results, "python3", "-c", script, "a", fmt.Sprint(each)),
		l.guarded(results, "python3", "-c", script, "b", fmt.Sprint(each)),
	)
	require.Len(t, l.list("r.json"), 2*each)
	seen := map[any]bool{}
	for _, v := range l.list("r.json") {
		seen[v] = true
	}
	require.Len(t, seen, 2*each)
}

func TestIfNotExists(t *testing.T) {
	needs(t, "python3")
	const each = 5
	script := `import json,os,sys,time
there=os.path.exists("r.json")
open("ready."+sys.argv[1],"w").close()
while len([n for n in os.listdir(".") if n.startswith("ready.")])<2: time.sleep(.005)
if sys.argv[1]=="b": time.sleep(.3)
if not there:
    with open("r.json","w") as f: json.dump({},f)
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    with open("r.json","w") as f: json.dump(d,f)`
	for _, sup := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("supervisors %d", sup), func(t *testing.T) {
			l := newLab(t)
			results := results
			if sup == 3 { // two, and nobody named the file
				sup, results = 2, nil
			}
			l.write("w.py", script)
			if sup == 2 {
				l.together(
					l.guarded(results, "python3", "w.py", "a", fmt.Sprint(each)),
					l.guarded(results, "python3", "w.py", "b", fmt.Sprint(each)),
				)
			} else {
				l.together(l.guarded(results, "sh", "-c", fmt.Sprintf("python3 w.py a %d & python3 w.py b %d & wait", each, each)))
			}
			require.Len(t, l.object("r.json"), 2*each, "%s", l.read("r.json"))
		})
	}
}

// Several that make the file in the same moment, each as if it were the first: none of them is told that it is there already.
func TestMadeByAllAtOnce(t *testing.T) {
	needs(t, "python3")
	const rounds, runners = 3, 4
	for _, files := range [][]string{results, nil} {
		t.Run(fmt.Sprint(files), func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			// Each round has a directory, and begins when all are there.
			l.write("w.py", `import json,os,sys,time
me,n=sys.argv[1],int(sys.argv[2])
for i in range(int(sys.argv[3])):
    open("at%d.%s"%(i,me),"w").close()
    while len([x for x in os.listdir(".") if x.startswith("at%d."%i)])<n: time.sleep(.001)
    os.makedirs("d%d"%i,exist_ok=True); name="d%d/r.json"%i
    with open(name,"a"): os.utime(name,None)
    try: d=json.load(open(name))
    except ValueError: d=dict()
    d[me]=i
    with open(name,"w") as f: json.dump(d,f)`)
			if files != nil {
				files = []string{"*/r.json"}
			}
			var all []*exec.Cmd
			for i := range runners {
				all = append(all, l.guarded(files, "python3", "w.py", fmt.Sprint("k", i), fmt.Sprint(runners), fmt.Sprint(rounds)))
			}
			l.together(all...)
			for i := range rounds {
				require.Len(t, l.object(fmt.Sprintf("d%d/r.json", i)), runners, "%s", l.read(fmt.Sprintf("d%d/r.json", i)))
			}
		})
	}
}

func TestRemoval(t *testing.T) {
	l := newLab(t)
	l.write("r.json", `{"a":1}`)
	l.together(l.guarded(results, "rm", "r.json"))
	require.NoFileExists(t, l.path("r.json"))

	require.NoError(t, os.Mkdir(l.path("d"), 0o755))
	l.write("d/r.json", `{"a":1}`)
	l.together(l.guarded([]string{"d/r.json"}, "sh", "-c", `printf '{"a":2}' > d/r.json && rm -rf d`))
	require.NoDirExists(t, l.path("d"))

	require.NoError(t, os.Mkdir(l.path("d"), 0o755))
	l.write("d/r.json", `{"a":1}`)
	l.together(l.guarded([]string{"d/r.json"}, "sh", "-c", `printf '{"a":2}' > d/r.json && rm d/r.json d/r.json.lock && rmdir d`))
	require.NoDirExists(t, l.path("d"))
}

// A removal while somebody else works on the file is carried out at the end, unless that one changed it.
func TestRemovalBesideAnother(t *testing.T) {
	needs(t, "python3")
	for _, changes := range []bool{false, true} {
		t.Run(fmt.Sprintf("who changes it: %v", changes), func(t *testing.T) {
			l := newLab(t)
			l.write("r.json", `{"a":1}`)
			other := `import json,os,time
d=json.load(open("r.json")); open("ready","w").close()
while not os.path.exists("removed"): time.sleep(.005)
assert json.load(open("r.json"))=={"a":1}
`
			if changes {
				other += "d['b']=1\nwith open('r.json','w') as f: json.dump(d,f)\njson.load(open('r.json'))\n"
			}
			other += "open('done','w').close()\n"
			l.together(
				l.guarded(results, "python3", "-c", other),
				l.guarded(results, "sh", "-c", `while [ ! -e ready ]; do sleep .01; done; rm r.json && ! cat r.json 2>/dev/null && : > removed; while [ ! -e done ]; do sleep .01; done`),
			)
			if changes {
				require.JSONEq(t, `{"a":1,"b":1}`, l.read("r.json"))
			} else {
				require.NoFileExists(t, l.path("r.json"))
			}
		})
	}
}

// The runner is killed in the middle of json.dump: the file is untouched, what it left is in quarantine, and its complete
// records can be had from there.
func TestTornWrite(t *testing.T) {
	needs(t, "python3")
	l := newLab(t)
	l.write("r.json", `{"old": {"n": 1}}`)
	cmd := l.guarded(results, "python3", "-c", `import os,signal
f=open("r.json","w"); f.write('{"old": {"n": 1}, "new": {"n": 2}, "torn": {"n'); f.flush()
os.kill(os.getpid(),signal.SIGKILL)`)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, syscall.SIGKILL, cmd.ProcessState.Sys().(syscall.WaitStatus).Signal(), "%s", out)
	require.Equal(t, `{"old": {"n": 1}}`, l.read("r.json"))
	torn, err := filepath.Glob(l.path(".r.json.guard/quarantine/*.torn"))
	require.NoError(t, err)
	require.Len(t, torn, 1, "%s", out)
	out, err = exec.Command(binary, "recover", "--salvage", l.path("r.json")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	doc := l.object("r.json")
	require.Equal(t, map[string]any{"n": 1.0}, doc["old"])
	require.Equal(t, map[string]any{"n": 2.0}, doc["new"])
}

// A program that ends by itself and leaves an incomplete file is told: 65.
func TestIncompleteAtTheEnd(t *testing.T) {
	l := newLab(t)
	l.write("r.json", `{"a":1}`)
	cmd := l.guarded(results, "sh", "-c", `printf '{"a":' > r.json`)
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 65, cmd.ProcessState.ExitCode(), "%s", out)
	require.Contains(t, string(out), "quarantine")
	require.Equal(t, `{"a":1}`, l.read("r.json"))
	// Quiet is about notes: an error says which file, what happened and what to do.
	cmd = l.guarded(results, "sh", "-c", `printf '{"a":' > r.json`)
	cmd.Args = slices.Insert(cmd.Args, 2, "-q")
	out, err = cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, 65, cmd.ProcessState.ExitCode(), "%s", out)
	for _, part := range []string{l.path("r.json"), "incomplete write", "quarantine", "recover --salvage"} {
		require.Contains(t, string(out), part)
	}
	// One that goes on with it is not.
	l.together(l.guarded(results, "sh", "-c", `printf '{"a":' > r.json; printf '2}' >> r.json; grep -q 2 r.json`))
	require.JSONEq(t, `{"a":2}`, l.read("r.json"))
}

// A descriptor that is held open for the whole run, like TinyDB's.
func TestHeldOpen(t *testing.T) {
	needs(t, "python3")
	l := newLab(t)
	l.write("r.json", `{"n": 0}`)
	held := l.start(l.guarded(results, "python3", "-c", `import json,os,time
f=open("r.json","r+"); d=json.load(f)
def save():
    f.seek(0); json.dump(d,f); f.flush(); f.truncate()
d["held1"]=1; save()
while not os.path.exists("seen1"): time.sleep(.01)
d["held2"]=1; del d["n"]; save(); os.fsync(f.fileno())
while not os.path.exists("seen2"): time.sleep(.01)
d["held3"]=1; del d["held1"]; save()
while not os.path.exists("seen3"): time.sleep(.01)`))
	eventually := func(key string) {
		require.Eventually(t, func() bool { _, ok := l.object("r.json")[key]; return ok }, time.Minute, 5*time.Millisecond, key)
	}
	eventually("held1")
	require.Contains(t, l.object("r.json"), "n")
	l.one(`import json
d=json.load(open("r.json")); d["other"]=1
with open("r.json","w") as f: json.dump(d,f)`)
	l.write("seen1", "")
	eventually("held2")
	require.NotContains(t, l.object("r.json"), "n", "made durable: meant so")
	l.write("seen2", "")
	eventually("held3")
	require.Contains(t, l.object("r.json"), "held1", "it may not be done")
	l.write("seen3", "")
	l.wait(held)
	require.JSONEq(t, `{"held2":1,"held3":1,"other":1}`, l.read("r.json"))
}

func TestLines(t *testing.T) {
	needs(t, "python3")
	const each = 20
	l := newLab(t)
	l.write("log.jsonl", "{\"first\": 1}\n")
	before, err := os.Stat(l.path("log.jsonl"))
	require.NoError(t, err)
	script := `import json,sys
for i in range(int(sys.argv[2])):
    with open("log.jsonl","a") as f: f.write(json.dumps({"id":sys.argv[1]+str(i)})+"\n")`
	kept := `import json,sys
f=open("log.jsonl","a",buffering=1)
for i in range(int(sys.argv[2])): f.write(json.dumps({"id":sys.argv[1]+str(i)})+"\n")
import os; os.kill(os.getpid(),9)`
	logs := []string{"log.jsonl"}
	killed := l.start(l.guarded(logs, "python3", "-c", kept, "k", fmt.Sprint(each)))
	l.together(
		l.guarded(logs, "python3", "-c", script, "a", fmt.Sprint(each)),
		l.guarded(logs, "python3", "-c", script, "b", fmt.Sprint(each)),
		l.guarded(logs, "sh", "-c", fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo "{\"id\":\"s$i\"}" >> log.jsonl; i=$((i+1)); done`, each)),
	)
	require.Error(t, killed.cmd.Wait())
	count := map[string]int{}
	for line := range strings.Lines(l.read("log.jsonl")) {
		require.True(t, json.Valid([]byte(line)), "%q", line)
		count[line]++
	}
	require.Len(t, count, 4*each+1)
	for line, n := range count {
		require.Equal(t, 1, n, line)
	}
	after, err := os.Stat(l.path("log.jsonl"))
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "appended in place")
}

// A rewrite of JSON Lines beside appends.
func TestLinesRewrittenBesideAppends(t *testing.T) {
	needs(t, "python3")
	const each = 15
	l := newLab(t)
	l.write("log.jsonl", "{\"id\":\"old1\"}\n{\"id\":\"old2\"}\n")
	logs := []string{"log.jsonl"}
	rewrite := `import json
for i in range(15):
    d=[json.loads(l) for l in open("log.jsonl")]
    d=[x for x in d if x["id"]!="old1"]+[{"id":"r%d"%i}]
    with open("log.jsonl","w") as f:
        for x in d: f.write(json.dumps(x,separators=(",",":"))+"\n")`
	appended := `import json,time
for i in range(15):
    with open("log.jsonl","a") as f: f.write('{"id":"a%d"}\n'%i)
    time.sleep(.003)`
	l.together(l.guarded(logs, "python3", "-c", rewrite), l.guarded(logs, "python3", "-c", appended))
	count := map[string]int{}
	for line := range strings.Lines(l.read("log.jsonl")) {
		count[strings.TrimSpace(line)]++
	}
	require.NotContains(t, count, `{"id":"old1"}`)
	require.Len(t, count, 2*each+1, "%s", l.read("log.jsonl"))
	for line, n := range count {
		require.Equal(t, 1, n, "%s in %s", line, l.read("log.jsonl"))
	}
}

// Somebody outside appends to JSON Lines while a program is about to write all of them: what it writes was made from what it read, and
// neither the beginning of it, nor where it writes it over, says anything else.
func TestLinesOfAnotherWhileAllAreWritten(t *testing.T) {
	needs(t, "python3")
	for name, script := range map[string]string{
		"in two halves": `lines=open("log.jsonl").readlines()
f=open("log.jsonl","w"); f.writelines(lines+['{"id":"w0"}\n']); f.close()
meanwhile()
lines=open("log.jsonl").readlines()
f=open("log.jsonl","w"); f.writelines(lines[:1]); f.flush(); time.sleep(.4)
f.writelines(lines[1:]+['{"id":"w1"}\n']); f.close()`,
		"over what is there": `lines=open("log.jsonl").readlines()
meanwhile()
f=open("log.jsonl","r+"); f.writelines(lines+['{"id":"w0"}\n','{"id":"w1"}\n']); f.truncate(); f.close()`,
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.write("log.jsonl", "{\"id\":\"old\"}\n")
			writer := l.start(l.guarded([]string{"log.jsonl"}, "python3", "-c", `import os,time
def meanwhile():
    open("ready","w").close()
    while not os.path.exists("go"): time.sleep(.01)
`+script))
			require.Eventually(t, func() bool { _, err := os.Stat(l.path("ready")); return err == nil }, 2*time.Minute, 5*time.Millisecond)
			out, err := exec.Command(binary, "append", "--timeout", "2m", l.path("log.jsonl"), "", `{"id":"other"}`).CombinedOutput()
			require.NoError(t, err, "%s", out)
			l.write("go", "")
			l.wait(writer)
			require.ElementsMatch(t, []string{`{"id":"old"}`, `{"id":"other"}`, `{"id":"w0"}`, `{"id":"w1"}`}, strings.Fields(l.read("log.jsonl")))
			l.clean("log.jsonl")
		})
	}
}

// A root supervisor whose child dropped to nobody opens nothing that nobody may not, and what nobody makes is nobody's.
func TestDroppedPrivileges(t *testing.T) {
	needs(t, "python3")
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
	l := newLab(t)
	require.NoError(t, os.Chmod(l.dir, 0o777))
	require.NoError(t, os.Chmod(filepath.Dir(l.dir), 0o755))
	l.write("secret.json", `{"s":1}`)
	require.NoError(t, os.Chmod(l.path("secret.json"), 0o600))
	l.write("readable.json", `{"s":1}`)
	l.write("w.py", `import json,os
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for name,mode in ("secret.json","r"),("secret.json","w"),("secret.json","r+"),("readable.json","w"),("readable.json","a"):
    try: open(name,mode); raise SystemExit(name+" "+mode+" was opened")
    except PermissionError: pass
json.load(open("readable.json"))
with open("mine.json","w") as f: json.dump({"m":1},f)
json.load(open("mine.json"))
with open("mine.json","w") as f: json.dump({"m":2},f)`)
	l.together(l.guarded([]string{"*.json"}, "python3", "w.py"))
	require.JSONEq(t, `{"s":1}`, l.read("secret.json"))
	require.JSONEq(t, `{"m":2}`, l.read("mine.json"))
	info, err := os.Stat(l.path("mine.json"))
	require.NoError(t, err)
	require.EqualValues(t, 65534, info.Sys().(*syscall.Stat_t).Uid)
}

// A supervisor that is killed takes its tree with it and loses nothing that was closed.
func TestKilledSupervisor(t *testing.T) {
	needs(t, "python3")
	l := newLab(t)
	l.write("r.json", `{}`)
	r := l.start(l.guarded(results, "python3", "-c", `import json,os,time
with open("r.json","w") as f: json.dump({"closed":1},f)
open("pid","w").write(str(os.getpid()))
while True:
    time.sleep(.01)
    try: open("r.json").close()
    except OSError: pass # as it is where only the supervisor dies`))
	require.Eventually(t, func() bool { b, err := os.ReadFile(l.path("pid")); return err == nil && len(b) > 0 }, time.Minute, 5*time.Millisecond)
	require.NoError(t, r.cmd.Process.Kill())
	_, err := r.cmd.Process.Wait() // and not for its output, which ends with its child
	require.NoError(t, err)
	pid := strings.TrimSpace(l.read("pid"))
	require.Eventually(t, func() bool { _, err := os.Stat("/proc/" + pid); return os.IsNotExist(err) }, time.Minute, 5*time.Millisecond, "its child lives")
	out, err := exec.Command(binary, "recover", l.path("r.json")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.JSONEq(t, `{"closed":1}`, l.read("r.json"))
}

// A file that was not named is guarded gently: it is as without us, and nothing is left beside it.
func TestGuessedFiles(t *testing.T) {
	needs(t, "python3")
	l := newLab(t)
	l.write("tsconfig.json", "{\n  // a comment\n  \"strict\": true\n}\n")
	l.write("package.json", "{\n  \"name\": \"x\"\n}\n")
	require.NoError(t, os.MkdirAll(l.path("node_modules/p"), 0o755))
	script := `import json,os
with open("new.json","w") as f: json.dump({"new":1},f)
assert os.path.exists("new.json")
with open("with-comments.json","w") as f: f.write("// no JSON\n{}\n")
assert open("with-comments.json").read()=="// no JSON\n{}\n"
open("empty.json","w").close()
with open("tsconfig.json","a") as f: f.write("// more\n")
with open("node_modules/p/package.json","w") as f: f.write("{}")
with open("log.jsonl","a") as f: f.write("{}\n")
import fcntl
with open("package.json","r+") as f: fcntl.flock(f,fcntl.LOCK_EX)
d=json.load(open("package.json")); d["v"]=1
with open("package.json.tmp","w") as f: json.dump(d,f)
os.rename("package.json.tmp","package.json")
os.remove("new.json")
with open("x.json","x") as f: f.write("{}")`
	tree := func(dir string) map[string]string {
		found := map[string]string{}
		require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				info, err := d.Info()
				require.NoError(t, err)
				rel, _ := filepath.Rel(dir, path)
				found[rel] = fmt.Sprint(info.Mode()) + string(content)
			} else if err == nil {
				rel, _ := filepath.Rel(dir, path)
				found[rel] = "dir"
			}
			return err
		}))
		return found
	}
	bare := newLab(t)
	require.NoError(t, os.CopyFS(bare.dir+"/c", os.DirFS(l.dir)))
	plain := exec.Command("python3", "-c", script)
	plain.Dir = bare.path("c")
	out, err := plain.CombinedOutput()
	require.NoError(t, err, "%s", out)
	l.together(l.guarded(nil, "python3", "-c", script))
	require.Equal(t, tree(bare.path("c")), tree(l.dir))
}

// Two runners on a file that nobody named.
func TestGuessedFilesMerge(t *testing.T) {
	needs(t, "python3")
	const each = 8
	l := newLab(t)
	l.write("r.json", "{\n \"n\": 0\n}\n")
	w := writers["python open w"]
	l.together(
		l.guarded(nil, argvOf(w.needs, w.script, "a", each)...),
		l.guarded(nil, argvOf(w.needs, w.script, "b", each)...),
		l.guarded(nil, argvOf(w.needs, w.script, "c", each)...),
	)
	require.Len(t, l.object("r.json"), 3*each+1)
	left, err := filepath.Glob(l.path(".*"))
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoFileExists(t, l.path("r.json.lock"))
}

// Two processes that use one name for their temporary file.
func TestSharedTemporaryName(t *testing.T) {
	needs(t, "python3")
	const each = 15
	l := newLab(t)
	l.write("r.json", `{"n":0}`)
	script := `import json,sys,os,time
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    with open(".r.json.tmp","w") as f:
        s=json.dumps(d,indent=1); f.write(s[:len(s)//2]); f.flush(); time.sleep(.002); f.write(s[len(s)//2:])
    os.replace(".r.json.tmp","r.json")`
	l.write("w.py", script)
	l.together(
		l.guarded(results, "sh", "-c", fmt.Sprintf("python3 w.py a %d & python3 w.py b %d & wait", each, each)),
		l.guarded(results, "python3", "w.py", "c", fmt.Sprint(each)),
	)
	require.Len(t, l.object("r.json"), 3*each+1)
	require.NoFileExists(t, l.path(".r.json.tmp"))
	l.clean("r.json")
}
