//go:build linux

package interception

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// withoutInotify has a command run in a namespace of users that may have no instance of inotify: what is left where other programs of
// the same user have them all (fs.inotify.max_user_instances is 128 for an IDE, for each tail -f, and for every container of root).
func (l *lab) withoutInotify(cmd *exec.Cmd) *exec.Cmd {
	const none = `echo 0 > /proc/sys/user/max_inotify_instances`
	if out, err := exec.Command("unshare", "-Ur", "sh", "-c", none).CombinedOutput(); err != nil {
		l.Skipf("SKIPPED: no namespace of users here: %v %s", err, out)
	}
	inside := exec.Command("unshare", append([]string{"-Ur", "sh", "-c", none + ` && exec "$@"`, "sh"}, cmd.Args...)...)
	inside.Dir = cmd.Dir
	return inside
}

func TestWithoutInotify(t *testing.T) {
	needs(t, "python3", "unshare", "jq")
	l := newLab(t)
	l.write("r.json", `{"kept": 1}`)
	rests := l.start(l.withoutInotify(l.guarded(results, "python3", "-c", `import json,os,time
f=open("r.json","r+"); d=json.load(f); d["rests"]=1; f.seek(0); json.dump(d,f); f.truncate(); f.flush()
while not os.path.exists("end"): time.sleep(.01)`)))
	require.Eventually(t, func() bool { return strings.Contains(l.read("r.json"), "rests") }, time.Minute, 10*time.Millisecond,
		"what a program has open, and leaves alone, is merged while it runs")
	const writes = `import json,sys
for i in range(10):
    d=json.load(open("r.json")); d[sys.argv[1]+str(i)]=i
    with open("r.json","w") as f: json.dump(d,f)
    assert sys.argv[1]+str(i) in json.load(open("r.json"))`
	l.together(
		l.withoutInotify(l.guarded(results, "python3", "-c", writes, "a")),
		l.withoutInotify(l.guarded(results, "python3", "-c", writes, "b")),
		l.withoutInotify(l.guarded(results, "sh", "-ec", `for i in 0 1 2 3 4 5 6 7 8 9; do jq -c ".c$i = $i" r.json > t; mv t r.json; done`)),
	)
	l.write("end", "")
	l.wait(rests)
	doc := l.object("r.json")
	require.Contains(t, doc, "rests")
	delete(doc, "rests")
	require.Len(t, doc, 31)
	l.clean("r.json")
	_, err := os.Stat(l.path("t"))
	require.ErrorIs(t, err, os.ErrNotExist)
}
