//go:build linux

package interception

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A symlink that takes the place of a file that was named: what it leads to is guarded, whatever that is called, and however
// often it is turned.
func TestASymlinkIsTurned(t *testing.T) {
	needs(t, "jq")
	l := newLab(t)
	l.write("one", `{"n":1}`)
	l.write("two", `{"n":2}`)
	add := `d=$(jq ".$KEY=1" r.json) && printf '%s\n' "$d" > r.json`
	l.together(l.guarded(results, "sh", "-ec", `ln -s one r.json; KEY=a; `+add+`
cp r.json seen; `+binary+` -q set one /other 1; `+add+`; ln -sfn two r.json; KEY=b; `+add+`; jq -e .b r.json >/dev/null; [ -L r.json ]`))
	require.JSONEq(t, `{"n":1,"a":1,"other":1}`, l.read("one"))
	require.JSONEq(t, `{"n":2,"b":1}`, l.read("two"))
	l.clean("one")
	l.clean("two")

	// Beside one who writes by the real name.
	l.write("three.json", "{\n \"n\": 0\n}\n")
	for _, name := range []string{"ready.1", "ready.2"} {
		l.write(name, "")
	}
	l.together(
		l.guarded([]string{"s.json"}, "sh", "-ec", `ln -s three.json s.json; i=0; while [ $i -lt 6 ]; do d=$(jq ".a$i=1" s.json) && printf '%s\n' "$d" > s.json; i=$((i+1)); done`),
		l.guarded([]string{"three.json"}, "sh", "-ec", `i=0; while [ $i -lt 6 ]; do d=$(jq ".b$i=1" three.json) && printf '%s\n' "$d" > three.json; i=$((i+1)); done`),
	)
	require.Len(t, l.object("three.json"), 13, "%s", l.read("three.json"))
}

// A file that never had a name is linked to that of the target, which is not there, or was just removed.
func TestAFileWithoutANameBecomesTheTarget(t *testing.T) {
	needs(t, "python3")
	for _, before := range []string{"", `{"old":1}`} {
		l := newLab(t)
		if before != "" {
			l.write("r.json", before)
		}
		l.one(`import os
f=os.open(".",os.O_TMPFILE|os.O_WRONLY,0o640); os.write(f,b'{"new":1}')
if os.path.exists("r.json"): os.remove("r.json")
os.link("/proc/self/fd/%d"%f,"r.json",src_dir_fd=0,follow_symlinks=True)
try: os.link("/proc/self/fd/%d"%f,"r.json",src_dir_fd=0,follow_symlinks=True); raise SystemExit("linked twice")
except FileExistsError: pass
try: open("r.json","x"); raise SystemExit("made twice")
except FileExistsError: pass
assert open("r.json").read()=='{"new":1}'
os.remove("r.json")
with open("r.json","w") as f: f.write('{"new":1}')
try: open("r.json","x"); raise SystemExit("made twice")
except FileExistsError: pass`)
		require.JSONEq(t, `{"new":1}`, l.read("r.json"))
		l.clean("r.json")
	}
}

// install removes the file before it makes it anew. Another one has changed it since it was read, and is no more: a removal that
// were real would take that along.
func TestInstallBehindOneWhoHasFinished(t *testing.T) {
	needs(t, "jq", "install", "python3")
	for _, files := range [][]string{results, nil} {
		for name, install := range map[string]string{
			"install":       "install -m 644 t r.json",
			"with a backup": "install -b -m 644 t r.json; jq -e .b r.json~ >/dev/null",
			"rm":            "rm r.json; [ ! -e r.json ]; cat t > r.json",
			"mv":            "mv r.json old; [ ! -e r.json ]; cp t r.json; jq -e .b old >/dev/null",
		} {
			t.Run(fmt.Sprintf("%s %v", name, files), func(t *testing.T) {
				t.Parallel()
				l := newLab(t)
				l.write("r.json", `{"n":0}`)
				l.write("w.py", pythonAdd)
				run := l.start(l.guarded(files, "sh", "-ec", `jq .a=1 r.json > t; : > ready; while [ ! -e go ]; do sleep .01; done; `+install))
				require.Eventually(t, func() bool { _, err := os.Stat(l.path("ready")); return err == nil }, time.Minute, 5*time.Millisecond)
				l.together(l.guarded(files, "python3", "-c", "import w; w.add('b')"))
				l.write("go", "")
				l.wait(run)
				require.JSONEq(t, `{"n":0,"a":1,"b":1}`, l.read("r.json"))
				l.clean("r.json")
				if files == nil {
					require.NoDirExists(t, l.path(".r.json.guard"))
				}
			})
		}
	}
}

// Two names that are to be exchanged in one call, one or both of them guarded: both stay what they were, and the program is told.
func TestExchangedNames(t *testing.T) {
	needs(t, "python3")
	for _, files := range [][]string{results, {"r.json", "s.json"}} {
		l := newLab(t)
		l.write("r.json", `{"r":1}`)
		l.write("s.json", `{"s":1}`)
		l.together(l.guarded(files, "python3", "-c", `import ctypes,errno
c=ctypes.CDLL(None,use_errno=True)
assert c.renameat2(-100,b"r.json",-100,b"s.json",2)==-1 and ctypes.get_errno()==errno.EINVAL, ctypes.get_errno()`))
		require.JSONEq(t, `{"r":1}`, l.read("r.json"))
		require.JSONEq(t, `{"s":1}`, l.read("s.json"))
	}
}
