//go:build unix

package lock

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/tests/command"
)

func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}

// openPlace is a directory that other users may enter, unlike those of the testing package.
func openPlace(t *testing.T, perm fs.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "jsonguard-lock-*")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, perm))
	return dir
}

const nobodyID = 65534

// asNobody runs a process as an unprivileged user, from a copy of the test binary that it may read.
func asNobody(t *testing.T) func(*exec.Cmd) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can run a process as another user")
	}
	binary := filepath.Join(openPlace(t, 0o755), "lock.test")
	require.NoError(t, command.CopyExecutable(os.Args[0], binary, 0o755))
	require.NoError(t, os.Chmod(binary, 0o755))
	return func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args[0] = binary, binary
		cmd.Dir = filepath.Dir(binary)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}}
	}
}

// Nobody deletes the lock file: its name must mean the same file to everybody.
func TestTheLockFileStays(t *testing.T) {
	path := target(t, "{}")
	require.False(t, busy(t, path))
	first := inodeOf(t, LockPath(path))
	for range 3 {
		hold(t, path).end()
		require.Equal(t, first, inodeOf(t, LockPath(path)))
	}
	content, err := os.ReadFile(LockPath(path))
	require.NoError(t, err)
	require.Empty(t, content, "the holder's name is no part of the lock")
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 2, "the file and its lock, nothing else")
}

// Whoever holds a lock file that was removed learns it from Check; who comes then locks its successor.
func TestUnlinkedWhileHeld(t *testing.T) {
	for _, how := range []struct {
		name string
		do   func(path string) error
	}{
		{"unlinked", os.Remove},
		{"replaced", func(path string) error {
			if err := os.WriteFile(path+".new", nil, 0o644); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		}},
	} {
		t.Run(how.name, func(t *testing.T) {
			path := target(t, "{}")
			p := hold(t, path)
			p.say("check").expect("ok")
			require.NoError(t, how.do(LockPath(path)))
			p.say("check").expect("lost")
			l, err := Acquire(context.Background(), path, Timeout(time.Minute))
			require.NoError(t, err)
			require.NoError(t, l.Check())
			p.end()
			require.NoError(t, l.Check())
			require.True(t, busy(t, path))
			require.NoError(t, l.Release())
		})
	}
}

// Those who wait for a lock file that is then removed must not be served by it, beside somebody who locked its
// successor.
func TestUnlinkedWhileWaitedFor(t *testing.T) {
	path := target(t, "{}")
	p := hold(t, path)
	waiting := start(t, "hold", []string{path})
	eventually(t, func() bool { return waiters(t, LockPath(path)) > 0 }, "a waiter in the kernel")
	require.NoError(t, os.Remove(LockPath(path)))
	l, err := Acquire(context.Background(), path, Timeout(time.Minute))
	require.NoError(t, err, "the successor is free")
	p.end() // serves the waiter with the removed file
	said := make(chan string, 1)
	go func() { said <- waiting.line() }()
	select {
	case <-said:
		t.Fatal("two processes hold the lock")
	case <-time.After(200 * time.Millisecond):
	}
	require.NoError(t, l.Release())
	require.Equal(t, "held", <-said)
	waiting.say("check").expect("ok")
	waiting.end()
}

// waiters counts "->" lines of /proc/locks for path.
func waiters(t *testing.T, path string) (n int) {
	t.Helper()
	table, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Skip("SKIPPED: only Linux says who waits for a lock")
	}
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, "->") && strings.Contains(line, fmt.Sprintf(":%d ", inodeOf(t, path))) {
			n++
		}
	}
	return n
}

// Lost counts of a crowd whose lock file is removed again and again would show two holders at once.
func TestACrowdWhoseLockFileIsRemovedAgainAndAgain(t *testing.T) {
	path := target(t, "{}")
	in := filepath.Join(filepath.Dir(path), "inside")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 200 {
			_ = os.Remove(LockPath(path))
			time.Sleep(time.Millisecond)
		}
	}()
	for turns := 0; ; turns++ {
		select {
		case <-done:
			if turns > 0 {
				return
			}
		default:
		}
		l, err := Acquire(context.Background(), path, Timeout(time.Minute))
		require.NoError(t, err)
		if l.Check() == nil {
			require.NoError(t, os.WriteFile(in, nil, 0o600))
			require.NoError(t, os.Remove(in))
		}
		require.NoError(t, l.Release())
	}
}

// The lock file has the target's bits whatever the umask, and never more; a target that is not there yet will be made
// with what the umask leaves.
func TestModeOfTheLockFile(t *testing.T) {
	for _, c := range []struct {
		umask  int
		target fs.FileMode // 0: missing
		want   fs.FileMode
	}{
		{0o077, 0o644, 0o644}, {0o022, 0o664, 0o664}, {0, 0o600, 0o600}, {0o022, 0o600, 0o600}, {0o077, 0o666, 0o666},
		{0o022, 0o755, 0o644}, {0o022, 0o444, 0o644}, {0o027, 0, 0o640}, {0, 0, 0o666},
	} {
		t.Run(fmt.Sprintf("umask %03o target %04o", c.umask, c.target), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "results.json")
			if c.target != 0 {
				require.NoError(t, os.WriteFile(path, []byte("{}"), 0o600))
				require.NoError(t, os.Chmod(path, c.target))
			}
			withUmask(t, c.umask, "acquire", path)
			info, err := os.Stat(LockPath(path))
			require.NoError(t, err)
			require.Equal(t, c.want, info.Mode().Perm())
		})
	}
}

