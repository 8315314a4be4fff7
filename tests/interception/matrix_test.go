//go:build linux

package interception

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// beforePython waits, having read the file once, until all programs of a test have: a removal is real at once
// where nobody else has come near the file yet.
const beforePython = "import os,time\nopen('r.json').read(); open('ready.'+str(os.getpid()),'w').close()\n" +
	"while len([n for n in os.listdir('.') if n.startswith('ready.')])<3: time.sleep(.005)\n"

// beforeShell is the same for the shell.
const beforeShell = "jq . r.json >/dev/null; : > ready.$$; while [ $(ls | grep -c '^ready[.]') -lt 3 ]; do sleep .01; done\n"

// writingBy is Python that writes the text of each version with a call of its own.
func writingBy(write string) string {
	return `import ctypes,json,mmap,os,shutil,struct,sys,tempfile
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    text=json.dumps(d,indent=1).encode()
` + write
}

// Each program adds records <name>0 … <name>n-1 to the object in r.json, one at a time: it reads all, adds one, writes
// all. $1 is the name, $2 is n. Nobody of them locks.
var writers = map[string]struct {
	needs  string
	script string
}{
	"python open w": {"python3", `import json,sys
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    with open("r.json","w") as f: json.dump(d,f,indent=1)`},
	"python os.replace": {"python3", `import json,sys,os
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    with open("r.json.tmp","w") as f: json.dump(d,f,indent=1)
    os.replace("r.json.tmp","r.json")`},
	"python renames before it closes": {"python3", `import json,sys,os
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    t="r.json.%d.tmp"%os.getpid()
    with open(t,"w") as f: json.dump(d,f,indent=1); os.replace(t,"r.json")`},
	"python renames before it writes": {"python3", `import json,sys,os
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    t="."+sys.argv[1]+"%d"%i
    f=open(t,"w"); os.rename(t,"r.json"); json.dump(d,f,indent=1); f.close()`},
	"node renames before it writes": {"node", `const fs=require('fs'),[name,n]=process.argv.slice(-2);let i=0
const next=()=>{if(i==n)return
 const d=JSON.parse(fs.readFileSync('r.json')),t='.r.json-'+process.pid;d[name+i++]=i
 const f=fs.createWriteStream(t);f.write(JSON.stringify(d,null,1));f.on('open',()=>{f.end();fs.renameSync(t,'r.json')});f.on('close',next)}
next()`},
	"python mkstemp": {"python3", `import json,sys,os,tempfile
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    fd,p=tempfile.mkstemp(dir=".")
    with os.fdopen(fd,"w") as f: json.dump(d,f,indent=1); f.flush(); os.fsync(f.fileno())
    os.rename(p,"r.json")`},
	"python r+": {"python3", `import json,sys
for i in range(int(sys.argv[2])):
    with open("r.json","r+") as f:
        d=json.load(f); d[sys.argv[1]+str(i)]=i
        f.seek(0); json.dump(d,f,indent=1); f.truncate()`},
	"python r+, read before": {"python3", `import json,sys
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    with open("r.json","r+") as f: json.dump(d,f,indent=1); f.truncate()`},
	"python r+, from memory": {"python3", `import json,sys
d=json.load(open("r.json"))
for i in range(int(sys.argv[2])):
    d[sys.argv[1]+str(i)]=i
    with open("r.json","r+") as f: json.dump(d,f,indent=1); f.truncate()`},
	"python unlink first": {"python3", beforePython + `import json,sys,os
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    os.remove("r.json")
    with open("r.json","w") as f: json.dump(d,f,indent=1)`},
	"python moves the old one away": {"python3", beforePython + `import json,sys,os
for i in range(int(sys.argv[2])):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    os.rename("r.json",sys.argv[1]+".bak")
    with open("r.json","w") as f: json.dump(d,f,indent=1)`},
	"python from memory, with a backup": {"python3", `import json,sys,shutil
d=json.load(open("r.json"))
for i in range(int(sys.argv[2])):
    d[sys.argv[1]+str(i)]=i
    shutil.copy("r.json",sys.argv[1]+".bak")
    with open("r.json","w") as f: json.dump(d,f,indent=1)`},
	"python threads": {"python3", `import json,sys,threading
def work(t):
    for i in range(t,int(sys.argv[2]),4):
        d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
        with open("r.json","w") as f: json.dump(d,f,indent=1)
ts=[threading.Thread(target=work,args=(t,)) for t in range(4)]
[t.start() for t in ts]; [t.join() for t in ts]`},
	"python multiprocessing fork": {"python3", `import json,sys,multiprocessing as m
def work(t):
    for i in range(t,int(sys.argv[2]),2):
        d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
        with open("r.json","w") as f: json.dump(d,f,indent=1)
c=m.get_context("fork"); ps=[c.Process(target=work,args=(t,)) for t in range(2)]
[p.start() for p in ps]; [p.join() for p in ps]; sys.exit(max(p.exitcode for p in ps))`},
	"node writeFileSync": {"node", `const fs=require("fs"); const [name,n]=process.argv.slice(-2);
for(let i=0;i<+n;i++){const d=JSON.parse(fs.readFileSync("r.json")); d[name+i]=i; fs.writeFileSync("r.json",JSON.stringify(d,null,1))}`},
	"node promises with rename": {"node", `const fs=require("fs/promises"); const [name,n]=process.argv.slice(-2);
(async()=>{for(let i=0;i<+n;i++){const d=JSON.parse(await fs.readFile("r.json")); d[name+i]=i;
 await fs.writeFile(".r.json.tmp",JSON.stringify(d,null,1)); await fs.rename(".r.json.tmp","r.json")}})()`},
	"node stream": {"node", `const fs=require("fs"); const [name,n]=process.argv.slice(-2);
(async()=>{for(let i=0;i<+n;i++){const d=JSON.parse(fs.readFileSync("r.json")); d[name+i]=i;
 await new Promise((y,no)=>{const s=fs.createWriteStream("r.json"); s.on("close",y); s.on("error",no); s.end(JSON.stringify(d,null,1))})}})()`},
	"shell >":                {"jq", `i=0; while [ $i -lt $2 ]; do d=$(jq ".\"$1$i\"=$i" r.json) && printf '%s\n' "$d" > r.json || exit 1; i=$((i+1)); done`},
	"jq and mv":              {"jq", `i=0; while [ $i -lt $2 ]; do jq ".\"$1$i\"=$i" r.json > $1.tmp && mv $1.tmp r.json || exit 1; i=$((i+1)); done`},
	"jq and mv through /tmp": {"jq", `i=0; while [ $i -lt $2 ]; do t=$(mktemp -p /tmp) && jq ".\"$1$i\"=$i" r.json > $t && mv -f $t r.json || exit 1; i=$((i+1)); done`},
	"cp":                     {"jq", `i=0; while [ $i -lt $2 ]; do jq ".\"$1$i\"=$i" r.json > $1.tmp && cp $1.tmp r.json || exit 1; i=$((i+1)); done`},
	"tee":                    {"jq", `i=0; while [ $i -lt $2 ]; do d=$(jq ".\"$1$i\"=$i" r.json) && printf '%s\n' "$d" | tee r.json >/dev/null || exit 1; i=$((i+1)); done`},
	"dd":                     {"jq", `i=0; while [ $i -lt $2 ]; do d=$(jq ".\"$1$i\"=$i" r.json) && printf '%s\n' "$d" | dd of=r.json status=none || exit 1; i=$((i+1)); done`},
	"sed -i":                 {"sed", `i=0; while [ $i -lt $2 ]; do sed -i "s/\"n\": 0/\"n\": 0,\n\"$1$i\": $i/" r.json || exit 1; i=$((i+1)); done`},
	"perl -i":                {"perl", `i=0; while [ $i -lt $2 ]; do perl -pi -e "s/\"n\": 0/\"n\": 0,\n\"$1$i\": $i/" r.json || exit 1; i=$((i+1)); done`},
	"install":                {"jq", beforeShell + `i=0; while [ $i -lt $2 ]; do jq ".\"$1$i\"=$i" r.json > $1.tmp && install -m 644 $1.tmp r.json || exit 1; i=$((i+1)); done`},
	"ln -f":                  {"jq", `i=0; while [ $i -lt $2 ]; do jq ".\"$1$i\"=$i" r.json > $1.tmp && ln -f $1.tmp r.json && rm $1.tmp || exit 1; i=$((i+1)); done`},
	"symlink":                {"jq", `ln -s r.json $1.link; i=0; while [ $i -lt $2 ]; do d=$(jq ".\"$1$i\"=$i" $1.link) && printf '%s\n' "$d" > $1.link || exit 1; i=$((i+1)); done`},
	"absolute":               {"jq", `f=$(pwd)/r.json; i=0; while [ $i -lt $2 ]; do d=$(jq ".\"$1$i\"=$i" $f) && printf '%s\n' "$d" > $f || exit 1; i=$((i+1)); done`},
	"/dev/stdout":            {"jq", `i=0; while [ $i -lt $2 ]; do d=$(jq ".\"$1$i\"=$i" r.json) && printf '%s\n' "$d" | cat > r.json || exit 1; i=$((i+1)); done`},
}

