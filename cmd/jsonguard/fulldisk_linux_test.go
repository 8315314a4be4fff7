package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// smallDisk mounts a filesystem of some pages, which fill can exhaust.
func smallDisk(t *testing.T) (dir string, fill func(), empty func()) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root may mount a small filesystem: a full disk was not tried")
	}
	dir = t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("SKIPPED: no tmpfs to be had (%v): a full disk was not tried", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	filler := filepath.Join(dir, "filler")
	return dir, func() {
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		defer f.Close()
		for page := make([]byte, os.Getpagesize()); err == nil; {
			_, err = f.Write(page)
		}
		require.ErrorIs(t, err, unix.ENOSPC)
	}, func() { require.NoError(t, os.Remove(filler)) }
}

// what runs against a disk that is full, or may not be written beyond a limit: 74, a cause, nothing lost, nothing left.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir, fill, empty := smallDisk(t)
	file := filepath.Join(dir, "a.json")
	before := "{\n  \"text\": \"" + strings.Repeat("x", 20_000) + "\"\n}\n"
	require.NoError(t, os.WriteFile(file, []byte(before), 0o644))
	// Its guard exists, and a change waits in it.
	release := holdLock(t, file)
	status, _, stderr := process(t, "set", "--timeout", "0", file, "/pending", "1")
	require.Equal(t, statusTemporary, status, stderr)
	release()
	fill()
	for _, args := range [][]string{
		{"set", file, "/a", "1"}, {"incr", file, "/n"}, {"update", file, ".a = 1"}, {"append", file, "/l", "1"}, {"recover", file},
		{"set", filepath.Join(dir, "new.json"), "/a", strings.Repeat("1", 9000)},
	} {
		status, stdout, stderr := process(t, args...)
		require.Equal(t, statusIO, status, "%q: %s", args, stderr)
		require.Empty(t, stdout)
		require.Contains(t, stderr, "no space left on device")
		requireBytes(t, file, before)
	}
	require.NoFileExists(t, filepath.Join(dir, "new.json"))
	status, stdout, stderr := process(t, "exec", "--file", file, "--", "echo", "ran")
	require.Equal(t, statusBefore, status, stderr)
	require.Empty(t, stdout)
	status, _, stderr = process(t, "get", file, "/text")
	require.Zero(t, status, "reading needs no room: %s", stderr)
	status, stdout, _ = process(t, "status", file)
	require.Zero(t, status)
	require.Contains(t, stdout, "pending      1")
	for _, name := range mustNames(t, dir) {
		require.NotContains(t, name, "tmp", "a temporary file keeps the disk full")
	}

	empty()
	status, _, stderr = process(t, "incr", file, "/n")
	require.Zero(t, status, stderr)
	requireBytes(t, file, strings.TrimSuffix(before, "\n}\n")+",\n  \"pending\": 1,\n  \"n\": 1\n}\n")
	status, stdout, stderr = process(t, "verify", file)
	require.Zero(t, status, stdout+stderr)
}

// The disk is full when the runner has written: what it wrote is kept, said, and comes in when there is room.
func TestFullDiskAfterTheProgramWrote(t *testing.T) {
	t.Parallel()
	dir, _, empty := smallDisk(t)
	file := filepath.Join(dir, "a.json")
	require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o644))
	script := fmt.Sprintf(`echo '{"x": 1}' > "$0"; cat /dev/zero > %s 2>/dev/null; exit 0`, filepath.Join(dir, "filler"))
	status, _, stderr := process(t, "exec", "--file", file, "--", "sh", "-c", script, "{}")
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	if string(content) == "{}\n" { // else the write was seen before the disk was full
		require.Equal(t, statusIO, status, stderr)
		require.Contains(t, stderr, "no space left")
	}
	empty()
	status, _, stderr = process(t, "recover", file)
	require.Zero(t, status, stderr)
	requireBytes(t, file, "{\"x\": 1}\n")
}

func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.json")
	before := "{\n  \"text\": \"" + strings.Repeat("x", 20_000) + "\"\n}\n"
	require.NoError(t, os.WriteFile(file, []byte(before), 0o644))
	self, err := exec.LookPath("jsonguard")
	require.NoError(t, err)
	for _, args := range [][]string{{"set", file, "/a", "1"}, {"update", file, ".a = 1"}} {
		cmd := exec.Command("sh", append([]string{"-c", `ulimit -f 8; exec "$@"`, "sh", self}, args...)...)
		out, _ := cmd.CombinedOutput()
		require.Equal(t, statusIO, cmd.ProcessState.ExitCode(), "%s", out)
		require.Contains(t, string(out), "file too large")
		requireBytes(t, file, before)
	}
	require.Equal(t, []string{"a.json", "a.json.lock"}, mustNames(t, filepath.Dir(file)))
}
