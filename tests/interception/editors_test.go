//go:build linux

package interception

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// tree is everything in a directory that is not jsonguard's: names, modes, contents.
func tree(t *testing.T, dir string) map[string]string {
	found := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		require.NoError(t, err)
		name, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		require.NoError(t, err)
		found[name] = info.Mode().String()
		switch {
		case d.Type()&os.ModeSymlink != 0:
			to, err := os.Readlink(path)
			require.NoError(t, err)
			found[name] += " " + to
		case d.Type().IsRegular():
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			found[name] += " " + string(content)
		}
		return nil
	}))
	return found
}

// withoutGuard leaves out what jsonguard keeps beside a file that was named.
func withoutGuard(found map[string]string, file string) map[string]string {
	for name := range found {
		if name == file+".lock" || name == "."+file+".guard" || filepath.Dir(name) == "."+file+".guard" || filepath.Dir(filepath.Dir(name)) == "."+file+".guard" {
			delete(found, name)
		}
	}
	return found
}

// vim compares what it opened with what the path names, and looks whether the file changed since it wrote it.
func TestVim(t *testing.T) {
	needs(t, "vim")
	for _, copies := range []string{"auto", "yes", "no"} {
		for _, backup := range []string{"backup", "nobackup writebackup", "nobackup nowritebackup"} {
			for _, files := range [][]string{results, nil} {
				t.Run(fmt.Sprintf("backupcopy=%s %s %v", copies, backup, files), func(t *testing.T) {
					t.Parallel()
					argv := []string{"vim", "-u", "NONE", "-i", "NONE", "-N", "-Es", "-c", "set backupskip= backupcopy=" + copies + " " + backup,
						"-c", "%s/1/2/", "-c", "w", "-c", "%s/2/3/", "-c", "w", "-c", "%s/3/4/", "-c", "wq", "r.json"}
					bare, l := newLab(t), newLab(t)
					for _, lab := range []*lab{bare, l} {
						lab.write("r.json", "{\n  \"a\": 1\n}\n")
						require.NoError(t, os.Chmod(lab.path("r.json"), 0o640))
					}
					plain := exec.Command(argv[0], argv[1:]...)
					plain.Dir = bare.dir
					out, err := plain.CombinedOutput()
					require.NoError(t, err, "%s", out)
					l.together(l.guarded(files, argv...))
					require.Equal(t, "{\n  \"a\": 4\n}\n", l.read("r.json"))
					require.Equal(t, tree(t, bare.dir), withoutGuard(tree(t, l.dir), "r.json"))
				})
			}
		}
	}
}

// What another one adds while the file is in the editor is there when it is written.
func TestVimBesideAnother(t *testing.T) {
	needs(t, "vim", "python3")
	for _, copies := range []string{"yes", "no"} {
		l := newLab(t)
		l.write("r.json", "{\n  \"a\": 1\n}\n")
		l.write("add.py", `import json,sys
d=json.load(open("r.json")); d[sys.argv[1]]=1
with open("r.json","w") as f: json.dump(d,f,indent=2)`)
		vim := l.guarded(results, "vim", "-u", "NONE", "-i", "NONE", "-N", "-Es", "-c", "set backupskip= backupcopy="+copies, "-c", "%s/1/2/",
			"-c", "silent !(python3 add.py child; touch edited; until [ -e added ]; do sleep .01; done) </dev/null", "-c", "wq!", "r.json")
		vim.Stdin = strings.NewReader("y") // The file has been changed since reading it!!! Do you really want to write to it (y/n)?
		other := l.guarded(results, "python3", "add.py", "other")
		other.Args = append([]string{"sh", "-c", `while [ ! -e edited ]; do sleep .01; done; "$@" && touch added`, "sh"}, other.Args...)
		other.Path, other.Err = exec.LookPath("sh")
		l.together(vim, other)
		require.JSONEq(t, `{"a":2,"other":1,"child":1}`, l.read("r.json"), copies)
		l.clean("r.json")
	}
}