// Ways to write that go around open and write, or around the name.
func init() {
	for name, write := range map[string]string{
		"dirfd": `    d=os.open(".",os.O_RDONLY|os.O_DIRECTORY); f=os.open("r.json",os.O_WRONLY|os.O_TRUNC,dir_fd=d); os.close(d)
    os.write(f,text); os.close(f)`,
		"dirfd and rename": `    d=os.open(".",os.O_PATH); n=sys.argv[1]+".new"; f=os.open(n,os.O_WRONLY|os.O_CREAT,0o666,dir_fd=d)
    os.write(f,text); os.close(f); os.rename(n,"r.json",src_dir_fd=d,dst_dir_fd=d); os.close(d)`,
		"mmap": `    f=os.open("r.json",os.O_RDWR); os.ftruncate(f,len(text))
    m=mmap.mmap(f,len(text)); os.close(f); m[:]=text; m.close()`,
		"fallocate": `    f=os.open("r.json",os.O_RDWR|os.O_TRUNC); os.posix_fallocate(f,0,len(text)); os.pwrite(f,text,0); os.close(f)`,
		"copy_file_range": `    a=tempfile.TemporaryFile(dir="."); a.write(text); a.flush(); a.seek(0); f=os.open("r.json",os.O_WRONLY|os.O_TRUNC)
    assert os.copy_file_range(a.fileno(),f,len(text))==len(text); os.close(f)`,
		"sendfile": `    a=tempfile.TemporaryFile(dir="."); a.write(text); a.flush(); f=os.open("r.json",os.O_WRONLY|os.O_TRUNC)
    assert os.sendfile(f,a.fileno(),0,len(text))==len(text); os.close(f)`,
		"splice": `    r,w=os.pipe(); os.write(w,text); f=os.open("r.json",os.O_WRONLY|os.O_TRUNC)
    assert os.splice(r,f,len(text))==len(text); os.close(f); os.close(r); os.close(w)`,
		"openat2": `    how=struct.pack("QQQ",os.O_WRONLY|os.O_TRUNC,0,0x08|0x04|0x02) # beneath, through no symlink, no magic one
    d=os.open(".",os.O_PATH); f=ctypes.CDLL(None,use_errno=True).syscall(437,d,b"r.json",how,len(how)); os.close(d)
    assert f>=0, os.strerror(ctypes.get_errno())
    os.write(f,text); os.close(f)`,
		"openat2 in a root": `    how=struct.pack("QQQ",os.O_WRONLY|os.O_TRUNC,0,0x10)
    d=os.open(".",os.O_PATH); f=ctypes.CDLL(None).syscall(437,d,b"/r.json",how,len(how)); os.close(d); assert f>=0
    os.write(f,text); os.close(f)`,
		"O_TMPFILE": `    f=os.open(".",os.O_TMPFILE|os.O_WRONLY,0o644); os.write(f,text); n=sys.argv[1]+".new"
    os.link("/proc/self/fd/%d"%f,n,src_dir_fd=0,follow_symlinks=True); os.close(f); os.rename(n,"r.json")`,
		"a name through /proc": `    p=os.open("r.json",os.O_PATH); d=json.load(open("/proc/self/fd/%d"%p)); d[sys.argv[1]+str(i)]=i
    with open("/proc/self/fd/%d"%p,"w") as f: json.dump(d,f,indent=1)
    os.close(p)`,
		"a reader's name through /proc": `    p=open("r.json"); d=json.load(p); d[sys.argv[1]+str(i)]=i; text=json.dumps(d,indent=1)
    n="/proc/self/fd/%d"%p.fileno(); f=open(n,"w"); f.write(text); f.close(); p.close()`,
		"shutil.move":            `    f=tempfile.NamedTemporaryFile(delete=False,dir="."); f.write(text); f.close(); shutil.move(f.name,"r.json")`,
		"shutil.move from afar":  `    f=tempfile.NamedTemporaryFile(delete=False,dir="/dev/shm"); f.write(text); f.close(); os.chmod(f.name,0o644); shutil.move(f.name,"r.json")`,
		"a directory of its own": `    t=tempfile.mkdtemp(dir="."); open(t+"/r.json","wb").write(text); os.replace(t+"/r.json","r.json"); os.rmdir(t)`,
		"another directory":      `    os.makedirs(sys.argv[1],exist_ok=True); os.chdir(sys.argv[1]); open("../r.json","wb").write(text); os.chdir("..")`,
		"vectors":                `    f=os.open("r.json",os.O_WRONLY|os.O_TRUNC); os.pwritev(f,[text[:5],text[5:]],0); os.close(f)`,
	} {
		writers["python "+name] = struct{ needs, script string }{"python3", writingBy(write)}
	}
	writers["sponge"] = struct{ needs, script string }{"sponge", `i=0; while [ $i -lt $2 ]; do jq ".\"$1$i\"=$i" r.json | sponge r.json || exit 1; i=$((i+1)); done`}
}

