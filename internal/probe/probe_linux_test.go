package probe

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/tests/command"
)

// mount mounts for the time of the test.
func mount(t *testing.T, source, at, kind string, flags uintptr, data string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can mount")
	}
	if err := unix.Mount(source, at, kind, flags, data); err != nil {
		t.Skipf("SKIPPED: mounting %s failed: %v", kind, err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(at, unix.MNT_DETACH)) })
}

func probed(t *testing.T, dir string) func(name string) Finding {
	t.Helper()
	findings, err := Dir(dir, here)
	require.NoError(t, err)
	return func(name string) Finding { return byName(t, findings, name) }
}

func TestTmpfs(t *testing.T) {
	dir := t.TempDir()
	mount(t, "none", dir, "tmpfs", 0, "size=1m")
	found := probed(t, dir)
	require.Contains(t, found("filesystem").Detail, "tmpfs")
	require.Equal(t, Weak, found("room").State)
	requireEmpty(t, dir)
}

// On a full disk what fails says nothing about the filesystem, and the findings say that.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	mount(t, "none", dir, "tmpfs", 0, "size=64k")
	filler := filepath.Join(dir, "filler")
	_ = os.WriteFile(filler, make([]byte, 1<<20), 0o600)
	found := probed(t, dir)
	require.Equal(t, No, found("atomic replace").State)
	require.Contains(t, found("atomic replace").Means, "the disk is full")
	require.Contains(t, found("room").Detail, "0 MiB free")
	require.NoError(t, os.Remove(filler))
	requireEmpty(t, dir)
}

func TestNoInodesLeft(t *testing.T) {
	dir := t.TempDir()
	mount(t, "none", dir, "tmpfs", 0, "nr_inodes=2")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "last"), nil, 0o600))
	found := probed(t, dir)
	require.Equal(t, No, found("write").State)
	require.Contains(t, found("write").Means, "the disk is full")
	require.Equal(t, Weak, found("room").State)
}

func TestReadOnlyMount(t *testing.T) {
	dir := t.TempDir()
	mount(t, "none", dir, "tmpfs", unix.MS_RDONLY, "")
	found := probed(t, dir)
	require.Equal(t, No, found("write").State)
	require.True(t, found("write").Required)
	require.Contains(t, found("write").Detail, "read-only file system")
}

func TestMountedSingleFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"source", "with space.json"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600))
	}
	mount(t, filepath.Join(dir, "source"), filepath.Join(dir, "with space.json"), "", unix.MS_BIND, "")
	found := probed(t, dir)("mounts")
	require.Equal(t, Weak, found.State)
	require.Contains(t, found.Detail, "with space.json")
	require.Contains(t, found.Means, "mount the directory instead")
}

func TestMountedDirectory(t *testing.T) {
	dir, at := t.TempDir(), t.TempDir()
	mount(t, dir, at, "", unix.MS_BIND, "")
	found := probed(t, at)("mounts")
	require.Contains(t, found.Detail, at+" is a bind mount")
	requireEmpty(t, at)
	require.NotContains(t, probed(t, dir)("mounts").Detail, "bind mount")
}

func TestOverlay(t *testing.T) {
	base, at := t.TempDir(), t.TempDir()
	for _, name := range []string{"lower", "upper", "work"} {
		require.NoError(t, os.Mkdir(filepath.Join(base, name), 0o700))
	}
	mount(t, "overlay", at, "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", base))
	found := probed(t, at)
	require.Contains(t, found("filesystem").Detail, "overlayfs")
	require.Equal(t, OK, found("atomic replace").State)
	require.Equal(t, OK, found("jsonguard's own lock").State)
	require.Contains(t, found("jsonguard's own lock").Detail, "flock")
	requireEmpty(t, at)
}

func TestMountOf(t *testing.T) {
	points := []mountPoint{{"/", "/", "ext4"}, {"/", "/a", "tmpfs"}, {"/x", "/a/b", "ext4"}, {"/", "/a/bc", "xfs"}, {"/", "/a", "overlay"}}
	for path, want := range map[string]mountPoint{"/": points[0], "/b": points[0], "/a": points[4], "/a/b/c": points[2], "/a/bc": points[3], "/a/bcd": points[4]} {
		got, ok := mountOf(points, path)
		require.True(t, ok)
		require.Equal(t, want, got, path)
	}
}

// An unprivileged user's view; root may read and write everywhere.
func TestUnreadableAndUnwritable(t *testing.T) {
	if os.Getenv("PROBE_DIR") != "" {
		findings, err := Dir(os.Getenv("PROBE_DIR"), here)
		require.NoError(t, err)
		for _, f := range findings {
			fmt.Printf("%s=%s\n", f.Name, f.State)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can run a process as another user")
	}
	place, err := os.MkdirTemp("", "jsonguard-probe-test-*")
	require.NoError(t, err)
	defer os.RemoveAll(place)
	require.NoError(t, os.Chmod(place, 0o755))
	binary := filepath.Join(place, "probe.test")
	require.NoError(t, command.CopyExecutable(os.Args[0], binary, 0o755))
	for mode, want := range map[os.FileMode]string{0o733: "read=no\nwrite=ok", 0o755: "read=ok\nwrite=no", 0o777: "read=ok\nwrite=ok"} {
		dir := filepath.Join(place, mode.String())
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chmod(dir, mode))
		const nobody = 65534
		cmd := exec.Command(binary, "-test.run=^TestUnreadableAndUnwritable$")
		cmd.Dir, cmd.Env = place, append(os.Environ(), "PROBE_DIR="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), want, mode)
		requireEmpty(t, dir)
	}
}