// How other editors write, twice, with what they check.
var savers = map[string]string{
	"emacs": `import os
def save(text,backup):
    before=os.stat("r.json")
    if backup: os.rename("r.json","r.json~"); assert not os.path.exists("r.json")
    f=os.open("r.json",os.O_WRONLY|os.O_CREAT|(os.O_EXCL if backup else os.O_TRUNC),0o666)
    os.write(f,text); os.fsync(f); inside=os.fstat(f); os.close(f)
    os.chmod("r.json",before.st_mode&0o7777)
    now=os.stat("r.json"); assert now.st_size==len(text)==inside.st_size
    return now.st_mtime_ns
seen=save(b'{"a": 2}\n',True); assert os.stat("r.json").st_mtime_ns==seen
save(b'{"a": 3}\n',False)`,
	"emacs, precious": `import os,tempfile
for text in b'{"a": 2}\n',b'{"a": 3}\n':
    mode=os.stat("r.json").st_mode&0o7777
    f,name=tempfile.mkstemp(prefix="r.json",dir="."); os.write(f,text); os.fsync(f); os.fchmod(f,mode); os.close(f)
    os.rename(name,"r.json"); assert os.stat("r.json").st_size==len(text)`,
	"gedit": `import os,tempfile
for text in b'{"a": 2}\n',b'{"a": 3}\n':
    st=os.stat("r.json"); f,name=tempfile.mkstemp(prefix=".goutputstream-",dir=".")
    os.fchmod(f,st.st_mode&0o7777); os.write(f,text); os.close(f)
    if os.path.exists("r.json~"): os.unlink("r.json~")
    os.link("r.json","r.json~"); os.rename(name,"r.json"); assert os.stat("r.json").st_ino!=st.st_ino`,
	"nano -B": `import os,shutil
for text in b'{"a": 2}\n',b'{"a": 3}\n':
    shutil.copy2("r.json","r.json~")
    f=os.open("r.json",os.O_WRONLY|os.O_CREAT|os.O_TRUNC,0o666)
    os.write(f,text); os.close(f); assert os.stat("r.json").st_size==len(text)`,
	"kate": `import os
for text in b'{"a": 2}\n',b'{"a": 3}\n':
    st=os.stat("r.json"); name="r.json.new"; f=os.open(name,os.O_RDWR|os.O_CREAT|os.O_EXCL,0o600); os.write(f,text); os.fchmod(f,st.st_mode&0o7777); os.close(f)
    os.rename(name,"r.json"); assert os.stat("r.json").st_size==len(text)`,
}

func TestHowEditorsSave(t *testing.T) {
	needs(t, "python3")
	for name, script := range savers {
		for _, files := range [][]string{results, nil} {
			t.Run(fmt.Sprintf("%s %v", name, files), func(t *testing.T) {
				t.Parallel()
				bare, l := newLab(t), newLab(t)
				for _, lab := range []*lab{bare, l} {
					lab.write("r.json", "{\"a\": 1}\n")
					require.NoError(t, os.Chmod(lab.path("r.json"), 0o640))
				}
				plain := exec.Command("python3", "-c", script)
				plain.Dir = bare.dir
				out, err := plain.CombinedOutput()
				require.NoError(t, err, "%s", out)
				l.together(l.guarded(files, "python3", "-c", script))
				require.Equal(t, tree(t, bare.dir), withoutGuard(tree(t, l.dir), "r.json"))
			})
		}
	}
}

// terminal runs a command in one, and returns what types into it once it shows ready.
func (l *lab) terminal(cmd *exec.Cmd, ready string) (keys io.Writer, wait func()) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		l.Skipf("SKIPPED: no terminal to be had: %v", err)
	}
	l.Cleanup(func() { _ = master.Close() })
	require.NoError(l, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(l, err)
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(l, err)
	require.NoError(l, unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cmd.Env = append(os.Environ(), "TERM=xterm", "LC_ALL=C")
	require.NoError(l, cmd.Start())
	require.NoError(l, slave.Close())
	var mu sync.Mutex
	var screen []byte
	ended := make(chan bool)
	go func() {
		defer close(ended)
		some := make([]byte, 4096)
		for {
			n, err := master.Read(some)
			mu.Lock()
			screen = append(screen, some[:n]...)
			mu.Unlock()
			if err != nil { // EIO at the end
				return
			}
		}
	}()
	shown := func() string { mu.Lock(); defer mu.Unlock(); return string(screen) }
	const patience = 3 * time.Minute
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	l.Cleanup(func() { timer.Stop() })
	require.Eventually(l, func() bool { return strings.Contains(shown(), ready) }, patience, 5*time.Millisecond)
	return master, func() {
		err := cmd.Wait()
		<-ended
		require.NoError(l, err, "%q", shown())
	}
}

// Editors in a terminal, which save twice.
func TestEditorsInATerminal(t *testing.T) {
	for _, e := range []struct{ command, ready, first, second string }{
		{"vim -u NONE -i NONE -N", "9B", ":%s/1/2/\r:w\r", ":%s/2/3/\r:wq\r"},
		{"nano -I", "Exit", "\x06\x06\x06\x06\x06\x06\x042\x13", "\x7f3\x13\x18"}, // six to the right, delete, 2, save; back, 3, save, leave
	} {
		for _, files := range [][]string{results, nil} {
			t.Run(fmt.Sprintf("%s %v", e.command, files), func(t *testing.T) {
				t.Parallel()
				argv := append(strings.Fields(e.command), "r.json")
				needs(t, argv[0])
				l := newLab(t)
				l.write("r.json", "{\"a\": 1}\n")
				keys, wait := l.terminal(l.guarded(files, argv...), e.ready)
				saved := func(want string) {
					require.Eventually(t, func() bool { return l.read("r.json") == want }, time.Minute, 5*time.Millisecond, "%s", want)
				}
				_, err := io.WriteString(keys, e.first)
				require.NoError(t, err)
				saved("{\"a\": 2}\n")
				_, err = io.WriteString(keys, e.second)
				require.NoError(t, err)
				wait()
				require.Equal(t, "{\"a\": 3}\n", l.read("r.json"))
			})
		}
	}
}
