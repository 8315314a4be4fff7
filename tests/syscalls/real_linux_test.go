package syscalls

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// realFault is a filesystem on which something is really wrong for a while.
type realFault struct {
	name  string
	mount func(t *testing.T, dir string)
	// begin makes it wrong, and returns what makes it right again. Where it is of the process, run wraps the command.
	begin func(t *testing.T, dir, file string) (end func())
	run   []string
	says  []string // one of them is in every error
}

var realFaults = []realFault{
	{name: "full disk", mount: tmpfs("size=256k"), begin: filled, says: []string{"no space left on device"}},
	{name: "inodes used up", mount: tmpfs("size=4m,nr_inodes=40"), begin: crowded, says: []string{"no space left on device"}},
	{name: "limit on the size of files", mount: tmpfs("size=4m"), run: []string{"prlimit", "--fsize=8192"}, says: []string{"file too large"}},
	{name: "mounted read-only", mount: tmpfs("size=4m"), begin: readOnly, says: []string{"read-only file system"}},
	{name: "immutable file", mount: ext4, begin: attribute("+i", false), says: []string{"operation not permitted"}},
	{name: "append-only file", mount: ext4, begin: attribute("+a", false), says: []string{"operation not permitted"}},
	{name: "immutable directory", mount: ext4, begin: attribute("+i", true), says: []string{"operation not permitted"}},
	{name: "append-only directory", mount: ext4, begin: attribute("+a", true), says: []string{"operation not permitted"}},
	{name: "quota", mount: btrfs, begin: overQuota, says: []string{"disk quota exceeded", "no space left on device"}},
}

// TestRealFaults: whatever is done to a file on such a filesystem ends with a clear error, leaves the file and what was
// pending as it was, and succeeds when the fault is gone.
func TestRealFaults(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: filesystems that fail need root, to mount them")
	}
	for _, f := range realFaults {
		t.Run(f.name, func(t *testing.T) { f.test(t) })
	}
}

func (f realFault) test(t *testing.T) {
	dir := t.TempDir()
	f.mount(t, dir)
	dir = filepath.Join(dir, "data")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	s := &scenario{file: "doc.json"}
	r := &run{s, dir, filepath.Join(dir, s.file)}
	before := "{\n  \"keep\": 1.10,\n  \"n\": 0,\n  \"extra\": 1,\n  \"text\": \"" + strings.Repeat("x", 20_000) + "\"\n}\n"
	require.NoError(t, os.WriteFile(r.file, []byte(before), 0o644))
	r.leave(t, strings.Repeat(r.oneMore()+"\n", 2))
	want := 2 // /n, when everything is in

	end := func() {}
	if f.begin != nil {
		end = f.begin(t, dir, r.file)
	}
	defer func() { end() }()
	for _, verb := range []struct {
		args []string
		adds int
	}{
		{incr, 1},
		{[]string{"set", "FILE", "/n", "7"}, 0},
		{[]string{"update", "FILE", ".n += 1"}, 1},
		{[]string{"patch", "FILE", `{"more": 1}`}, 0},
		{[]string{"delete", "FILE", "/extra"}, 0},
		{[]string{"append", "FILE", "/list", "1"}, 0},
		{[]string{"recover", "FILE"}, 0},
		{[]string{"verify", "--repair", "FILE"}, 0},
		{under("copy", `printf '{"keep": 1.10, "n": 0}' > "$0"`), 0},
	} {
		argv := append(slices.Clone(f.run), append([]string{binary}, r.args(verb.args)...)...)
		o, err := finish(r.environment(exec.Command(argv[0], argv[1:]...)))
		require.NoError(t, err)
		what := fmt.Sprintf("%q: status %d, %s%s", verb.args, o.status, o.stdout, o.stderr)
		require.Contains(t, statuses, o.status, what)
		require.True(t, strings.HasPrefix(o.stderr, "jsonguard: "), what)
		require.True(t, slices.ContainsFunc(f.says, func(cause string) bool { return strings.Contains(o.stderr, cause) }), what)
		content, err := os.ReadFile(r.file)
		require.NoError(t, err)
		require.Equal(t, before, string(content), what)
		if strings.Contains(o.stderr, "kept pending") { // where the lock was not free in that moment
			if want += verb.adds; verb.args[0] == "set" {
				want = 7
			}
		}
	}
	out, err := r.command("get", "FILE", "/keep").CombinedOutput()
	require.NoError(t, err, "reading needs nothing: %s", out)

	end()
	end = func() {}
	out, err = r.command(incr...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	n, content, err := r.recovered()
	require.NoError(t, err)
	require.Equal(t, want+1, n, "%s", content)
	left, err := filepath.Glob(filepath.Join(dir, ".*jsonguard-tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func sh(t *testing.T, argv ...string) {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	require.NoError(t, err, "%q: %s", argv, out)
}

func mounted(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: mount %v: %s", args, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
}

func tmpfs(options string) func(*testing.T, string) {
	return func(t *testing.T, dir string) { mounted(t, dir, "-t", "tmpfs", "-o", options, "none") }
}

func ext4(t *testing.T, dir string) { image(t, dir, 32, "mkfs.ext4", "-q", "-F") }

func btrfs(t *testing.T, dir string) {
	image(t, dir, 128, "mkfs.btrfs", "-q")
	sh(t, "btrfs", "quota", "enable", dir)
	sh(t, "btrfs", "subvolume", "create", filepath.Join(dir, "data"))
}

func image(t *testing.T, dir string, megabytes int64, maker ...string) {
	if _, err := exec.LookPath(maker[0]); err != nil {
		t.Skipf("SKIPPED: %s is not installed", maker[0])
	}
	path := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, megabytes<<20))
	sh(t, append(maker, path)...)
	mounted(t, dir, "-o", "loop", path)
}

// filled uses up every page.
func filled(t *testing.T, dir, _ string) func() {
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, os.Getpagesize()))
	}
	require.NoError(t, f.Close())
	return func() { require.NoError(t, os.Remove(filler)) }
}

// crowded uses up every inode.
func crowded(t *testing.T, dir, _ string) func() {
	var made []string
	for {
		name := filepath.Join(dir, fmt.Sprintf("file%d", len(made)))
		f, err := os.Create(name)
		if err != nil {
			break
		}
		require.NoError(t, f.Close())
		made = append(made, name)
	}
	return func() {
		for _, name := range made {
			require.NoError(t, os.Remove(name))
		}
	}
}

func readOnly(t *testing.T, dir, _ string) func() {
	mount := filepath.Dir(dir)
	sh(t, "mount", "-o", "remount,ro", mount)
	return func() { sh(t, "mount", "-o", "remount,rw", mount) }
}

// attribute gives the file, or its directory, an attribute of chattr(1).
func attribute(flag string, directory bool) func(t *testing.T, dir, file string) func() {
	return func(t *testing.T, dir, file string) func() {
		of := file
		if directory {
			of = dir
		}
		sh(t, "chattr", flag, of)
		return func() { sh(t, "chattr", "-"+flag[1:], of) }
	}
}

// overQuota leaves nothing of the quota.
func overQuota(t *testing.T, dir, file string) func() {
	sh(t, "sync", "-f", dir)
	id, err := exec.Command("btrfs", "inspect-internal", "rootid", dir).Output()
	require.NoError(t, err)
	group := "0/" + strings.TrimSpace(string(id))
	sh(t, "btrfs", "qgroup", "limit", "1", group, filepath.Dir(dir))
	return func() { sh(t, "btrfs", "qgroup", "limit", "none", group, filepath.Dir(dir)) }
}
