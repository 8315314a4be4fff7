//go:build linux && (amd64 || arm64)

package intercept

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The programs that are run unchanged. Each writes the file and reads it back at once: it must see what it wrote, and
// so must everybody else afterwards.
var programs = []struct {
	name   string
	needs  []string
	script string // for sh; $F is the file, $D its directory, $T a directory elsewhere
	want   string
}{
	{"redirect", nil, `echo 1 > $F; cat $F`, "1\n"},
	{"append", nil, `echo 1 > $F; echo 2 >> $F; cat $F`, "1\n2\n"},
	{"clobber read write", nil, `echo 123 > $F; echo 9 1<> $F; cat $F`, "9\n3\n"},
	{"mv over", nil, `echo 1 > $T/new; mv $T/new $F; cat $F`, "1\n"},
	{"mv beside", nil, `echo 1 > $D/new; mv $D/new $F; cat $F`, "1\n"},
	{"mv away and again", nil, `echo 1 > $F; mv $F $D/old; echo 2 > $F; cat $D/old $F`, "1\n2\n"},
	{"cp", nil, `echo 1 > $T/new; cp $T/new $F; cat $F`, "1\n"},
	{"cp onto existing", nil, `echo 0 > $F; echo 1 > $T/new; cp $T/new $F; cp $F $T/copy; cat $T/copy`, "1\n"},
	{"install", []string{"install"}, `echo 1 > $T/new; install -m 644 $T/new $F; cat $F`, "1\n"},
	{"tee", nil, `echo 1 | tee $F >/dev/null; echo 2 | tee -a $F >/dev/null; cat $F`, "1\n2\n"},
	{"dd", nil, `echo 12345 > $F; printf X | dd of=$F bs=1 seek=2 conv=notrunc 2>/dev/null; cat $F`, "12X45\n"},
	{"sed -i", nil, `echo 1 > $F; sed -i s/1/2/ $F; cat $F`, "2\n"},
	{"perl -i", []string{"perl"}, `echo 1 > $F; perl -pi -e s/1/2/ $F; cat $F`, "2\n"},
	{"ln -f", nil, `echo 1 > $D/new; ln -f $D/new $F; cat $F`, "1\n"},
	{"unlink and again", nil, `echo 1 > $F; rm $F; test ! -e $F && echo 2 > $F; cat $F`, "2\n"},
	{"truncate", nil, `echo 12345 > $F; truncate -s 2 $F; cat $F`, "12"},
	{"relative", nil, `cd $D; echo 1 > guarded.json; cd /; cat $D/../$(basename $D)/guarded.json`, "1\n"},
	{"jq and mv", []string{"jq"}, `echo '{"a":1}' > $F; jq -c .a=2 $F > $D/t; mv $D/t $F; cat $F`, "{\"a\":2}\n"},
	{"awk", []string{"awk"}, `awk 'BEGIN { print 1 > "'$F'"; close("'$F'"); while ((getline x < "'$F'") > 0) print x }'`, "1\n"},
	{"python w", []string{"python3"}, py(`
open(F, "w").write("1")
print(open(F).read())`), "1\n"},
	{"python a and r+", []string{"python3"}, py(`
open(F, "w").write("1")
open(F, "a").write("2")
with open(F, "r+") as f:
    assert f.read() == "12"; f.seek(0); f.write("34"); f.truncate()
print(open(F).read())`), "34\n"},
	{"python replace", []string{"python3"}, py(`
open(F + ".tmp", "w").write("1")
os.replace(F + ".tmp", F)
print(open(F).read())`), "1\n"},
	{"python dirfd", []string{"python3"}, py(`
d = os.open(D, os.O_RDONLY | os.O_DIRECTORY)
f = os.open("guarded.json", os.O_WRONLY | os.O_CREAT, dir_fd=d); os.write(f, b"1"); os.close(f)
os.rename("guarded.json", "x", src_dir_fd=d, dst_dir_fd=d); os.rename("x", "guarded.json", src_dir_fd=d, dst_dir_fd=d)
print(open(F).read())`), "1\n"},
	{"python O_TMPFILE and link", []string{"python3"}, py(`
f = os.open(D, os.O_TMPFILE | os.O_WRONLY); os.write(f, b"1")
os.link(f"/proc/self/fd/{f}", F, src_dir_fd=0, follow_symlinks=True)
print(open(F).read())`), "1\n"},
	{"python threads", []string{"python3"}, py(`
import threading
l = threading.Lock()
open(F, "w").write("0")
def add():
    for _ in range(20):
        with l:
            n = int(open(F).read()); open(F, "w").write(str(n + 1))
ts = [threading.Thread(target=add) for _ in range(4)]
[t.start() for t in ts]; [t.join() for t in ts]
print(open(F).read())`), "80\n"},
	{"python fork, spawn, forkserver", []string{"python3"}, `cat > $T/job.py <<'EOF'
import multiprocessing as m, sys
F = sys.argv[1]
def add(F):
    n = int(open(F).read()); open(F, "w").write(str(n + 1))
if __name__ == "__main__":
    open(F, "w").write("0")
    for how in "fork", "spawn", "forkserver":
        p = m.get_context(how).Process(target=add, args=(F,)); p.start(); p.join(); assert p.exitcode == 0
    print(open(F).read())
EOF
python3 $T/job.py $F`, "3\n"},
	{"node", []string{"node"}, `node -e '
const fs = require("fs"), F = process.argv[1]
fs.writeFileSync(F, "1"); fs.appendFileSync(F, "2")
if (fs.readFileSync(F, "utf8") !== "12") throw new Error("stale")
;(async () => {
  const p = fs.promises
  await p.writeFile(F + ".tmp", "34"); await p.rename(F + ".tmp", F)
  if (await p.readFile(F, "utf8") !== "34") throw new Error("stale")
  const s = fs.createWriteStream(F); s.write("5"); s.end("6\n")
  await new Promise(r => s.on("close", r))
  process.stdout.write(await p.readFile(F, "utf8"))
})()' $F`, "56\n"},
	{"setsid daemon", []string{"setsid"}, `setsid -f sh -c "sleep 0.1; echo 1 > $F; cat $F"`, "1\n"},
	{"background and wait", nil, `for i in 1 2 3 4; do (echo $i > $F.$i; mv $F.$i $F) & done; wait; wc -l < $F`, "1\n"},
}