// withUmask runs a role under a umask, in a shell that sets it: it belongs to the whole process.
func withUmask(t *testing.T, umask int, role string, args ...string) {
	t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", fmt.Sprintf(`umask %03o; exec "$0" "$@"`, umask), os.Args[0]}, args...)...)
	cmd.Env = append(cmd.Environ(), "LOCK_ROLE="+role, "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), `"Error":"lock`)
}

// What is kept beside the target, names of holders included, is for those who may read the target.
func TestModesInTheGuardDirectory(t *testing.T) {
	for _, c := range []struct{ target, dir, file fs.FileMode }{
		{0o600, 0o700, 0o600}, {0o640, 0o750, 0o640}, {0o644, 0o755, 0o644}, {0o664, 0o775, 0o664},
	} {
		for _, umask := range []int{0, 0o022, 0o077} {
			t.Run(fmt.Sprintf("target %04o umask %03o", c.target, umask), func(t *testing.T) {
				path := target(t, "{}")
				require.NoError(t, os.Chmod(path, c.target))
				withUmask(t, umask, "acquire", path, "at=/a") // makes the guard directory, and takes its note back
				require.NoError(t, os.Remove(filepath.Join(GuardDir(path), holdersName)))
				old := unix.Umask(umask)
				defer unix.Umask(old)
				l, err := Acquire(context.Background(), path)
				require.NoError(t, err)
				defer l.Release()
				noted(t, path)
				require.NoError(t, filepath.WalkDir(GuardDir(path), func(p string, d fs.DirEntry, err error) error {
					require.NoError(t, err)
					info, err := d.Info()
					require.NoError(t, err)
					if d.IsDir() {
						require.Equal(t, c.dir, info.Mode().Perm(), p)
					} else if filepath.Base(p) == ".gitignore" {
						require.Zero(t, info.Mode().Perm()&^c.file, p)
					} else {
						require.Equal(t, c.file, info.Mode().Perm(), p)
					}
					return nil
				}))
			})
		}
	}
}

// A lock file that root makes belongs to the target's owner, who can lock it.
func TestRootGivesTheLockFileToTheTargetsOwner(t *testing.T) {
	nobody := asNobody(t)
	dir := openPlace(t, 0o755)
	path := filepath.Join(dir, "results.json")
	require.NoError(t, os.WriteFile(path, []byte("{}"), 0o600))
	require.NoError(t, os.Chown(path, nobodyID, nobodyID))
	l, err := Acquire(context.Background(), path)
	require.NoError(t, err)
	info, err := os.Stat(LockPath(path))
	require.NoError(t, err)
	require.EqualValues(t, nobodyID, info.Sys().(*syscall.Stat_t).Uid)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	require.True(t, acquire(t, path, []string{"timeout=0"}, nobody).Timeout)
	require.NoError(t, l.Release())
	require.Empty(t, acquire(t, path, []string{"timeout=0"}, nobody).Error)
}

func TestReadOnlyDirectory(t *testing.T) {
	nobody := asNobody(t)
	dir := openPlace(t, 0o755) // root's: nobody may not write
	path := filepath.Join(dir, "results.json")
	require.NoError(t, os.WriteFile(path, []byte("{}"), 0o644))
	said := acquire(t, path, nil, nobody)
	require.True(t, said.Permission, said.Error)
	require.Contains(t, said.Error, LockPath(path))
	require.Contains(t, said.Error, "the directory has to be writable, or the lock file has to exist")

	// With a lock file that may be read, flock works: it needs no write access.
	p := hold(t, path)
	said = acquire(t, path, []string{"timeout=0"}, nobody)
	require.True(t, said.Timeout, said.Error)
	p.end()
	require.Empty(t, acquire(t, path, []string{"timeout=0"}, nobody).Error)
}

// In a sticky directory the kernel may refuse O_CREAT on another user's file, root's own included.
func TestAnotherUsersLockFileInAStickyDirectory(t *testing.T) {
	nobody := asNobody(t)
	level, err := os.ReadFile("/proc/sys/fs/protected_regular")
	if err != nil || strings.TrimSpace(string(level)) == "0" {
		t.Logf("SKIPPED in part: protected_regular is off here, so that the kernel refuses nothing")
	}
	dir := openPlace(t, 0o777|fs.ModeSticky)
	path := filepath.Join(dir, "results.json")
	require.NoError(t, os.WriteFile(path, []byte("{}"), 0o666))
	require.NoError(t, os.Chmod(path, 0o666))
	require.Empty(t, acquire(t, path, nil).Error) // root makes it
	require.Empty(t, acquire(t, path, nil, nobody).Error)

	require.NoError(t, os.Remove(LockPath(path)))
	require.Empty(t, acquire(t, path, nil, nobody).Error) // nobody makes it
	require.Empty(t, acquire(t, path, nil).Error)
	require.EqualValues(t, nobodyID, statOf(t, LockPath(path)).Uid)
}

func statOf(t *testing.T, path string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	return info.Sys().(*syscall.Stat_t)
}

func TestPlantedAtTheLocksName(t *testing.T) {
	for name, plant := range map[string]func(path, elsewhere string) error{
		"symbolic link": func(path, elsewhere string) error { return os.Symlink(elsewhere, path) },
		"dangling link": func(path, elsewhere string) error { return os.Symlink(elsewhere+".missing", path) },
		"FIFO":          func(path, _ string) error { return unix.Mkfifo(path, 0o666) },
		"socket":        func(path, _ string) error { return unix.Mknod(path, unix.S_IFSOCK|0o666, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			path := target(t, "{}")
			elsewhere := filepath.Join(t.TempDir(), "precious")
			require.NoError(t, os.WriteFile(elsewhere, []byte("precious"), 0o600))
			require.NoError(t, plant(LockPath(path), elsewhere))
			said := acquire(t, path, nil) // another process: one that hangs fails the test, not the whole run
			require.True(t, said.Foreign, said.Error)
			require.Contains(t, said.Error, LockPath(path))
			require.Contains(t, said.Error, "remove it")
			content, err := os.ReadFile(elsewhere)
			require.NoError(t, err)
			require.Equal(t, "precious", string(content))
			require.NoFileExists(t, elsewhere+".missing")
		})
	}
}

// Planted where holders are noted: nothing is written through a link, and no name is better than a wrong one.
func TestPlantedAtTheHoldersNote(t *testing.T) {
	path := target(t, "{}")
	elsewhere := filepath.Join(t.TempDir(), "precious")
	require.NoError(t, os.WriteFile(elsewhere, []byte("precious"), 0o600))
	_, err := MakeGuardDir(path)
	require.NoError(t, err)
	note := filepath.Join(GuardDir(path), noteName(nil))
	require.NoError(t, os.Mkdir(filepath.Dir(note), 0o755))
	require.NoError(t, os.Symlink(elsewhere, note))
	require.Nil(t, recordHolder(path, options{}, time.Now()))
	content, err := os.ReadFile(elsewhere)
	require.NoError(t, err)
	require.Equal(t, "precious", string(content))

	require.NoError(t, os.Remove(note))
	require.NoError(t, unix.Mkfifo(note, 0o666))
	require.Nil(t, recordHolder(path, options{}, time.Now()), "nobody reads from it: not waited for")
	require.Nil(t, readRecord(path, noteName(nil)))
	require.Empty(t, acquire(t, path, nil).Error)
}

// Node's proper-lockfile makes a directory, and touches it every few seconds.
func TestDirectoryOfProperLockfile(t *testing.T) {
	t.Run("live", func(t *testing.T) {
		path := target(t, "{}")
		require.NoError(t, os.Mkdir(LockPath(path), 0o755))
		_, err := Acquire(context.Background(), path, Timeout(0))
		require.ErrorIs(t, err, ErrTimeout)
		require.ErrorContains(t, err, "proper-lockfile")
		_, err = Acquire(context.Background(), path, Timeout(80*time.Millisecond))
		require.ErrorIs(t, err, ErrTimeout)
		require.ErrorContains(t, err, "proper-lockfile")
		require.DirExists(t, LockPath(path))
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, err = Acquire(ctx, path)
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("given back", func(t *testing.T) {
		path := target(t, "{}")
		require.NoError(t, os.Mkdir(LockPath(path), 0o755))
		waiting := start(t, "hold", []string{path})
		said := make(chan string, 1)
		go func() { said <- waiting.line() }()
		select {
		case <-said:
			t.Fatal("somebody else's lock was passed over")
		case <-time.After(150 * time.Millisecond):
		}
		require.NoError(t, os.Remove(LockPath(path)))
		require.Equal(t, "held", <-said)
	})
	t.Run("stale", func(t *testing.T) {
		path := target(t, "{}")
		require.NoError(t, os.Mkdir(LockPath(path), 0o755))
		old := time.Now().Add(-time.Minute)
		require.NoError(t, os.Chtimes(LockPath(path), old, old))
		_, err := Acquire(context.Background(), path)
		require.ErrorIs(t, err, ErrForeign)
		require.ErrorContains(t, err, "remove it if no such program runs")
		require.DirExists(t, LockPath(path), "it is not ours to remove")
	})
}

func TestMissingDirectory(t *testing.T) {
	_, err := Acquire(context.Background(), filepath.Join(t.TempDir(), "missing", "results.json"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "its directory must exist")
}