// Programs that write through a hard link of another name, which was there before; nobody can know the others' file by it, so
// they come under one supervisor.
var otherNames = map[string]struct{ needs, script string }{
	"open w": {"python3", `import json,sys
f=sys.argv[1]
for i in range(int(sys.argv[2])):
    d=json.load(open(f)); d[sys.argv[1]+str(i)]=i
    with open(f,"w") as o: json.dump(d,o,indent=1)`},
	"r+": {"python3", `import json,os,sys
for i in range(int(sys.argv[2])):
    with open(sys.argv[1],"r+") as f:
        d=json.load(f); d[sys.argv[1]+str(i)]=i
        f.seek(0); json.dump(d,f,indent=1); f.truncate()
    assert sys.argv[1]+str(i) in open(sys.argv[1]).read() and os.stat(sys.argv[1]).st_size>10*(i+1)`},
	"shell": {"jq", `i=0; while [ $i -lt $2 ]; do d=$(jq ".\"$1$i\"=$i" $1) && printf '%s\n' "$d" > $1 && [ -s $1 ] || exit 1; i=$((i+1)); done`},
	"cp":    {"jq", `i=0; while [ $i -lt $2 ]; do jq ".\"$1$i\"=$i" $1 > $1.new && cp $1.new $1 || exit 1; i=$((i+1)); done`},
}

