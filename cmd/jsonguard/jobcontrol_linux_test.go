package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// typist drives an interactive bash on a terminal of its own: a program under $RUN reads the terminal, is stopped by ^Z
// and continued by fg, stops itself alone, and dies of ^C.
const typist = `
import os, pty, sys, time, select
pid, tty = pty.fork()
if pid == 0:
    os.environ["PS1"] = "ready> "
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
seen = b""
def until(what):
    global seen
    end = time.time() + 120
    while what not in seen:
        if time.time() > end: sys.exit("no %r in %r" % (what, seen))
        if select.select([tty], [], [], 1)[0]:
            try: seen += os.read(tty, 4096)
            except OSError: break
    seen = seen[seen.index(what) + len(what):]
def say(text): os.write(tty, text.encode())
run = os.environ["RUN"]
until(b"ready> ")
say(run + " sh -c 'echo st\"\"arted; read x; echo got $x; exit 7'\n")
until(b"started"); say("\x1a"); until(b"Stopped"); until(b"ready> ")
say("fg\n"); until(b"sh -c"); say("hello\n"); until(b"got hello"); until(b"ready> ")
say("echo status $?\n"); until(b"status 7"); until(b"ready> ")
say(run + " sh -c 'echo al\"\"one; kill -STOP $$; echo cont\"\"inued; exit 8'\n")
until(b"alone"); until(b"Stopped"); until(b"ready> ")
say("fg\n"); until(b"continued"); until(b"ready> ")
say("echo status $?\n"); until(b"status 8"); until(b"ready> ")
say(run + " sh -c 'trap \"\" TSTP; echo st\"\"arted; read x; echo got $x; exit 9'\n")
until(b"started"); say("\x1a"); say("ignored\n"); until(b"got ignored"); until(b"ready> ")
say("echo status $?\n"); until(b"status 9"); until(b"ready> ")
say(run + " sh -c 'echo st\"\"arted; read x'\n")
until(b"started"); say("\x03"); until(b"ready> ")
say("echo status $?\n"); until(b"status 130"); until(b"ready> ")
say(run + " sh -c 'echo st\"\"arted; read x'\n")
until(b"started"); say("\x1a"); until(b"Stopped"); until(b"ready> ")
say("kill -INT %1; fg\n"); until(b"ready> ")
say("exit\n")
print("fine")
`

func TestJobControl(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"/usr/bin/python3", "bash"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: %s is missing: nobody typed at a terminal", program)
		}
	}
	for name, arguments := range map[string]string{
		"exec copy": "exec -q --mode copy --file %s --", "exec intercept": "exec -q --mode intercept --file %s --", "lock": "lock %s --",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "a.json")
			self, err := exec.LookPath("jsonguard")
			require.NoError(t, err)
			cmd := exec.Command("/usr/bin/python3", "-c", typist)
			cmd.Env = append(os.Environ(), "RUN="+self+" "+fmt.Sprintf(arguments, file))
			out, err := cmd.CombinedOutput()
			if name == "exec intercept" && bytes.Contains(out, []byte("not supported")) {
				t.Skipf("SKIPPED: %s", out)
			}
			require.NoError(t, err, "%s", out)
			require.Equal(t, "fine\n", string(out))
		})
	}
}
