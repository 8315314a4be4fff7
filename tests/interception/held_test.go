//go:build linux

package interception

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var renames = flag.Int("renames", 8, "the last rename of each thread of a supervisor at which TestKilledWhileAHeldFileIsSubmitted kills it; 40 is the campaign")

// A supervisor is killed at a rename, by which what a held descriptor has written so far becomes a pending change and the base
// of what comes: nothing that the program had made durable is missing, nothing is there twice.
func TestKilledWhileAHeldFileIsSubmitted(t *testing.T) {
	needs(t, "python3", "strace")
	if out, err := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "inject=renameat2:signal=CONT:when=1", "true").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: strace cannot trace here: %s", out)
	}
	killed := 0
	for n := 1; n <= *renames; n++ {
		l := newLab(t)
		l.write("r.json", `{"n":0,"l":[]}`)
		l.write("jsonguard.json", `{"rules":[{"at":"/n","merge":"sum"}]}`)
		l.write("done", "")
		cmd := l.guarded(results, "python3", "-c", `import json,os
f=open("r.json","r+"); d=json.load(f); done=open("done","a",buffering=1)
for i in range(8):
    d["n"]+=1; d["l"].append("x%d"%i); f.seek(0); json.dump(d,f); f.truncate(); f.flush(); os.fsync(f.fileno())
    done.write("x%d\n"%i)`)
		args := []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=rename,renameat,renameat2", "-e", fmt.Sprintf("inject=rename,renameat,renameat2:signal=KILL:when=%d", n)}
		cmd.Args = append(args, cmd.Args...)
		cmd.Path, cmd.Err = exec.LookPath("strace")
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			killed++
		} else {
			require.NoError(t, err, "%s", out)
		}
		out, err = exec.Command(binary, "recover", l.path("r.json")).CombinedOutput()
		require.NoError(t, err, "%s", out)
		var doc struct {
			N int
			L []string
		}
		require.NoError(t, json.Unmarshal([]byte(l.read("r.json")), &doc))
		for i, id := range doc.L {
			require.Equal(t, fmt.Sprintf("x%d", i), id, "rename %d: %s", n, l.read("r.json"))
		}
		require.Len(t, doc.L, doc.N, "rename %d: %s", n, l.read("r.json"))
		require.GreaterOrEqual(t, doc.N, strings.Count(l.read("done"), "\n"), "rename %d: %s", n, l.read("r.json"))
	}
	require.NotZero(t, killed)
}

// A program that appends to a log and has each line made durable is killed, with its supervisor, in the middle of the next one, which
// it never leaves alone for long: only that one is torn.
func TestLinesThatWereSyncedAreNotTorn(t *testing.T) {
	needs(t, "python3")
	l := newLab(t)
	l.write("log.jsonl", "{\"id\":\"old\"}\n")
	writer := l.start(l.guarded([]string{"log.jsonl"}, "python3", "-c", `import os,time
f=os.open("log.jsonl",os.O_WRONLY|os.O_APPEND)
for i in range(2): os.write(f,b'{"id":"s%d"}\n'%i); os.fsync(f)
os.write(f,b'{"id":"')
open("ready","w").close()
while True: os.write(f,b"x"); time.sleep(.001)`))
	require.Eventually(t, func() bool { _, err := os.Stat(l.path("ready")); return err == nil }, 2*time.Minute, time.Millisecond)
	require.NoError(t, writer.cmd.Process.Kill())
	require.Error(t, writer.cmd.Wait())
	require.Eventually(t, func() bool { // the program goes with its supervisor, and then what it left can be looked at
		_, _ = exec.Command(binary, "recover", l.path("log.jsonl")).CombinedOutput()
		torn, _ := filepath.Glob(l.path(".log.jsonl.guard/quarantine/*"))
		return len(torn) > 0
	}, 2*time.Minute, 20*time.Millisecond)
	require.Equal(t, "{\"id\":\"old\"}\n{\"id\":\"s0\"}\n{\"id\":\"s1\"}\n", l.read("log.jsonl"))
}

// What a program had in the file for a while, and took back through the same descriptor, is not in it, also where it rested meanwhile.
func TestWhatIsTakenBackIsGone(t *testing.T) {
	needs(t, "python3")
	for _, rest := range []string{"0", "0.3"} {
		l := newLab(t)
		l.write("r.json", `{"a": 1}`)
		l.together(l.guarded(results, "python3", "-c", `import sys,time
f=open("r.json","r+"); before=f.read()
for text in ['{"a": 1, "passing": [1, 2, 3]}', before]:
    f.seek(0); f.write(text); f.truncate(); f.flush(); time.sleep(`+rest+`)`))
		require.Equal(t, `{"a": 1}`, l.read("r.json"), "it rests for %s s", rest)
	}
}