func TestHardLinksOfAnotherName(t *testing.T) {
	const each = 4
	python := writers["python open w"]
	for name, w := range otherNames {
		asBothUsers(t, name, func(t *testing.T, asUser func(*lab, ...*exec.Cmd)) {
			needs(t, w.needs, python.needs)
			l := newLab(t)
			l.write("r.json", "{\n \"n\": 0\n}\n")
			l.write("w", w.script)
			require.NoError(t, os.Link(l.path("r.json"), l.path("a")))
			require.NoError(t, os.Link(l.path("r.json"), l.path("b")))
			run := map[string]string{"python3": "python3", "jq": "sh"}[w.needs] + " w"
			both := l.guarded(results, "sh", "-c", fmt.Sprintf("%[1]s a %[2]d & one=$!; %[1]s b %[2]d && wait $one", run, each))
			other := l.guarded(results, argvOf(python.needs, python.script, "p", each)...)
			for _, cmd := range []*exec.Cmd{both, other} {
				cmd.Args = slices.Insert(cmd.Args, 2, "--follow-links")
			}
			asUser(l, both, other)
			l.together(both, other)
			l.hasAllOf(each, "a", "b", "p")
			require.JSONEq(t, l.read("a"), l.read("b"), "outside they are the version there was before")
			l.clean("r.json")
		})
	}
}

