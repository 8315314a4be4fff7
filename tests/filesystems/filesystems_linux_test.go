package filesystems

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryFilesystem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: mounting filesystems needs root")
	}
	campaign := filepath.Join(t.TempDir(), "concurrency.test")
	out, err := exec.Command("go", "test", "-c", "-o", campaign, "jsonguard/tests/concurrency").CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, fs := range []struct {
		name  string
		mount func(t *testing.T, dir string)
		flags []string
	}{
		{"ext4", image(512, "mkfs.ext4", "-q", "-F"), nil},
		{"xfs", image(512, "mkfs.xfs", "-q", "-f"), nil},
		{"btrfs", image(1024, "mkfs.btrfs", "-q"), nil},
		{"tmpfs", func(t *testing.T, dir string) { mount(t, dir, "-t", "tmpfs", "none", dir) }, nil},
		{"overlay", overlay, nil},
		{"single file", singleFiles, []string{"-partial-reads"}},
	} {
		t.Run(fs.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "mount")
			require.NoError(t, os.Mkdir(dir, 0o755))
			fs.mount(t, dir)
			cmd := exec.Command(campaign, append([]string{"-test.v", "-dir", dir, "-procs", "12", "-updates", "8", "-kill"}, fs.flags...)...)
			cmd.Dir = "../concurrency"
			out, err := cmd.CombinedOutput()
			t.Logf("%s", bytes.ReplaceAll(out, []byte("\n"), []byte("\n| "))) // not to be taken for what this test says
			require.NoError(t, err)
		})
	}
}

// mount mounts, until the test ends.
func mount(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: mount %v: %s", args, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
}

// image is a filesystem in a file with holes, far larger than what the campaigns write: btrfs gives room back late, and a small one says
// that none is left.
func image(megabytes int64, maker ...string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		if _, err := exec.LookPath(maker[0]); err != nil {
			t.Skipf("SKIPPED: %s is not installed", maker[0])
		}
		path := filepath.Join(filepath.Dir(dir), "image")
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Truncate(path, megabytes<<20))
		out, err := exec.Command(maker[0], append(maker[1:], path)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
		mount(t, dir, "-o", "loop", path, dir)
	}
}

func overlay(t *testing.T, dir string) {
	var layer [3]string
	base := filepath.Join(filepath.Dir(dir), "layers")
	mount(t, makeDir(t, base), "-t", "tmpfs", "none", base)
	for i, name := range []string{"lower", "upper", "work"} {
		layer[i] = makeDir(t, filepath.Join(base, name))
	}
	// The file is in the lower layer first: its first change copies it up.
	for _, name := range []string{"results.json", "results.jsonl"} {
		require.NoError(t, os.WriteFile(filepath.Join(layer[0], name), []byte("{}\n"), 0o600))
	}
	mount(t, dir, "-t", "overlay", "overlay", "-o", "lowerdir="+layer[0]+",upperdir="+layer[1]+",workdir="+layer[2], dir)
}

func makeDir(t *testing.T, dir string) string {
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return dir
}

// singleFiles are what a container has of `docker run -v results.json:/data/results.json`.
func singleFiles(t *testing.T, dir string) {
	for _, name := range []string{"results.json", "results.jsonl"} {
		outside := filepath.Join(filepath.Dir(dir), "outside-"+name)
		inside := filepath.Join(dir, name)
		for _, path := range []string{outside, inside} {
			require.NoError(t, os.WriteFile(path, nil, 0o600))
		}
		mount(t, inside, "--bind", outside, inside)
	}
}
