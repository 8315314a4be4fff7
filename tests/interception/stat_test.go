//go:build linux

package interception

import (
	"fmt"
	"testing"

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