// asBothUsers runs a test as who runs it, and with the commands that it hands to asUser as nobody.
func asBothUsers(t *testing.T, name string, test func(t *testing.T, asUser func(*lab, ...*exec.Cmd))) {
	for user, asUser := range map[string]func(*lab, ...*exec.Cmd){
		"":            func(*lab, ...*exec.Cmd) {},
		", as nobody": (*lab).asNobody,
	} {
		t.Run(name+user, func(t *testing.T) {
			t.Parallel()
			test(t, asUser)
		})
	}
}

// What --follow-links gives up. The first fold leaves the other names on the old version: to an exec that starts afterwards they are
// a file of its own, and nothing that it writes there is lost. A mode that is set by another name is everybody's before that fold,
// and that name's alone behind it.
func TestHardLinksAreSplit(t *testing.T) {
	needs(t, "jq")
	const add = `d=$(jq ".$KEY=1" $F) && printf '%s\n' "$d" > $F; `
	l := newLab(t)
	follow := func(script string) {
		cmd := l.guarded(results, "sh", "-ec", script)
		cmd.Args = slices.Insert(cmd.Args, 2, "--follow-links")
		l.together(cmd)
	}
	mode := func(name string) os.FileMode {
		info, err := os.Stat(l.path(name))
		require.NoError(t, err)
		return info.Mode()
	}
	l.write("r.json", `{"n":0}`)
	require.NoError(t, os.Link(l.path("r.json"), l.path("other")))
	follow(`chmod 640 other; F=other; KEY=a; ` + add + `chmod 600 other; F=r.json; KEY=b; ` + add + `jq -e .b other >/dev/null`)
	require.JSONEq(t, `{"n":0,"a":1,"b":1}`, l.read("r.json"))
	require.JSONEq(t, `{"n":0}`, l.read("other"))
	require.EqualValues(t, 0o640, mode("r.json"))
	require.EqualValues(t, 0o600, mode("other"))

	// Two names that a second exec finds are no longer one file.
	follow(`F=other; KEY=c; ` + add + `F=r.json; KEY=d; ` + add + `! jq -e .d other >/dev/null`)
	require.JSONEq(t, `{"n":0,"a":1,"b":1,"d":1}`, l.read("r.json"))
	require.JSONEq(t, `{"n":0,"c":1}`, l.read("other"))
	l.clean("r.json")
}

func argvOf(needs, script, name string, n int) []string {
	switch needs {
	case "python3":
		return []string{"python3", "-c", script, name, fmt.Sprint(n)}
	case "node":
		return []string{"node", "-e", script, "--", name, fmt.Sprint(n)}
	}
	return []string{"sh", "-c", script, "sh", name, fmt.Sprint(n)}
}

// Every kind of writer, twice, beside a Python writer, each under a supervisor of its own; as root and as nobody.
func TestEveryWriterMerges(t *testing.T) {
	const each = 4
	python := writers["python open w"]
	python.script = beforePython + python.script
	for name, w := range writers {
		asBothUsers(t, name, func(t *testing.T, asUser func(*lab, ...*exec.Cmd)) {
			needs(t, w.needs, python.needs)
			l := newLab(t)
			l.write("r.json", "{\n \"n\": 0\n}\n")
			if !strings.Contains(w.script, "ready.") { // it does not wait for the others, who do not wait for it
				l.write("ready.1", "")
				l.write("ready.2", "")
			}
			all := []*exec.Cmd{
				l.guarded(results, argvOf(w.needs, w.script, "a", each)...),
				l.guarded(results, argvOf(w.needs, w.script, "b", each)...),
				l.guarded(results, argvOf(python.needs, python.script, "p", each)...),
			}
			asUser(l, all...)
			l.together(all...)
			l.hasAllOf(each, "a", "b", "p")
			l.clean("r.json")
		})
	}
}

