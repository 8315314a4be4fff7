//go:build linux

package interception

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/tests/command"
)

const pythonAdd = `import json
def add(key):
    d=json.load(open("r.json")); d[key]=1
    with open("r.json","w") as f: json.dump(d,f)
`

// Ways to start what writes. Each adds the keys of want to the object in r.json; w.py has add(key).
var starts = []struct {
	name, needs, script string
	want                []string
	root                bool
}{
	{name: "subprocess", needs: "python3", script: `python3 -c 'import subprocess,sys; subprocess.run([sys.executable,"-c","import w; w.add(\"a\")"],check=True); import w; w.add("b")'`, want: []string{"a", "b"}},
	{name: "posix_spawn", needs: "python3", script: `python3 -c 'import os,sys
p=os.posix_spawn(sys.executable,[sys.executable,"-c","import w; w.add(\"a\")"],os.environ); assert os.waitpid(p,0)[1]==0
import w; w.add("b")'`, want: []string{"a", "b"}},
	{name: "multiprocessing spawn", needs: "python3", script: `python3 pool.py spawn`, want: []string{"k0", "k1", "k2", "k3"}},
	{name: "multiprocessing forkserver", needs: "python3", script: `python3 pool.py forkserver`, want: []string{"k0", "k1", "k2", "k3"}},
	{name: "setsid daemon", needs: "setsid", script: `setsid -f sh -c 'sleep .1; python3 -c "import w; w.add(\"a\")"'; python3 -c 'import w; w.add("b")'`, want: []string{"a", "b"}},
	{name: "pipeline", needs: "jq", script: `jq '.a=1' r.json | cat | sed 's/x/x/' > n && cat n | tee r.json >/dev/null && jq .b=1 r.json | sponge.sh`, want: []string{"a", "b"}},
	{name: "perl", needs: "perl", script: `perl -e 'open F,"<","r.json"; my $t=join "",<F>; close F; $t =~ s/\{/{"a": 1, /; open F,">","r.json"; print F $t; close F'`, want: []string{"a"}},
	{name: "static C", needs: "gcc", script: `./static`, want: []string{"a"}},
	{name: "bwrap", needs: "bwrap", script: `bwrap --dev-bind / / python3 -c 'import w; w.add("a")' && bwrap --bind / / --unshare-pid --proc /proc python3 -c 'import w; w.add("b")'`, want: []string{"a", "b"}, root: true},
	{name: "chroot", needs: "gcc", script: `chroot . /static`, want: []string{"a"}, root: true},
}

const staticC = `
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void) {
	static char in[65536], out[65600];
	int f = open("r.json", O_RDONLY);
	if (f < 0) return 3;
	ssize_t n = read(f, in, sizeof in - 1);
	close(f);
	char *brace = memchr(in, '{', n);
	if (!brace) return 1;
	int m = snprintf(out, sizeof out, "{\"a\": 1, %s", brace + 1);
	f = open("r.json", O_WRONLY | O_TRUNC | O_CREAT, 0644);
	if (f < 0 || write(f, out, m) != m) return 2;
	return close(f) != 0;
}`

// Whatever starts it and whoever it runs as: what it wrote is there, beside what another one wrote meanwhile.
func TestWhateverStartsIt(t *testing.T) {
	static := ""
	if _, err := exec.LookPath("gcc"); err == nil {
		static = filepath.Join(t.TempDir(), "static")
		require.NoError(t, os.WriteFile(static+".c", []byte(staticC), 0o644))
		out, err := exec.Command("gcc", "-static", "-O1", "-o", static, static+".c").CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	for _, nobody := range []bool{false, true} {
		for _, s := range starts {
			t.Run(fmt.Sprintf("%s, as nobody %v", s.name, nobody), func(t *testing.T) {
				t.Parallel()
				needs(t, s.needs, "python3")
				if (nobody || s.root) && os.Geteuid() != 0 {
					t.Skip("SKIPPED: needs root")
				}
				if nobody && s.root {
					t.Skip("SKIPPED: needs root inside")
				}
				l := newLab(t)
				l.write("r.json", `{"n": 0}`)
				l.write("w.py", pythonAdd)
				require.NoError(t, command.WriteExecutable(l.path("sponge.sh"), []byte("#!/bin/sh\nall=$(cat); printf '%s\\n' \"$all\" > r.json\n"), 0o755))
				l.write("pool.py", `import multiprocessing as m, sys, w
if __name__=="__main__":
    c=m.get_context(sys.argv[1]); ps=[c.Process(target=w.add,args=("k%d"%i,)) for i in range(4)]
    [p.start() for p in ps]; [p.join() for p in ps]; sys.exit(max(p.exitcode for p in ps))`)
				if static != "" {
					require.NoError(t, command.CopyExecutable(static, l.path("static"), 0o755))
				}
				one := l.guarded(results, "sh", "-ec", s.script)
				other := l.guarded(results, "python3", "-c", "import w\nfor i in range(3): w.add('other%d'%i)")
				for _, cmd := range []*exec.Cmd{one, other} {
					cmd.Env = append(os.Environ(), "PATH="+l.dir+":"+os.Getenv("PATH"), "PYTHONDONTWRITEBYTECODE=1", "HOME="+l.dir)
				}
				if nobody {
					l.asNobody(one, other)
				}
				l.together(one, other)
				doc := l.object("r.json")
				for _, key := range append(s.want, "n", "other0", "other1", "other2") {
					require.Contains(t, doc, key)
				}
				require.Len(t, doc, len(s.want)+4)
				l.clean("r.json")
			})
		}
	}
}