// py is a Python program as a line of sh.
func py(script string) string {
	return `python3 - $F $D <<'EOF'
import os, sys
F, D = sys.argv[1:3]` + script + "\nEOF\n"
}

// One after the other: this very process would start another one meanwhile, and what is forked and has not executed yet holds all
// descriptors that the supervisor has open just then, so that a program's close of its own is not the last.
func TestPrograms(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			needs(t, p.needs...)
			h := newScratchHandler(t)
			out := run(t, h, "sh", "-ec", environment(h, t)+p.script)
			require.Equal(t, p.want, out)
			require.NotEmpty(t, h.logged(), "nothing was intercepted")
		})
	}
}

// environment sets the variables that the scripts use.
func environment(h *scratchHandler, t testing.TB) string {
	return fmt.Sprintf("F=%s D=%s T=%s; export F D T\n", h.target(), h.dir, sharedTemp(t))
}

// The same as nobody, whose supervisor has no capability at all.
func TestProgramsUnprivileged(t *testing.T) {
	needRoot(t)
	if testing.Short() {
		t.Skip("SKIPPED: -short")
	}
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			needs(t, p.needs...)
			if strings.Contains(p.script, "python3") {
				python, err := exec.Command("python3", "-c", "import sys; print(sys.executable)").Output()
				require.NoError(t, err)
				if asNobody(exec.Command(strings.TrimSpace(string(python)), "-c", "")).Run() != nil {
					t.Skip("SKIPPED: nobody may not run this Python")
				}
			}
			h := newScratchHandler(t)
			out, err := supervised(t, h, true, "sh", "-ec", environment(h, t)+p.script)
			require.NoError(t, err, out)
			require.Equal(t, p.want, out)
		})
	}
}

// counter is a C program that increments the number in a file, often.
const counter = `
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
	for (int i = 0; i < 50; i++) {
		char b[32] = {0};
		int f = open(argv[1], O_RDONLY);
		if (f >= 0) { read(f, b, 31); close(f); }
		f = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC, 0666);
		if (f < 0) { perror("open"); return 1; }
		int n = snprintf(b, 32, "%d", atoi(b) + 1);
		if (write(f, b, n) != n || close(f)) { perror("write"); return 1; }
	}
	return 0;
}`

func TestStaticC(t *testing.T) {
	bin := compile(t, "counter", counter, "-static")
	h := newScratchHandler(t)
	run(t, h, bin, h.target())
	require.Equal(t, "50", h.content(t))
}

func TestStaticGo(t *testing.T) {
	needs(t, "go")
	dir := realTemp(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(`package main

import ("fmt"; "os"; "strconv")

func main() {
	for range 50 {
		raw, _ := os.ReadFile(os.Args[1])
		n, _ := strconv.Atoi(string(raw))
		if err := os.WriteFile(os.Args[1], fmt.Append(nil, n+1), 0o666); err != nil { panic(err) }
	}
}`), 0o666))
	bin := filepath.Join(dir, "counter")
	build := exec.Command("go", "build", "-o", bin, filepath.Join(dir, "main.go"))
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	h := newScratchHandler(t)
	run(t, h, bin, h.target())
	require.Equal(t, "50", h.content(t))
}
