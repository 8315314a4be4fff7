//go:build unix

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/tests/command"
)

const nobody = 65534

// unprivileged returns a directory, and how to run jsonguard there as somebody whom permissions stop. Root they do not.
func unprivileged(t *testing.T) (work string, run func(args ...string) (status int, stdout, stderr string)) {
	dir, err := os.MkdirTemp("", "jsonguard-test-")
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = os.Chmod(dir, 0o755)
		_ = os.RemoveAll(dir)
	})
	require.NoError(t, os.Chmod(dir, 0o755))
	// The scripts' binary is in a directory that only its owner may enter.
	self, err := os.Executable()
	require.NoError(t, err)
	bin := filepath.Join(dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o755))
	program := filepath.Join(bin, "jsonguard")
	require.NoError(t, command.CopyExecutable(self, program, 0o755))
	work = filepath.Join(dir, "work")
	require.NoError(t, os.Mkdir(work, 0o755))
	owner := os.Getuid()
	if owner == 0 {
		owner = nobody
		require.NoError(t, os.Chown(work, nobody, nobody))
	}
	return work, func(args ...string) (int, string, string) {
		cmd := exec.Command(program, args...)
		cmd.Dir = work
		if os.Getuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode(), string(out), string(exit.Stderr)
		}
		require.NoError(t, err)
		return 0, string(out), ""
	}
}

func TestPermissions(t *testing.T) {
	dir, run := unprivileged(t)
	file := filepath.Join(dir, "a.json")
	write := func(mode os.FileMode) {
		require.NoError(t, os.RemoveAll(filepath.Join(dir, ".a.json.guard")))
		require.NoError(t, os.WriteFile(file, []byte("{\"a\": 1}\n"), 0o644))
		require.NoError(t, os.Chmod(file, mode))
		if os.Getuid() == 0 {
			require.NoError(t, os.Chown(file, nobody, nobody))
		}
	}

	t.Run("a file that cannot be read", func(t *testing.T) {
		write(0)
		defer os.Remove(file)
		for _, args := range [][]string{{"get", "a.json"}, {"set", "a.json", "/a", "2"}, {"incr", "a.json", "/a"}} {
			status, stdout, stderr := run(args...)
			require.Equal(t, statusPermission, status, "%q: %s", args, stderr)
			require.Empty(t, stdout)
			require.Contains(t, stderr, "a.json")
		}
		status, _, stderr := run("verify", "a.json")
		require.Equal(t, statusPermission, status, stderr)
	})

	t.Run("a file that cannot be written, in a directory that can", func(t *testing.T) {
		write(0o444)
		defer os.Remove(file)
		for _, args := range [][]string{{"set", "a.json", "/a", "2"}, {"incr", "a.json", "/a"}, {"update", "a.json", ".a = 2"}} {
			status, stdout, stderr := run(args...)
			require.Equal(t, statusPermission, status, "%q: %s", args, stderr)
			require.Empty(t, stdout)
			require.Contains(t, stderr, "hint: the file is read-only")
			requireContent(t, file, "{\"a\": 1}\n")
		}
		status, _, stderr := run("set", "a.json", "/a", "1")
		require.Equal(t, 0, status, "what is there already: %s", stderr)
		status, _, stderr = run("exec", "--file", "a.json", "--", "sh", "-c", `echo '{"a": 2}' > "$0"`, "{}")
		require.NotEqual(t, 0, status, "the program is refused as it would be without us: %s", stderr)
		requireContent(t, file, "{\"a\": 1}\n")
	})

	t.Run("somebody else's file", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("SKIPPED: needs root")
		}
		write(0o644)
		defer os.Remove(file)
		require.NoError(t, os.Chown(file, 0, 0))
		status, _, stderr := run("set", "a.json", "/a", "2")
		require.Equal(t, statusPermission, status, stderr)
		require.NoError(t, os.Chmod(file, 0o666))
		status, _, stderr = run("set", "a.json", "/a", "2")
		require.Equal(t, 0, status, stderr)
		// And he keeps something beside it that is his alone.
		guard := filepath.Join(dir, ".a.json.guard")
		require.NoError(t, os.Mkdir(guard, 0o700))
		status, _, stderr = run("set", "a.json", "/a", "3")
		require.Equal(t, statusPermission, status, stderr)
		require.Contains(t, stderr, "guard directory")
		require.NoError(t, os.Remove(guard))
	})

	t.Run("a directory that cannot be written", func(t *testing.T) {
		write(0o644)
		require.NoError(t, os.Chmod(dir, 0o555))
		defer os.Chmod(dir, 0o755)
		status, stdout, stderr := run("set", "a.json", "/a", "2")
		require.Equal(t, statusPermission, status, stderr)
		require.Empty(t, stdout)
		require.Contains(t, stderr, "hint: ")
		status, stdout, stderr = run("get", "a.json", "/a")
		require.Equal(t, 0, status, stderr)
		require.Equal(t, "1\n", stdout)
		status, _, stderr = run("exec", "--file", "a.json", "--", "echo", "ran")
		require.Equal(t, statusBefore, status, stderr)
		require.Contains(t, stderr, "hint: ")
	})

	t.Run("a directory that cannot be entered", func(t *testing.T) {
		closed := filepath.Join(dir, "closed")
		require.NoError(t, os.Mkdir(closed, 0))
		for _, args := range [][]string{{"get", "closed/a.json"}, {"set", "closed/a.json", "/a", "2"}, {"status", "closed/a.json"}} {
			status, stdout, stderr := run(args...)
			require.Equal(t, statusPermission, status, "%q: %s", args, stderr)
			require.Empty(t, stdout)
			require.NotContains(t, stderr, "must exist")
		}
	})

	t.Run("doctor says that it cannot write", func(t *testing.T) {
		require.NoError(t, os.Chmod(dir, 0o555))
		defer os.Chmod(dir, 0o755)
		status, _, stderr := run("doctor")
		require.Equal(t, statusIO, status, stderr)
		require.Contains(t, stderr, "write")
	})
}
