//go:build linux

package interception

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
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
	root                bool // it takes root
	view                bool // it takes user namespaces where it is nobody
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
	{name: "bwrap", needs: "bwrap", script: `bwrap --dev-bind / / python3 -c 'import w; w.add("a")' && bwrap --bind / / --unshare-pid --proc /proc python3 -c 'import w; w.add("b")'`, want: []string{"a", "b"}, view: true},
	{name: "bwrap in a user namespace", needs: "bwrap", script: `bwrap --unshare-user --uid 0 --dev-bind / / python3 -c 'import w; w.add("a")' && bwrap --unshare-all --bind / / --proc /proc --dev /dev ./static2`, want: []string{"a", "b"}, view: true},
	{name: "chroot", needs: "gcc", script: `chroot . /static`, want: []string{"a"}, root: true},
	{name: "chroot in a user namespace", needs: "gcc", script: `unshare -Ur chroot . /static && unshare -Urm --propagation slave sh -ec 'mount --bind . /mnt; cd /mnt; ./static2'`, want: []string{"a", "b"}, view: true},
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
	int m = snprintf(out, sizeof out, "{\"" KEY "\": 1, %s", brace + 1);
	f = open("r.json", O_WRONLY | O_TRUNC | O_CREAT, 0644);
	if (f < 0 || write(f, out, m) != m) return 2;
	return close(f) != 0;
}`

// userNamespaces skips the test, and says why, where who is not root may make none: sysctls and security modules forbid it.
func userNamespaces(t *testing.T, nobody bool) {
	cmd := exec.Command("unshare", "-Ur", "true")
	if nobody {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no user namespace without root: %s: %v: %s", cmd, err, out)
	}
}

// Whatever starts it and whoever it runs as: what it wrote is there, beside what another one wrote meanwhile.
func TestWhateverStartsIt(t *testing.T) {
	static := ""
	if _, err := exec.LookPath("gcc"); err == nil {
		static = filepath.Join(t.TempDir(), "static")
		require.NoError(t, os.WriteFile(static+".c", []byte(staticC), 0o644))
		for key, to := range map[string]string{"a": static, "b": static + "2"} {
			out, err := exec.Command("gcc", "-static", "-O1", `-DKEY="`+key+`"`, "-o", to, static+".c").CombinedOutput()
			require.NoError(t, err, "%s", out)
		}
	}
	for _, nobody := range []bool{false, true} {
		for _, s := range starts {
			if nobody && s.root {
				continue // the row that makes a user namespace first is for nobody
			}
			t.Run(fmt.Sprintf("%s, as nobody %v", s.name, nobody), func(t *testing.T) {
				t.Parallel()
				needs(t, s.needs, "python3")
				if (nobody || s.root) && os.Geteuid() != 0 {
					t.Skip("SKIPPED: needs root")
				}
				if s.view && (nobody || os.Geteuid() != 0) {
					userNamespaces(t, nobody)
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
					require.NoError(t, command.CopyExecutable(static+"2", l.path("static2"), 0o755))
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
