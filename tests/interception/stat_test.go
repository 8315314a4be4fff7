//go:build linux

package interception

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Programs that look at what they have just written: it is there, as long as it is and not older than the write.
var lookers = map[string]struct{ needs, script string }{
	"python": {"python3", `import json,os,time
for i in range(12):
    text=json.dumps({"l":list(range(i))})
    before=os.stat("r.json").st_mtime_ns if os.path.exists("r.json") else 0
    if i%3==2:
        with open("r.json.tmp","w") as f: f.write(text)
        os.replace("r.json.tmp","r.json")
    else:
        with open("r.json","w") as f: f.write(text); inode=os.fstat(f.fileno()).st_ino
    assert os.path.exists("r.json") and os.access("r.json",os.R_OK), i
    assert os.path.getsize("r.json")==len(text), (i,os.path.getsize("r.json"),len(text))
    assert os.stat("r.json").st_mtime_ns>before, i
    time.sleep(.02)`},
	"while it writes": {"python3", `import json,os
with open("r.json","w") as f:
    assert os.path.exists("r.json"); os.chmod("r.json",0o600); os.utime("r.json")
    json.dump([1],f); f.flush(); assert os.fstat(f.fileno()).st_size==3
assert os.path.getsize("r.json")>=3 and os.stat("r.json").st_mode&0o777==0o600, os.stat("r.json")`},
	"node": {"node", `const fs=require("fs"), assert=require("assert");
for(let i=0;i<12;i++){const s=JSON.stringify({l:Array(i).fill(i)}); fs.writeFileSync("r.json",s);
 assert(fs.existsSync("r.json")); assert.equal(fs.statSync("r.json").size,s.length)}`},
	"sh": {"sh", `i=0; while [ $i -lt 12 ]; do printf '{"n": %s}' $i > r.json; [ -e r.json ] && [ -s r.json ] || exit 1
: > mark; sleep .01; cp r.json x; printf '{"m": %s}' $i > r.json; [ r.json -nt mark ] || exit 2; i=$((i+1)); done`},
	// The line that is easy to get wrong: taking a file of no size for a new one.
	"starts anew when there is nothing": {"python3", `import json,os
for i in range(12):
    d=dict()
    if os.path.exists("r.json") and os.path.getsize("r.json")>0: d=json.load(open("r.json"))
    d["k%d"%i]=i
    with open("r.json","w") as f: json.dump(d,f)
assert len(json.load(open("r.json")))>=12`},
	"make": {"make", `printf 'r.json: source\n\t@echo built >> log; cat source > r.json\n' > Makefile; echo '{"a":1}' > source; : > log
make -s && make -s && [ $(wc -l < log) = 1 ] || exit 1; touch -d '+1 hour' source; make -s 2>/dev/null; [ $(wc -l < log) = 2 ]`},
	// lstat(2) is not trapped. What a program does first, or opens for writing, waits for what was closed.
	"tar": {"tar", packed("tar cf a.tar r.json", "tar xOf a.tar r.json")},
	"stat in the place of the shell": {"stat", `i=0; while [ $i -lt 12 ]; do
n=$(sh -c 'printf "{\"k\": \"%0'$((i*5%8+1))'d\"}" 1 > r.json; exec stat -c %s r.json'); [ "$n" = "$(cat r.json | wc -c)" ] || exit 1; i=$((i+1)); done`},
	"cp -p": {"cp", packed("cp -p r.json copy", "cat copy")},
	"cp -a": {"cp", packed("cp -a r.json copy", "cat copy")},
	"rsync": {"rsync", packed("rsync -a --checksum r.json copy", "cat copy")},
	"tarfile": {"python3", `import json,os,tarfile
for i in range(12):
    text=json.dumps({"k":"x"*(i*977%3000)})
    with open("r.json","w") as f: f.write(text)
    with tarfile.open("a.tar","w") as t: t.add("r.json")
    assert tarfile.open("a.tar").extractfile("r.json").read().decode()==text, i
os.remove("a.tar")`},
}

