//go:build linux

package interception

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// refused tries what the kernel refuses, and prints each errno and what is in the file then.
const refused = `import errno, fcntl, os, resource
def tried(what, do):
    try: do(); said = "done"
    except OSError as e: said = errno.errorcode[e.errno]
    print(what, said, open("r.json").read(), flush=True)
def save(text):
    with open("r.json", "w") as f: f.write(text)
save('{"n": 1}')
for flags in os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC:
    tried("a name with a slash behind it", lambda: os.open("r.json/", flags))
    tried("a new name with a slash behind it", lambda: os.open("new.json/", flags | os.O_CREAT))
tried("a rename to a name with a slash behind it", lambda: (open("t.json", "w").close(), os.rename("t.json", "r.json/")))
for size in -1, 1 << 62:
    tried("a size", lambda: os.truncate("r.json", size))
for how, lock in ("r", fcntl.LOCK_EX), ("r", fcntl.LOCK_SH), ("a", fcntl.LOCK_SH), ("a", fcntl.LOCK_EX), ("r+", fcntl.LOCK_EX):
    def locks():
        with open("r.json", how) as f: fcntl.lockf(f, lock)
    tried("a lock by a descriptor that is " + how, locks)
limit = resource.getrlimit(resource.RLIMIT_NOFILE)
free = os.dup(0); os.close(free)
def without(do):
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limit[1]))
    try: do()
    finally: resource.setrlimit(resource.RLIMIT_NOFILE, limit)
tried("no descriptor left, to write", lambda: without(lambda: os.open("r.json", os.O_WRONLY | os.O_TRUNC)))
tried("no descriptor left, to make", lambda: without(lambda: os.open("made.json", os.O_WRONLY | os.O_CREAT)))
print(os.path.exists("made.json"), flush=True)
if os.fork() == 0:
    os.chmod("r.json", 0o222)
    if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)
    for flags in os.O_RDWR, os.O_RDWR | os.O_TRUNC, os.O_RDWR | os.O_APPEND:
        try: print("to be written only:", os.read(os.open("r.json", flags), 99), flush=True)
        except OSError as e: print("to be written only:", errno.errorcode[e.errno], flush=True)
    os._exit(0)
os.wait(); os.chmod("r.json", 0o644)
save('{"n": 2}'); print(open("r.json").read())
`

// What the kernel refuses is refused with the same error, and has done nothing; so it is for who may write a file and not read it.
func TestRefusedAsItIsBare(t *testing.T) {
	needs(t, "python3")
	for _, c := range []struct {
		name   string
		files  []string
		nobody bool
	}{{"guessed", nil, false}, {"named", results, false}, {"guessed, as nobody", nil, true}, {"named, as nobody", results, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			bare, l := newLab(t), newLab(t)
			for _, lab := range []*lab{bare, l} {
				lab.write("r.json", `{"n": 0}`)
				lab.write("try.py", refused)
			}
			plain := exec.Command("python3", "try.py")
			plain.Dir = bare.dir
			guarded := l.guarded(c.files, "python3", "try.py")
			if c.nobody {
				bare.asNobody(plain)
				l.asNobody(guarded)
			}
			want, err := plain.Output()
			require.NoError(t, err)
			got, err := guarded.Output()
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
			require.Equal(t, `{"n": 2}`, l.read("r.json"))
		})
	}
}
