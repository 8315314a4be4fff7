package parquet

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func status(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// A full disk: 74, the cause, the old file as it was, and nothing left that keeps the disk full.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root may mount a small filesystem: a full disk was not tried")
	}
	l := newLab(t)
	disk := l.path("disk")
	require.NoError(t, os.Mkdir(disk, 0o755))
	if err := unix.Mount("none", disk, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("SKIPPED: no tmpfs to be had (%v): a full disk was not tried", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(disk, unix.MNT_DETACH)) })
	small := state{"gpt": {{ID: "old"}}}
	small.write(l)
	l.jsonguard("export", "-q", l.file, "--records", pattern, "-o", "disk/out.parquet")
	l.jsonguard("export", "-q", l.file, "--records", pattern, "--increments", "disk/inc")
	doc, _ := sample(t, 10_000) // as Parquet more than the disk holds
	require.NoError(t, os.WriteFile(l.file, doc, 0o644))
	for _, to := range [][]string{{"-o", "disk/out.parquet"}, {"-o", "disk/new.parquet"}, {"--increments", "disk/inc"}} {
		stdout, stderr, err := l.try(append([]string{"export", "-q", l.file, "--records", pattern}, to...)...)
		require.Equal(t, 74, status(err), stderr)
		require.Empty(t, stdout)
		require.Contains(t, stderr, "no space left on device")
		require.NotContains(t, stderr, "jsonguard-parquet", "the reason, and not what it did to the tool")
	}
	got, err := readFile(l.path("disk/out.parquet"))
	require.NoError(t, err)
	require.Equal(t, small.rows(), got)
	got, err = readCurrent(l.path("disk/inc"))
	require.NoError(t, err)
	require.Equal(t, small.rows(), got)
	names, err := filepath.Glob(l.path("disk/*"))
	require.NoError(t, err)
	require.Equal(t, []string{l.path("disk/inc"), l.path("disk/out.parquet")}, names)
	hidden, err := filepath.Glob(l.path("disk/.*"))
	require.NoError(t, err)
	require.Empty(t, hidden)
	l.requireTidy("disk/inc")

	// And the way back: the file is as it was, and works.
	l.jsonguard("export", "-q", l.file, "--records", pattern, "-o", "big.parquet")
	require.NoError(t, os.WriteFile(l.path("disk/back.json"), []byte("{\"models\": {}}\n"), 0o644))
	for _, to := range []string{"disk/back.json", "disk/new.json"} {
		_, stderr, err := l.try("import", "-q", "big.parquet", "-o", to)
		require.Equal(t, 74, status(err), stderr)
		require.Contains(t, stderr, "no space left on device")
	}
	content, err := os.ReadFile(l.path("disk/back.json"))
	require.NoError(t, err)
	require.Equal(t, "{\"models\": {}}\n", string(content))
	names, err = filepath.Glob(l.path("disk/*"))
	require.NoError(t, err)
	for _, name := range names {
		require.NotContains(t, filepath.Base(name), "tmp")
	}
	require.NoFileExists(t, l.path("disk/new.json"))
	hidden, err = filepath.Glob(l.path("disk/.*"))
	require.NoError(t, err)
	require.Empty(t, hidden, "nothing that keeps the disk full")
	l.jsonguard("set", "disk/back.json", "/n", "1")
}

// A directory that may not be written: 77, and it is said which.
func TestDirectoryThatMayNotBeWritten(t *testing.T) {
	l := newLab(t)
	state{"gpt": {{ID: "x"}}}.write(l)
	closed := l.path("closed")
	require.NoError(t, os.Mkdir(closed, 0o555))
	args := []string{binary, "export", "-q", "results.json", "--records", pattern}
	if os.Getuid() == 0 { // who may write everywhere
		if _, err := exec.LookPath("setpriv"); err != nil {
			t.Skip("SKIPPED: no setpriv here, and root may write everywhere")
		}
		for _, dir := range []string{l.dir, filepath.Dir(l.dir), filepath.Dir(binary)} {
			require.NoError(t, os.Chmod(dir, 0o755))
		}
		args = append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, args...)
	}
	for _, to := range [][]string{{"-o", "closed/out.parquet"}, {"--increments", "closed/inc"}} {
		cmd := exec.Command(args[0], append(args[1:], to...)...)
		cmd.Dir = l.dir
		out, err := cmd.CombinedOutput()
		require.Equal(t, 77, status(err), "%s", out)
		require.Contains(t, string(out), "closed")
		require.Contains(t, string(out), "permission denied")
	}
}

// Modes: what the umask leaves, and of a file that is replaced its own.
func TestModes(t *testing.T) {
	l := newLab(t)
	state{"gpt": {{ID: "x"}}}.write(l)
	run := func(umask string) {
		cmd := exec.Command("sh", "-c", "umask "+umask+"; exec \"$0\" \"$@\"", binary, "export", "-q", l.file, "--records", pattern, "-o", "out.parquet")
		cmd.Dir = l.dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	mode := func() os.FileMode {
		info, err := os.Stat(l.path("out.parquet"))
		require.NoError(t, err)
		return info.Mode().Perm()
	}
	run("027")
	require.Equal(t, os.FileMode(0o640), mode())
	require.NoError(t, os.Chmod(l.path("out.parquet"), 0o600))
	run("022")
	require.Equal(t, os.FileMode(0o600), mode())
}
