//go:build linux

package interception

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Programs that rewrite every record: each is read, then given a field, and a value inside of it; all is written anew, in
// another format. Between the two they say that they have read, and wait until somebody's newer record is in the file.
var migrations = map[string]struct{ needs, script string }{
	"open w": {"python3", pythonMigration + `with open("r.json","w") as f: json.dump(d,f,indent=4)`},
	"os.replace": {"python3", pythonMigration + `with open("r.json.new","w") as f: json.dump(d,f)
os.replace("r.json.new","r.json")`},
	"r+": {"python3", pythonMigration + `with open("r.json","r+") as f: json.dump(d,f,indent=1); f.truncate()`},
	"r+, held open": {"python3", `import json,os,time
f=open("r.json","r+"); d=json.load(f)
` + pythonMigrate + `f.seek(0); json.dump(d,f); f.truncate(); f.close()`},
	"a child that writes": {"python3", pythonMigration + `pid=os.fork()
if not pid:
    with open("r.json","w") as f: json.dump(d,f)
    os._exit(0)
assert os.waitpid(pid,0)[1]==0`},
	"another thread that writes": {"python3", pythonMigration + `import threading
def save():
    with open("r.json","w") as f: json.dump(d,f)
t=threading.Thread(target=save); t.start(); t.join()`},
	"node": {"node", `const fs=require("fs"); const d=JSON.parse(fs.readFileSync("r.json")); fs.writeFileSync("read","");
while(!fs.existsSync("landed")) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0,5);
for(const r of Object.values(d)){r.schema=2; r.meta.migrated=true}
fs.writeFileSync("r.json",JSON.stringify(d,null,2))`},
	"jq and mv": {"jq", `jq 'map_values((.schema=2) | (.meta.migrated=true))' r.json > t && : > read; [ -s t ] || exit 1
while [ ! -e landed ]; do sleep .01; done; mv t r.json`},
}

const pythonMigration = `import json,os,time
d=json.load(open("r.json"))
` + pythonMigrate

const pythonMigrate = `open("read","w").close()
while not os.path.exists("landed"): time.sleep(.005)
for r in (d if isinstance(d,list) else d.values()): r["schema"]=2; r["meta"]["migrated"]=True
`

// A migration that rewrites every record wins over nobody's newer record: all that it did is there, and the newer record, and
// inside a record that both have changed both changes are.
func TestAMigrationWinsOverNoNewerRecord(t *testing.T) {
	const records = 5
	for name, m := range migrations {
		for supervisors := 1; supervisors <= 2; supervisors++ {
			for _, list := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, supervisors %d, list %v", name, supervisors, list), func(t *testing.T) {
					if list && m.needs != "python3" {
						return // the one script of these that knows both
					}
					t.Parallel()
					needs(t, m.needs, "python3")
					l := newLab(t)
					var before []string
					open, end := "{", "}"
					for i := range records {
						key := fmt.Sprintf(`"r%d": `, i)
						if list {
							key, open, end = "", "[", "]"
						}
						before = append(before, fmt.Sprintf(` %s{"id": %d, "count": 1, "meta": {"by": "a"}}`, key, i))
					}
					l.write("r.json", open+"\n"+strings.Join(before, ",\n")+"\n"+end+"\n")
					l.write("migrate", m.script)
					l.write("other.py", `import json,os,time
while not os.path.exists("read"): time.sleep(.005)
d=json.load(open("r.json"))
new={"id":99,"count":1,"meta":{"by":"b"}}
if isinstance(d,list): d.append(new); at=d
else: d["r99"]=new; at=list(d.values())
at[1]["count"]=2; at[2]["meta"]["seen"]="b"; at[3]["meta"]["by"]="b"
with open("r.json","w") as f: json.dump(d,f,indent=1)`)
					migrate := map[string]string{"python3": "python3", "node": "node", "jq": "sh -e"}[m.needs] + " migrate"
					var all []*exec.Cmd
					if supervisors == 1 {
						all = append(all, l.guarded(results, "sh", "-c", migrate+" & one=$!; python3 other.py && wait $one"))
					} else {
						all = append(all, l.guarded(results, "sh", "-c", migrate), l.guarded(results, "python3", "other.py"))
					}
					var started []*running
					for _, cmd := range all {
						started = append(started, l.start(cmd))
					}
					require.Eventually(t, func() bool { return strings.Contains(l.read("r.json"), "99") }, 2*time.Minute, 5*time.Millisecond)
					require.NotContains(t, l.read("r.json"), "schema")
					l.write("landed", "")
					for _, r := range started {
						l.wait(r)
					}
					var found []any
					if list {
						found = l.list("r.json")
					} else {
						doc := l.object("r.json")
						require.Len(t, doc, records+1)
						for i := range records {
							found = append(found, doc[fmt.Sprintf("r%d", i)])
						}
						found = append(found, doc["r99"])
					}
					require.Len(t, found, records+1, "%s", l.read("r.json"))
					for i, r := range found {
						want := map[string]any{"id": float64(i), "count": 1.0, "schema": 2.0}
						meta := map[string]any{"by": "a", "migrated": true}
						switch i {
						case 1:
							want["count"] = 2.0
						case 2:
							meta["seen"] = "b"
						case 3:
							meta["by"] = "b"
						case records: // which no migration has seen
							want, meta = map[string]any{"id": 99.0, "count": 1.0}, map[string]any{"by": "b"}
						}
						want["meta"] = meta
						require.Equal(t, want, r, "record %d", i)
					}
					l.clean("r.json")
				})
			}
		}
	}
}

