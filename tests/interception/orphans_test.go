//go:build linux

package interception

import (
	"bufio"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// A child that makes its first call when the parent has ended, who read the file, writes what was made of the version that the parent read:
// another one has written meanwhile, and that stays.
func TestOrphansKnowWhatTheirParentRead(t *testing.T) {
	needs(t, "python3")
	const script = `import os, signal, sys
name, line, end = sys.argv[1:4]
text = open(name).read()
parent = os.getpid()
if os.fork() == 0:
    while os.getppid() == parent: pass
    os.write(1, b"orphan\n")
    os.read(0, 1) # another one has written
    open(name, "w").write(text.replace("{}", line) if name.endswith(".json") else text + line + "\n")
    os._exit(0)
if end == "killed": os.kill(parent, signal.SIGKILL)
os._exit(0)
`
	for _, end := range []string{"killed", "exited"} {
		for _, parents := range []string{"none", "a shell", "a session"} {
			for _, how := range []string{"named", "guessed"} {
				for _, c := range []struct {
					name, before, line string
					verb               []string
					want               string
				}{
					{"r.json", `{"a": {}, "b": {}}`, `{"x": 1}`, []string{"set", "r.json", "/a/y", "1"}, `{"a": {"x": 1, "y": 1}, "b": {"x": 1}}`},
					{"r.jsonl", "{}\n", `"x"`, []string{"append", "r.jsonl", "", `"y"`}, "{}\n\"y\"\n\"x\"\n"},
				} {
					t.Run(end+", "+parents+", "+how+" "+c.name, func(t *testing.T) {
						t.Parallel()
						l := newLab(t)
						l.write(c.name, c.before)
						var files []string
						if how == "named" {
							files = []string{c.name}
						}
						argv := []string{"python3", "-c", script, c.name, c.line, end}
						switch parents {
						case "a shell":
							argv = append([]string{"sh", "-c", `"$@"; true`, "sh"}, argv...)
						case "a session":
							needs(t, "setsid")
							argv = append([]string{"setsid", "-w", "sh", "-c", `"$@"; true`, "sh"}, argv...)
						}
						cmd := l.guarded(files, argv...)
						in, err := cmd.StdinPipe()
						require.NoError(t, err)
						out, err := cmd.StdoutPipe()
						require.NoError(t, err)
						require.NoError(t, cmd.Start())
						said, err := bufio.NewReader(out).ReadString('\n')
						require.NoError(t, err)
						require.Equal(t, "orphan\n", said)
						verb := exec.Command(binary, c.verb...)
						verb.Dir = l.dir
						told, err := verb.CombinedOutput()
						require.NoError(t, err, "%s", told)
						require.NoError(t, in.Close())
						_ = cmd.Wait() // as its program ended
						if c.name == "r.json" {
							require.JSONEq(t, c.want, l.read(c.name))
							return
						}
						require.Equal(t, c.want, l.read(c.name))
					})
				}
			}
		}
	}
}