// packed writes versions of different lengths and packs each at once: what was packed is what is there.
func packed(pack, unpack string) string {
	return fmt.Sprintf(`i=0; while [ $i -lt 8 ]; do sh -c 'printf "{\"k\": \"%%0'$((i*5%%8+1))'d\"}" 1 > r.json; %s' || exit 1; %s | cmp - r.json || exit 2; i=$((i+1)); done`, pack, unpack)
}

func TestProgramsThatLookAtWhatTheyWrote(t *testing.T) {
	for name, p := range lookers {
		for _, files := range [][]string{results, nil} {
			for _, before := range []string{"", `{"there": 1}`} {
				what := map[bool]string{true: ", named", false: ", guessed"}[files != nil] + map[bool]string{true: ", new", false: ", there"}[before == ""]
				t.Run(name+what, func(t *testing.T) {
					t.Parallel()
					needs(t, p.needs)
					l := newLab(t)
					if before != "" && name != "make" {
						l.write("r.json", before)
					}
					argv := argvOf(p.needs, p.script, "", 0)
					l.together(l.guarded(files, argv...))
					require.NotEmpty(t, l.read("r.json"))
				})
			}
		}
	}
}

// A fold replaces the file between a program's look at it and its open, which its other programs, bare, would never do. What it
// opens is the file that it saw; when it looks again it sees that it is another one by now; and one that locks the file and
// looks whether it still is what its name leads to finds it so.
func TestOpenedIsTheFileThatWasLookedAt(t *testing.T) {
	needs(t, "python3")
	for _, how := range []string{"r", "r+"} {
		for supervisors := 1; supervisors <= 2; supervisors++ {
			t.Run(fmt.Sprintf("%s, supervisors %d", how, supervisors), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				l.write("r.json", `{"n":0}`)
				l.write("w.py", pythonAdd)
				look := `import fcntl,json,os,sys,time
def landed(n):
    open("looked%d"%n,"w").close()
    while not os.path.exists("landed%d"%n): time.sleep(.005)
def same(a,b): return (a.st_dev,a.st_ino)==(b.st_dev,b.st_ino)
try:
    json.load(open("r.json"))
    saw=os.stat("r.json"); landed(0)
    f=open("r.json",sys.argv[1]); assert same(os.fstat(f.fileno()),saw), "not what was looked at"
    assert "k0" in json.load(f), "and it is up to date"
    now=os.stat("r.json"); assert not same(now,saw), "nobody is told that it was replaced"
    f.close(); os.stat("r.json"); landed(1)
    f=open("r.json",sys.argv[1]); fcntl.flock(f,fcntl.LOCK_EX)
    assert same(os.fstat(f.fileno()),os.stat("r.json")), "whoever locks it would try again for ever"
    f.close()
finally: # who waits for it goes on
    for n in 0,1: open("looked%d"%n,"w").close()
`
				other := `import os,time,w
for n in 0,1:
    while not os.path.exists("looked%d"%n): time.sleep(.005)
    w.add("k%d"%n)
    while '"k%d"'%n not in open("r.json").read(): time.sleep(.005)
    open("closed%d"%n,"w").close()
`
				l.write("look.py", look)
				l.write("other.py", other)
				var all []*running
				if supervisors == 1 {
					all = append(all, l.start(l.guarded(results, "sh", "-c", "python3 other.py & one=$!; python3 look.py "+how+" && wait $one")))
				} else {
					all = append(all, l.start(l.guarded(results, "python3", "look.py", how)), l.start(l.guarded(results, "python3", "other.py")))
				}
				for n := range 2 { // it is in the file, and not only in what the tree sees
					require.Eventually(t, func() bool {
						_, err := os.Stat(l.path(fmt.Sprintf("closed%d", n)))
						_, there := l.object("r.json")[fmt.Sprintf("k%d", n)]
						return err == nil && there
					}, 2*time.Minute, 5*time.Millisecond)
					l.write(fmt.Sprintf("landed%d", n), "")
				}
				for _, r := range all {
					l.wait(r)
				}
				l.clean("r.json")
			})
		}
	}
}