// A document that is a list, and is filled and emptied again, ends empty, whether it is read in between or written from memory;
// and beside one who adds to it meanwhile all of that one's is there, and nothing else.
func TestADocumentThatIsEmptiedAgain(t *testing.T) {
	needs(t, "python3", "jq")
	saves := map[string]string{
		"open w":     `with open("r.json","w") as f: json.dump(v,f)`,
		"os.replace": "with open('r.json.tmp','w') as f: json.dump(v,f)\n    os.replace('r.json.tmp','r.json')",
		"r+":         `with open("r.json","r+") as f: json.dump(v,f); f.truncate()`,
	}
	for save, by := range saves {
		for _, reads := range []bool{false, true} {
			for _, beside := range []bool{false, true} {
				for _, first := range []string{"[]", "[0]", "{}"} {
					t.Run(fmt.Sprintf("%s, from %s, reads %v, beside another %v", save, first, reads, beside), func(t *testing.T) {
						t.Parallel()
						l := newLab(t)
						l.write("r.json", first)
						script := "import json,os,sys,time\nd=json.load(open('r.json'))\nfor v in [],[1],[]:\n"
						if beside {
							script = "import json,os,sys,time\nd=json.load(open('r.json'))\nopen('read','w').close()\nwhile not os.path.exists('landed'): time.sleep(.005)\nfor v in [],[1],[]:\n"
						}
						if reads {
							script += "    d=json.load(open('r.json'))\n"
							if beside { // what it read of the other's it keeps
								script += "    v=[x for x in d if x=='x']+v\n"
							}
						}
						script += "    " + by
						if !beside {
							l.one(script)
							require.JSONEq(t, "[]", l.read("r.json"))
							l.clean("r.json")
							return
						}
						if first != "[]" || save == "r+" && !reads {
							return // who opens r+ may have read the other's in the same moment, and have deleted it: nobody can tell
						}
						run := l.start(l.guarded(results, "python3", "-c", script))
						require.Eventually(t, func() bool { _, err := os.Stat(l.path("read")); return err == nil }, 2*time.Minute, 5*time.Millisecond)
						l.one(`import json
d=json.load(open("r.json")); d.append("x")
with open("r.json","w") as f: json.dump(d,f)`)
						l.write("landed", "")
						l.wait(run)
						require.JSONEq(t, `["x"]`, l.read("r.json"))
						l.clean("r.json")
					})
				}
			}
		}
	}
}