// Two of them under one supervisor.
func TestTwoRunnersUnderOneSupervisor(t *testing.T) {
	const each = 4
	needs(t, "python3")
	for _, name := range []string{"python open w", "python os.replace", "python r+", "python from memory, with a backup", "python threads"} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.write("r.json", "{\n \"n\": 0\n}\n")
			l.write("w.py", writers[name].script)
			l.together(l.guarded(results, "sh", "-c", fmt.Sprintf(`python3 w.py a %d & python3 w.py b %d & wait`, each, each)))
			require.Len(t, l.object("r.json"), 2*each+1, "%s", l.read("r.json"))
			l.clean("r.json")
		})
	}
}

// A static Go program: one thread reads, another writes.
func TestStaticGoBinary(t *testing.T) {
	const each = 15
	l := newLab(t)
	l.write("main.go", `package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
)

func main() {
	n, _ := strconv.Atoi(os.Args[2])
	for i := range n {
		raw, err := os.ReadFile("r.json")
		if err != nil {
			panic(err)
		}
		var d map[string][]string
		if err := json.Unmarshal(raw, &d); err != nil {
			panic(string(raw))
		}
		d["l"] = append(d["l"], fmt.Sprint(os.Args[1], i))
		raw, _ = json.MarshalIndent(d, "", " ")
		if err := os.WriteFile("r.json", raw, 0o644); err != nil {
			panic(err)
		}
	}
}
`)
	build := exec.Command("go", "build", "-o", "runner", "main.go")
	build.Dir, build.Env = l.dir, append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	l.write("r.json", `{"l":[]}`)
	n := fmt.Sprint(each)
	l.together(l.guarded(results, "./runner", "a", n), l.guarded(results, "./runner", "b", n), l.guarded(results, "./runner", "c", n))
	var doc struct{ L []string }
	require.NoError(t, json.Unmarshal([]byte(l.read("r.json")), &doc))
	seen := map[string]bool{}
	for _, id := range doc.L {
		seen[id] = true
	}
	require.Len(t, doc.L, 3*each)
	require.Len(t, seen, 3*each)
}

// jsonguard's own verbs, in a script that runs under exec: a fold that waits for us must not be waited for.
func TestVerbsInside(t *testing.T) {
	needs(t, "python3")
	const each = 6
	l := newLab(t)
	l.write("r.json", "{\n \"n\": 0\n}\n")
	l.write("w.py", writers["python open w"].script)
	verbs := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do %s -q incr r.json /n --timeout 1m >/dev/null || exit 1; i=$((i+1)); done`, each, binary)
	l.together(l.guarded(results, "sh", "-c", fmt.Sprintf(`(%s) & one=$!; (%s) & two=$!; python3 w.py a %d && wait $one && wait $two`, verbs, verbs, each)))
	doc := l.object("r.json")
	require.EqualValues(t, 2*each, doc["n"])
	require.Len(t, doc, each+1)
	l.clean("r.json")
}

// An exec inside an exec is guarded by the outer one.
func TestNested(t *testing.T) {
	needs(t, "python3")
	l := newLab(t)
	l.write("r.json", `{"n":0}`)
	l.write("s.json", `{"n":0}`)
	add := func(file, key string) string {
		return fmt.Sprintf(`import json
d=json.load(open("%[1]s")); d["%[2]s"]=1
with open("%[1]s","w") as f: json.dump(d,f)`, file, key)
	}
	l.write("a.py", add("r.json", "a"))
	l.write("b.py", add("s.json", "b"))
	inner := binary + " exec --mode intercept --file s.json -- python3 b.py"
	l.together(
		l.guarded(results, "sh", "-c", "python3 a.py && "+inner),
		l.guarded([]string{"s.json"}, "python3", "-c", add("s.json", "c")),
	)
	require.JSONEq(t, `{"n":0,"a":1}`, l.read("r.json"))
	require.JSONEq(t, `{"n":0,"b":1,"c":1}`, l.read("s.json"))
}
