//go:build linux

package interception

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var increments = flag.Int("increments", 32, "of each lock test, by all processes together; 600 is the campaign")

// Programs that lock, read, add one, write, unlock: they are right without us and have to stay so. $1 is how often.
var lockers = map[string]string{
	"flock on a lock file": `import fcntl,json,sys
for i in range(int(sys.argv[1])):
    with open("any.lock","w") as l:
        fcntl.flock(l,fcntl.LOCK_EX)
        d=json.load(open("r.json")); d["n"]+=1
        with open("r.json","w") as f: json.dump(d,f)`,
	"flock on r.json.lock": `import fcntl,json,sys
for i in range(int(sys.argv[1])):
    with open("r.json.lock","a") as l:
        fcntl.flock(l,fcntl.LOCK_EX)
        d=json.load(open("r.json")); d["n"]+=1
        with open("r.json","w") as f: json.dump(d,f)
        assert json.load(open("r.json"))==d`,
	"flock on the file itself": `import fcntl,json,sys
for i in range(int(sys.argv[1])):
    with open("r.json","r+") as f:
        fcntl.flock(f,fcntl.LOCK_EX)
        d=json.load(f); d["n"]+=1
        f.seek(0); f.truncate(); json.dump(d,f); f.flush()
        fcntl.flock(f,fcntl.LOCK_UN)`,
	"flock on the file itself, held until it is closed": `import fcntl,json,sys
for i in range(int(sys.argv[1])):
    with open("r.json","r+") as f:
        fcntl.flock(f,fcntl.LOCK_EX)
        d=json.load(f); d["n"]+=1
        f.seek(0); f.truncate(); json.dump(d,f)`,
	"flock on a reader, written through another descriptor": `import fcntl,json,sys
for i in range(int(sys.argv[1])):
    with open("r.json") as l:
        fcntl.flock(l,fcntl.LOCK_EX)
        d=json.load(open("r.json")); d["n"]+=1
        with open("r.json","w") as f: json.dump(d,f)`,
	"lockf on the file itself": `import fcntl,json,sys
for i in range(int(sys.argv[1])):
    with open("r.json","r+") as f:
        fcntl.lockf(f,fcntl.LOCK_EX)
        d=json.load(f); d["n"]+=1
        f.seek(0); f.truncate(); json.dump(d,f); f.flush()
        fcntl.lockf(f,fcntl.LOCK_UN)`,
	"lockf on the file itself, held until it is closed": `import fcntl,json,sys
for i in range(int(sys.argv[1])):
    with open("r.json","r+") as f:
        fcntl.lockf(f,fcntl.LOCK_EX)
        d=json.load(f); d["n"]+=1
        f.seek(0); f.truncate(); json.dump(d,f)`,
	"lockf on a lock file": `import fcntl,json,sys
for i in range(int(sys.argv[1])):
    with open("any.lock","w") as l:
        fcntl.lockf(l,fcntl.LOCK_EX)
        d=json.load(open("r.json")); d["n"]+=1
        with open("r.json","w") as f: json.dump(d,f)`,
}

func TestProgramsThatLockStayExact(t *testing.T) {
	needs(t, "python3")
	const processes = 4
	for name, script := range lockers {
		for supervisors := 1; supervisors <= 2; supervisors++ {
			t.Run(fmt.Sprintf("%s, supervisors %d", name, supervisors), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				l.write("r.json", `{"n": 0}`)
				l.write("w.py", script)
				each := *increments / processes
				run := fmt.Sprintf("python3 w.py %d", each)
				var commands []*exec.Cmd
				for range supervisors {
					all := run
					for range processes/supervisors - 1 {
						all += " & " + run
					}
					commands = append(commands, l.guarded(results, "sh", "-c", all+" & wait"))
				}
				l.together(commands...)
				require.EqualValues(t, processes*each, l.object("r.json")["n"])
				l.clean("r.json")
			})
		}
	}
}

// Whoever holds the lock may replace the file. Who has written meanwhile, which waits for that lock, reads both.
func TestAReadSeesWhatTheHolderOfTheLockWrote(t *testing.T) {
	needs(t, "python3", "flock")
	l := newLab(t)
	l.write("r.json", `{"n": 0}`)
	exists := func(name string) func() bool {
		return func() bool { _, err := os.Stat(l.path(name)); return err == nil }
	}
	holder := exec.Command("flock", "r.json.lock", "sh", "-c", `: > locked; while [ -e locked ] && [ ! -e written ]; do sleep .01; done
echo '{"n": 0, "holder": 1}' > new; mv new r.json; : > replaced; while [ -e locked ] && [ ! -e read ]; do sleep .01; done`)
	holder.Dir = l.dir
	held := l.start(holder)
	require.Eventually(t, exists("locked"), 2*time.Minute, 5*time.Millisecond)
	reader := l.start(l.guarded(results, "python3", "-c", `import json,os,time
d=json.load(open("r.json")); d["mine"]=1
with open("r.json","w") as f: json.dump(d,f)
assert json.load(open("r.json"))=={"n": 0, "mine": 1}
open("written","w").close()
while not os.path.exists("replaced"): time.sleep(.01)
both=json.load(open("r.json"))
open("read","w").close()
assert both=={"n": 0, "mine": 1, "holder": 1}, both`))
	l.wait(held)
	l.wait(reader)
	require.JSONEq(t, `{"n": 0, "mine": 1, "holder": 1}`, l.read("r.json"))
	l.clean("r.json")
}

// While somebody outside holds the lock nothing can be folded. Who writes and reads back waits for nobody, and reads what it wrote;
// all of it is there once the lock is free.
func TestAReadWaitsForNoLock(t *testing.T) {
	needs(t, "python3", "flock")
	const each = 5
	l := newLab(t)
	l.write("r.json", `{"n": 0}`)
	exists := func(name string) func() bool {
		return func() bool { _, err := os.Stat(l.path(name)); return err == nil }
	}
	// In a process of its own: under a lock of ours everything that comes of us would fold.
	holder := exec.Command("flock", "r.json.lock", "sh", "-c", ": > locked; while [ -e locked ] && [ ! -e free ]; do sleep .01; done")
	holder.Dir = l.dir
	held := l.start(holder)
	require.Eventually(t, exists("locked"), 2*time.Minute, 5*time.Millisecond)
	l.write("w.py", `import json,os,sys
name=sys.argv[1]
try:
    for i in range(int(sys.argv[2])):
        d=json.load(open("r.json")); d[name+str(i)]=i
        with open("r.json","w") as f: json.dump(d,f)
        back=json.load(open("r.json"))
        assert all(name+str(k) in back for k in range(i+1)), (i,back)
finally: open("done."+name,"w").close()`)
	var all []*running
	for _, name := range []string{"a", "b"} {
		all = append(all, l.start(l.guarded(results, "python3", "w.py", name, fmt.Sprint(each))))
	}
	for _, name := range []string{"a", "b"} {
		require.Eventually(t, exists("done."+name), 2*time.Minute, 5*time.Millisecond)
	}
	require.JSONEq(t, `{"n": 0}`, l.read("r.json"))
	l.write("free", "")
	l.wait(held)
	for _, r := range all {
		l.wait(r)
	}
	require.Len(t, l.object("r.json"), 2*each+1, "%s", l.read("r.json"))
	l.clean("r.json")
}
