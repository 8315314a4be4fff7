//go:build unix

package atomicjson

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/lock"
	"jsonguard/sidecar"
)

// replaced changes the file and makes sure that it is another one by then: what is the same has been kept.
func replaced(t *testing.T, path string) {
	t.Helper()
	before, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, addOne(path))
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.False(t, os.SameFile(before, after), "replaced, not overwritten")
}

func TestModeIsKept(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	for _, mode := range []fs.FileMode{0o600, 0o644, 0o640, 0o664, 0o666, 0o755, 0o444} {
		path := writeFile(t, "doc.json", `{"n": 1}`)
		require.NoError(t, os.Chmod(path, mode))
		replaced(t, path)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm())
	}
	path := filepath.Join(t.TempDir(), "new.json")
	unix.Umask(0o027)
	require.NoError(t, addOne(path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o640), info.Mode().Perm(), "a new file is made as the umask says")
}

func TestOwnerIsKept(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can give files away")
	}
	path := writeFile(t, "doc.json", `{"n": 1}`)
	require.NoError(t, os.Chown(path, 65534, 65533))
	replaced(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	st := info.Sys().(*syscall.Stat_t)
	require.EqualValues(t, 65534, st.Uid)
	require.EqualValues(t, 65533, st.Gid)
}

// tool runs a program that may be missing, or not work on this filesystem.
func tool(t *testing.T, argv ...string) string {
	t.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skipf("SKIPPED: %s is missing (Debian: acl, attr)", argv[0])
	}
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil && strings.Contains(string(out), "not supported") {
		t.Skipf("SKIPPED: %s: %s", argv[0], out)
	}
	require.NoError(t, err, "%s", out)
	return string(out)
}

func TestACLIsKept(t *testing.T) {
	path := writeFile(t, "doc.json", `{"n": 1}`)
	tool(t, "setfacl", "-m", "u:12345:r,g:54321:rw,m::rw", path)
	before := tool(t, "getfacl", "-n", path)
	require.Contains(t, before, "user:12345:r--")
	replaced(t, path)
	require.Equal(t, before, tool(t, "getfacl", "-n", path))
}

func TestExtendedAttributesAreKept(t *testing.T) {
	path := writeFile(t, "doc.json", `{"n": 1}`)
	tool(t, "setfattr", "-n", "user.comment", "-v", "kept", path)
	tool(t, "setfattr", "-n", "user.empty", path)
	before := tool(t, "getfattr", "-d", path)
	require.Contains(t, before, `user.comment="kept"`)
	replaced(t, path)
	require.Equal(t, before, tool(t, "getfattr", "-d", path))
}

// A symbolic link stays one; what it leads to is changed, by every way to it, under one lock.
func TestSymbolicLinks(t *testing.T) {
	for name, links := range map[string][][2]string{ // name, what it points to
		"absolute":            {{"link.json", "%s/real/doc.json"}},
		"relative":            {{"link.json", "real/doc.json"}},
		"chain":               {{"a.json", "real/doc.json"}, {"b.json", "a.json"}, {"link.json", "./b.json"}},
		"through a directory": {{"dir", "real"}, {"link.json", "dir/doc.json"}},
		"up and down":         {{"link.json", "real/../real/doc.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			real := filepath.Join(dir, "real", "doc.json")
			require.NoError(t, os.Mkdir(filepath.Dir(real), 0o755))
			require.NoError(t, os.WriteFile(real, []byte(`{"n": 1}`), 0o644))
			for _, l := range links {
				to := l[1]
				if strings.Contains(to, "%s") {
					to = fmt.Sprintf(to, dir)
				}
				require.NoError(t, os.Symlink(to, filepath.Join(dir, l[0])))
			}
			link := filepath.Join(dir, "link.json")
			before, err := os.Readlink(link)
			require.NoError(t, err)
			replaced(t, link)
			after, err := os.Readlink(link)
			require.NoError(t, err, "it is still a link")
			require.Equal(t, before, after)
			require.Equal(t, `{"n": 2}`, readFile(t, real))
			d, err := Read(context.Background(), link)
			require.NoError(t, err)
			require.Equal(t, `{"n": 2}`, string(d.Bytes()))
			l, err := lock.Acquire(context.Background(), real)
			require.NoError(t, err)
			defer l.Release()
			_, ok, err := lock.Try(real)
			require.NoError(t, err)
			require.False(t, ok)
		})
	}
}

func TestDanglingAndCircularLinks(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link.json")
	require.NoError(t, os.Symlink("new.json", link))
	require.NoError(t, addOne(link))
	require.JSONEq(t, `{"n": 1}`, readFile(t, filepath.Join(dir, "new.json")))
	_, err := os.Readlink(link)
	require.NoError(t, err)

	require.NoError(t, os.Symlink("missing/doc.json", filepath.Join(dir, "far.json")))
	require.ErrorIs(t, addOne(filepath.Join(dir, "far.json")), fs.ErrNotExist)
	require.NoError(t, os.Symlink("loop.json", filepath.Join(dir, "loop.json")))
	require.ErrorContains(t, addOne(filepath.Join(dir, "loop.json")), "too many symbolic links")
}

func TestHardLinksAreRefused(t *testing.T) {
	path := writeFile(t, "doc.json", `{"n": 1}`)
	require.NoError(t, os.Link(path, path+".other"))
	err := addOne(path)
	require.ErrorIs(t, err, sidecar.ErrTarget)
	require.ErrorContains(t, err, "it has 2 hard links")
	require.ErrorContains(t, err, "its other names would keep the old version")
	require.Equal(t, `{"n": 1}`, readFile(t, path))
}

func TestSpecialFilesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, unix.Mkfifo(path, 0o644))
	require.ErrorContains(t, addOne(path), "it is a FIFO")
	require.ErrorContains(t, addOne("/dev/null"), "it is a device")
}

// Other processes are this test binary with UPDATE in its environment.
func TestMain(m *testing.M) {
	if path := os.Getenv("UPDATE"); path != "" {
		for range 10 {
			if err := addOne(path); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			if err := UpdateAs(context.Background(), path, func(v *struct {
				Typed int `json:"typed"`
			}) error {
				v.Typed++
				return nil
			}); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestProcessesSumUp(t *testing.T) {
	const procs = 8
	path := writeFile(t, "doc.json", `{"n": 0, "typed": 0, "unknown": 1.10}`)
	errs := make(chan error)
	for range procs {
		go func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(cmd.Environ(), "UPDATE="+path)
			out, err := cmd.CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			errs <- err
		}()
	}
	for range procs {
		require.NoError(t, <-errs)
	}
	require.Equal(t, `{"n": `+strconv.Itoa(procs*10)+`, "typed": `+strconv.Itoa(procs*10)+`, "unknown": 1.10}`, readFile(t, path))
}
