//go:build linux

// Package interception runs real, unmodified programs under jsonguard exec --mode intercept, many at once, and then asks
// whether anything that one of them finished writing is missing.
package interception

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/intercept"
	"jsonguard/tests/command"
)

// binary is the real command, built once.
var binary string

func TestMain(m *testing.M) {
	if _, err := intercept.Probe(); err != nil {
		fmt.Fprintln(os.Stderr, "SKIPPED: tests/interception:", err)
		os.Exit(0)
	}
	os.Exit(command.Run(m, &binary))
}

// needs skips a test loudly where a program is missing.
func needs(t *testing.T, programs ...string) {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIPPED: no %s here", p)
		}
	}
}

// lab is a directory with a shared file in it.
type lab struct {
	*testing.T
	dir string
}

func newLab(t *testing.T) *lab { return &lab{t, t.TempDir()} }

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

func (l *lab) write(name, content string) {
	require.NoError(l, os.WriteFile(l.path(name), []byte(content), 0o644))
}

func (l *lab) read(name string) string {
	content, err := os.ReadFile(l.path(name))
	require.NoError(l, err)
	return string(content)
}

func (l *lab) object(name string) map[string]any {
	var doc map[string]any
	require.NoError(l, json.Unmarshal([]byte(l.read(name)), &doc), "%s", l.read(name))
	return doc
}

func (l *lab) list(name string) []any {
	var doc []any
	require.NoError(l, json.Unmarshal([]byte(l.read(name)), &doc), "%s", l.read(name))
	return doc
}

// guarded is a command under exec in the lab's directory. files are the --file patterns.
func (l *lab) guarded(files []string, argv ...string) *exec.Cmd {
	args := []string{"exec", "--mode", "intercept", "--timeout", "2m"}
	for _, f := range files {
		args = append(args, "--file", f)
	}
	cmd := exec.Command(binary, append(append(args, "--"), argv...)...)
	cmd.Dir = l.dir
	return cmd
}

var results = []string{"r.json"}

// running is a command that was started, with what it says.
type running struct {
	cmd *exec.Cmd
	out strings.Builder
}

func (l *lab) start(cmd *exec.Cmd) *running {
	r := &running{cmd: cmd}
	cmd.Stdout, cmd.Stderr = &r.out, &r.out
	require.NoError(l, cmd.Start())
	l.Cleanup(func() { // where the test failed before it waited
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			cmd.WaitDelay = time.Second // what it started may have its output still
			_ = cmd.Wait()
		}
	})
	return r
}

func (l *lab) wait(r *running) {
	const patience = 3 * time.Minute
	timer := time.AfterFunc(patience, func() { _ = r.cmd.Process.Kill() })
	defer timer.Stop()
	require.NoError(l, r.cmd.Wait(), "%q: %s", r.cmd.Args, &r.out)
}

// together runs commands at the same time.
func (l *lab) together(commands ...*exec.Cmd) {
	var all []*running
	for _, c := range commands {
		all = append(all, l.start(c))
	}
	for _, r := range all {
		l.wait(r)
	}
}

// hasAllOf wants a0 to a<each-1> of each writer a in r.json, and besides them one member.
func (l *lab) hasAllOf(each int, writers ...string) {
	l.Helper()
	doc := l.object("r.json")
	for _, who := range writers {
		for i := range each {
			require.Contains(l, doc, fmt.Sprintf("%s%d", who, i), "%s", l.read("r.json"))
		}
	}
	require.Len(l, doc, len(writers)*each+1)
}

// asNobody has commands run as a user without any privilege, who may write in the lab. The test skips where that takes root.
func (l *lab) asNobody(commands ...*exec.Cmd) {
	const nobody = 65534
	if os.Geteuid() != 0 {
		l.Skip("SKIPPED: needs root")
	}
	for dir := l.dir; dir != os.TempDir() && strings.HasPrefix(dir, os.TempDir()); dir = filepath.Dir(dir) {
		require.NoError(l, os.Chmod(dir, 0o777))
	}
	entries, err := os.ReadDir(l.dir)
	require.NoError(l, err)
	for _, e := range entries {
		require.NoError(l, os.Lchown(l.path(e.Name()), nobody, nobody))
	}
	for _, cmd := range commands {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if cmd.Env == nil {
			cmd.Env = append(os.Environ(), "HOME="+l.dir)
		}
	}
}

// clean asserts that nothing is pending, in quarantine or left over.
func (l *lab) clean(name string) {
	guard := l.path("." + name + ".guard")
	for _, room := range []string{"pending", "views", "quarantine"} {
		entries, err := os.ReadDir(filepath.Join(guard, room))
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(l, err)
		for _, e := range entries {
			require.Fail(l, "left behind", "%s/%s", room, e.Name())
		}
	}
}
