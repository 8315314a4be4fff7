package differential

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/tests/command"
)

var (
	sequences = flag.Int("sequences", 8, "how many random sequences of calls")
	steps     = flag.Int("steps", 150, "how many steps in each")
	firstSeed = flag.Uint64("seed", 1, "of the first sequence; 0: by the clock")
	context   = flag.Int("context", 25, "how many calls before one that differs are told")
)

// Every call of a program that is alone returns what it returns bare, and leaves what it leaves bare.
func TestCallsAreWhatTheyAreBare(t *testing.T) {
	seed := *firstSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) % 1e9
	}
	t.Logf("-seed %d", seed)
	program := executable(t)
	for i := range *sequences {
		for _, nobody := range []bool{false, true} {
			seed := seed + uint64(i)
			t.Run(fmt.Sprintf("seed %d, nobody %v", seed, nobody), func(t *testing.T) {
				if nobody && os.Geteuid() != 0 {
					t.Skip("SKIPPED: needs root")
				}
				c := comparison{t, program, nobody}
				for _, named := range []bool{false, true} {
					c.compare(fmt.Sprintf("%d %d %t", seed, *steps, named), named)
				}
			})
		}
	}
}

// executable is this test, where everybody may execute it.
func executable(t *testing.T) string {
	self, err := os.Executable()
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), "program")
	require.NoError(t, command.CopyExecutable(self, program, 0o755))
	letIn(t, program)
	return program
}

type comparison struct {
	*testing.T
	program string
	nobody  bool
}

// compare runs the program bare and under exec, where document is named or all files are guessed. what tells it what to do.
func (c *comparison) compare(what string, named bool) {
	c.Helper()
	bare, guarded := c.workplace(), c.workplace()
	want := c.run(what, bare)
	argv := []string{binary, "exec", "--mode", "intercept"}
	if named {
		argv = append(argv, "--file", document)
	}
	got := c.run(what, guarded, append(argv, "--")...)
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			require.Fail(c, "a call differs", "named %v, line %d\nbefore:\n  %s\nbare:\n  %s\nexec:\n  %s", named, i,
				strings.Join(want[max(0, i-*context):i], "\n  "), strings.Join(want[i:min(i+3, len(want))], "\n  "), strings.Join(got[i:min(i+3, len(got))], "\n  "))
		}
	}
	require.Len(c, got, len(want), "named %v", named)
	left, leftGuarded := c.tree(bare), c.tree(guarded)
	if !slices.Equal(left, leftGuarded) {
		c.Logf("the last calls:\n  %s", strings.Join(want[max(0, len(want)-*context):], "\n  "))
	}
	require.Equal(c, left, leftGuarded, "named %v: the trees", named)
	for _, dir := range []string{bare, guarded} {
		beside, err := os.ReadDir(filepath.Dir(dir))
		require.NoError(c, err)
		require.Len(c, beside, 1, "a path has led out")
	}
}

// workplace is a directory with what paths may lead to.
func (c *comparison) workplace() string {
	dir := filepath.Join(c.TempDir(), "work")
	make := func(name, content string, mode fs.FileMode) {
		require.NoError(c, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(c, os.WriteFile(filepath.Join(dir, name), []byte(content), mode))
	}
	make("a.json", "{\"a\": 1, \"b\": [1.10, \"\\u00e9\"]}\n", 0o644)
	make("b.json", "{ // a comment\n}\n", 0o600)
	make("c.jsonl", "{\"l\": 1}\n{\"l\": 2}\n", 0o644)
	make("d/a.json", "[1, 2]\n", 0o644)
	make("d/e/b.json", "{}\n", 0o444)
	make("node_modules/a.json", "{}\n", 0o644)
	make(".dot/a.json", "{}\n", 0o644)
	make("plain", "plain", 0o644)
	make("exe.json", "#!/bin/sh\n", 0o755)
	make("readonly/a.json", "{\"r\": 1}\n", 0o644)
	make(document, "{\"n\": 0}\n", 0o644)
	for name, to := range map[string]string{"link.json": "a.json", "link": "d/a.json", "loop.json": "loop.json", "dangling.json": "nowhere.json", "dlink": "d", "up": ".", "abs.json": filepath.Join(dir, "a.json")} {
		require.NoError(c, os.Symlink(to, filepath.Join(dir, name)))
	}
	require.NoError(c, unix.Mkfifo(filepath.Join(dir, "fifo.json"), 0o644))
	require.NoError(c, unix.Mknod(filepath.Join(dir, "sock.json"), unix.S_IFSOCK|0o644, 0))
	if os.Geteuid() == 0 {
		_ = unix.Mknod(filepath.Join(dir, "null.json"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
	}
	if c.nobody {
		letIn(c, dir)
		require.NoError(c, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || strings.Contains(path, "/readonly") || strings.HasSuffix(path, "exe.json") {
				return err
			}
			return os.Lchown(path, nobodysID, nobodysID)
		}))
	}
	return dir
}

const nobodysID = 65534

// letIn lets others through the directories that a path is in.
func letIn(t require.TestingT, path string) {
	for up := filepath.Dir(path); up != os.TempDir() && strings.HasPrefix(up, os.TempDir()); up = filepath.Dir(up) {
		require.NoError(t, os.Chmod(up, 0o755))
	}
}

// run gives the lines that the program prints in a directory.
func (c *comparison) run(what, dir string, wrapper ...string) []string {
	argv := append(wrapper, c.program)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asProgram+"="+what)
	if c.nobody {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodysID, Gid: nobodysID}}
	}
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(&out, "%v: %s", err, complaints.String())
	}
	return strings.Split(strings.ReplaceAll(out.String(), dir, "WORK"), "\n")
}

// tree is what is in a directory, but for what is kept beside a file that was named.
func (c *comparison) tree(dir string) []string {
	var all []string
	require.NoError(c, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		require.NoError(c, err)
		if keptBeside(d.Name()) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		var st unix.Stat_t
		require.NoError(c, unix.Lstat(path, &st))
		rest := ""
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			content, err := os.ReadFile(path)
			require.NoError(c, err)
			rest = fmt.Sprintf("%.80q", content)
		case unix.S_IFLNK:
			rest, err = os.Readlink(path)
			require.NoError(c, err)
		}
		name, _ := filepath.Rel(dir, path)
		all = append(all, strings.ReplaceAll(fmt.Sprintf("%s %s %s", name, describe(&st, false), rest), dir, "WORK"))
		return nil
	}))
	return all
}

// keptBeside says that a name is jsonguard's own, beside a file that was named. Where files are guessed there must be none.
func keptBeside(name string) bool {
	return name == "."+document+".guard" || name == document+".lock"
}

// listed are the names in a directory, in order.
func listed(names []string) []string {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return keptBeside(name) || strings.HasSuffix(name, ".guard") })
	slices.Sort(names)
	return names
}