// A program that copies the file to a backup before each save. The copy is a read, and what the program then saves was made
// from what it read before that, or has in memory.
var backups = map[string]struct{ needs, backup string }{
	"shutil.copy":    {"python3", `shutil.copy("r.json",bak)`},
	"shutil.copy2":   {"python3", `shutil.copy2("r.json",bak)`},
	"cp":             {"cp", `subprocess.run(["cp","r.json",bak],check=True)`},
	"cp -p":          {"cp", `subprocess.run(["cp","-p","r.json",bak],check=True)`},
	"cp --reflink":   {"cp", `subprocess.run(["cp","--reflink=auto","r.json",bak],check=True)`},
	"cp -l":          {"cp", `subprocess.run(["cp","-lf","r.json",bak],check=True)`},
	"ln -f":          {"ln", `subprocess.run(["ln","-f","r.json",bak],check=True)`},
	"install":        {"install", `subprocess.run(["install","-m","644","r.json",bak],check=True)`},
	"os.link":        {"python3", `os.link("r.json",bak+".new"); os.rename(bak+".new",bak)`},
	"read and write": {"python3", `open(bak,"w").write(open("r.json").read())`},
	"read by a jq":   {"jq", `subprocess.run(["jq",".","r.json"],check=True,stdout=open(bak,"w"))`},
}

func TestABackupBeforeEachSave(t *testing.T) {
	const each = 20
	saves := map[string]string{
		"open w":     `with open("r.json","w") as f: json.dump(d,f)`,
		"os.replace": `with open(name+".tmp","w") as f: json.dump(d,f)` + "\n    os.replace(name+'.tmp','r.json')",
	}
	for backup, b := range backups {
		for save, by := range saves {
			for _, memory := range []bool{true, false} {
				if !memory && save != "open w" {
					continue
				}
				t.Run(fmt.Sprintf("%s, %s, from memory %v", backup, save, memory), func(t *testing.T) {
					t.Parallel()
					needs(t, b.needs, "python3")
					l := newLab(t)
					l.write("r.json", `{"n": 0}`)
					read := ""
					if !memory {
						read = `d=json.load(open("r.json")); `
					}
					n := each
					if b.needs != "python3" {
						n = each / 4 // a process each
					}
					l.write("w.py", `import json,os,shutil,subprocess,sys
name=sys.argv[1]; bak=name+".bak"
d=json.load(open("r.json"))
for i in range(int(sys.argv[2])):
    `+read+`d[name+str(i)]=i
    `+b.backup+`
    old=json.load(open(bak)); assert all(name+str(k) in old for k in range(i)), (i,old)
    assert name+str(i) not in old, "the backup is of before"
    `+by)
					l.together(
						l.guarded(results, "sh", "-c", fmt.Sprintf("python3 w.py a %d & one=$!; python3 w.py b %d && wait $one", n, n)),
						l.guarded(results, "python3", "w.py", "c", fmt.Sprint(n)),
					)
					l.hasAllOf(n, "a", "b", "c")
					l.clean("r.json")
				})
			}
		}
	}
}

// Twenty programs of that kind, each of which saves once.
func TestTwentyRunnersWithABackup(t *testing.T) {
	needs(t, "python3")
	const runners = 20
	l := newLab(t)
	l.write("r.json", `{"n": 0}`)
	l.write("w.py", `import json,shutil,sys
d=json.load(open("r.json")); d[sys.argv[1]]=1
shutil.copy2("r.json","bak."+sys.argv[1])
with open("r.json","w") as f: json.dump(d,f)`)
	var all []*exec.Cmd
	for i := range runners {
		all = append(all, l.guarded(results, "python3", "w.py", fmt.Sprintf("r%d", i)))
	}
	l.together(all...)
	require.Len(t, l.object("r.json"), runners+1, "%s", l.read("r.json"))
	for i := range runners {
		require.NotContains(t, l.object(fmt.Sprintf("bak.r%d", i)), fmt.Sprintf("r%d", i))
	}
	l.clean("r.json")
}
