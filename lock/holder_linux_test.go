package lock

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const goos = runtime.GOOS

func timeoutOf(t *testing.T, path string, opts ...Option) *Error {
	t.Helper()
	_, err := Acquire(context.Background(), path, append(opts, Timeout(10*time.Millisecond))...)
	require.ErrorIs(t, err, ErrTimeout)
	var e *Error
	require.ErrorAs(t, err, &e)
	return e
}

func TestHolderIsNamed(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	t.Run("with a guard directory: since when", func(t *testing.T) {
		path := target(t, "{}")
		_, err := MakeGuardDir(path)
		require.NoError(t, err)
		p := hold(t, path)
		noted(t, path)
		e := timeoutOf(t, path)
		require.NotNil(t, e.Holder, e)
		require.Equal(t, p.cmd.Process.Pid, e.Holder.PID)
		require.Equal(t, host, e.Holder.Host)
		require.Contains(t, e.Holder.Command, path, "the kernel shows its arguments to those who may see them")
		require.WithinDuration(t, time.Now(), e.Holder.Since, time.Minute)
		require.Contains(t, e.Error(), fmt.Sprintf("lock %s: lock timeout, held by process %d (", LockPath(path), p.cmd.Process.Pid))
		require.Contains(t, e.Error(), " on "+host+" since 2")
	})
	t.Run("without: as far as the kernel knows", func(t *testing.T) {
		path := target(t, "{}")
		p := hold(t, path)
		e := timeoutOf(t, path)
		require.NotNil(t, e.Holder, e)
		require.Equal(t, p.cmd.Process.Pid, e.Holder.PID)
		require.Equal(t, host, e.Holder.Host)
		require.Contains(t, e.Holder.Command, path)
		require.WithinDuration(t, time.Now(), e.Holder.Running, time.Minute)
		require.Contains(t, e.Error(), ", which runs since 2")
		require.NoDirExists(t, GuardDir(path), "naming the holder leaves nothing behind")
	})
	t.Run("this very process", func(t *testing.T) {
		path := target(t, "{}")
		l, err := Acquire(context.Background(), path)
		require.NoError(t, err)
		defer l.Release()
		e := timeoutOf(t, path)
		require.Equal(t, os.Getpid(), e.Holder.PID)
		require.Contains(t, e.Error(), "this very process")
	})
}

// A hold that is over at once, as a fold's, is not noted: that would cost more than the hold.
func TestShortHoldsAreNotNoted(t *testing.T) {
	path := target(t, "{}")
	_, err := MakeGuardDir(path)
	require.NoError(t, err)
	before := noteAfter
	noteAfter = time.Hour
	defer func() { noteAfter = before }()
	l, err := Acquire(context.Background(), path)
	require.NoError(t, err)
	require.NoError(t, l.Release())
	require.NoDirExists(t, filepath.Join(GuardDir(path), holdersName))
}

// A secret in the arguments goes nowhere that is not the kernel's own.
func TestArgumentsAreNotWrittenDown(t *testing.T) {
	path := target(t, "{}")
	for _, at := range []string{"", "at=/models"} {
		opts := []string{"--password=hunter2"}
		if at != "" {
			opts = append(opts, at)
		}
		_, err := MakeGuardDir(path)
		require.NoError(t, err)
		p := hold(t, path, opts...)
		if at == "" {
			noted(t, path)
		}
		notes, err := filepath.Glob(filepath.Join(GuardDir(path), holdersName, "*"))
		require.NoError(t, err)
		require.Len(t, notes, 1)
		text, err := os.ReadFile(notes[0])
		require.NoError(t, err)
		require.NotContains(t, string(text), "hunter2")
		require.Contains(t, string(text), filepath.Base(os.Args[0]))
		p.end()
	}
}

func TestTheNoteIsTakenBack(t *testing.T) {
	path := target(t, "{}")
	_, err := MakeGuardDir(path)
	require.NoError(t, err)
	p := hold(t, path)
	noted(t, path)
	p.end()
	require.NoFileExists(t, filepath.Join(GuardDir(path), noteName(nil)))
}

// The note is never the lock: one that is left, damaged or a lie blocks nobody and names nobody.
func TestTheNoteIsNotTheLock(t *testing.T) {
	host, _ := os.Hostname()
	alive := self(options{})
	dead := exec.Command("true")
	require.NoError(t, dead.Run())
	for name, note := range map[string]any{
		"of a dead process":       Holder{PID: dead.ProcessState.Pid(), Host: host, Command: "gone", Started: "1"},
		"of a recycled pid":       Holder{PID: os.Getppid(), Host: host, Command: "gone", Started: "1"},
		"of a process that lives": alive,
		"damaged":                 "{",
		"empty":                   nil,
	} {
		t.Run(name, func(t *testing.T) {
			path := target(t, "{}")
			_, err := MakeGuardDir(path)
			require.NoError(t, err)
			require.NoError(t, os.Mkdir(filepath.Join(GuardDir(path), holdersName), 0o700))
			text := []byte{}
			if s, ok := note.(string); ok {
				text = []byte(s)
			} else if note != nil {
				text, err = json.Marshal(note)
				require.NoError(t, err)
			}
			file := filepath.Join(GuardDir(path), noteName(nil))
			require.NoError(t, os.WriteFile(file, text, 0o600))
			require.False(t, busy(t, path), "it blocks nobody")

			require.NoError(t, os.WriteFile(file, text, 0o600))
			f := startCommand(t, exec.Command("flock", LockPath(path), "sh", "-c", "echo held; cat")).expect("held")
			e := timeoutOf(t, path)
			require.NotNil(t, e.Holder)
			require.Equal(t, f.cmd.Process.Pid, e.Holder.PID, "the kernel knows better")
			require.NotEqual(t, "gone", e.Holder.Command)

			require.NoError(t, os.WriteFile(file, text, 0o600))
			if name != "of a process that lives" {
				require.Nil(t, readRecord(path, noteName(nil)))
			}
		})
	}
}

// A holder on another machine cannot be asked: its note is all there is.
func TestANoteOfAnotherHostIsBelieved(t *testing.T) {
	h := self(options{})
	h.Host, h.Started = "elsewhere", "1"
	text, err := json.Marshal(h)
	require.NoError(t, err)
	got := readNote(text)
	require.NotNil(t, got)
	require.Equal(t, filepath.Base(os.Args[0]), got.Command)
	require.Contains(t, got.String(), " on elsewhere since ")
}

// Under the hold of an ancestor, which waits for its child, the child goes on, and does not let its timeout run out before.
func TestInherit(t *testing.T) {
	type way struct{ name, script string }
	ways := []way{
		{"flock(1) runs us", `flock "$2" "$1" "$0" inherit timeout=40s`},
		{"flock(1) runs a shell that runs us", `flock "$2" sh -c '"$0" "$1" inherit timeout=40s; true' "$1" "$0"`},
		{"a descriptor of the shell", `exec 9>"$2"; flock 9; "$1" "$0" inherit timeout=40s`},
		{"a descriptor of a subshell", `( flock 9; "$1" "$0" inherit timeout=40s ) 9>"$2"`},
		{"a descriptor that we did not get", `exec 9>"$2"; flock 9; sh -c '"$0" "$1" inherit timeout=40s 9>&-; true' "$1" "$0" `},
	}
	const atOnce = 30 * time.Second // on the slowest of machines
	for _, w := range ways {
		done := t.Run(w.name, func(t *testing.T) {
			began := time.Now()
			path := target(t, "{}")
			cmd := exec.Command("sh", "-c", w.script, path, os.Args[0], LockPath(path))
			cmd.Env = append(cmd.Environ(), "LOCK_ROLE=acquire", "GORACE=atexit_sleep_ms=0")
			out, err := cmd.Output()
			require.NoError(t, err, "%s", out)
			var said outcome
			require.NoError(t, json.Unmarshal(out, &said), "%s", out)
			require.True(t, said.Inherited, said.Error)
			require.Less(t, time.Since(began), atOnce)
		})
		if !done {
			return // each of the others may wait as long
		}
	}
	t.Run("python in the middle closes descriptors", func(t *testing.T) {
		py := python(t, "fcntl")
		path := target(t, "{}")
		cmd := exec.Command(py, "-c", "import fcntl,subprocess,sys\nf=open(sys.argv[1]+'.lock','a')\nfcntl.flock(f,fcntl.LOCK_EX)\nsubprocess.run([sys.argv[2],sys.argv[1],'inherit'])", path, os.Args[0])
		cmd.Env = append(cmd.Environ(), "LOCK_ROLE=acquire")
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Contains(t, string(out), `"Inherited":true`)
	})
}

// Somebody else's hold is not inherited, and neither is this process's own.
func TestNotInherited(t *testing.T) {
	path := target(t, "{}")
	p := hold(t, path)
	said := acquire(t, path, []string{"inherit", "timeout=20ms"})
	require.True(t, said.Timeout, "a sibling: %s", said.Error)
	said = acquire(t, path, []string{"inherit", "timeout=0"})
	require.True(t, said.Timeout, "a sibling: %s", said.Error)
	p.end()
	l, err := Acquire(context.Background(), path)
	require.NoError(t, err)
	defer l.Release()
	_, err = Acquire(context.Background(), path, Inherit(), Timeout(20*time.Millisecond))
	require.ErrorIs(t, err, ErrTimeout, "another goroutine")
	require.False(t, l.Inherited())
	require.False(t, heldByAncestor(LockPath(path), path), "a descriptor of our own is no hold of an ancestor")
}

// An ancestor that holds another file, whose inode has the same number on another filesystem, waits for nobody here.
func TestNotInheritedFromAnotherFilesystem(t *testing.T) {
	var paths []string
	for range 2 {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
			t.Skipf("SKIPPED: two filesystems that are the same inside need root, to mount them: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		path := filepath.Join(dir, "doc.json")
		require.NoError(t, os.WriteFile(path, []byte("{}"), 0o644))
		l, err := Acquire(context.Background(), path) // the lock file is made
		require.NoError(t, err)
		require.NoError(t, l.Release())
		paths = append(paths, path)
	}
	ours, theirs := paths[0], paths[1]
	inodes := make([]syscall.Stat_t, 2)
	for i, path := range paths {
		require.NoError(t, syscall.Stat(LockPath(path), &inodes[i]))
	}
	require.Equal(t, inodes[0].Ino, inodes[1].Ino, "the test needs two files with one number")

	l, err := Acquire(context.Background(), ours)
	require.NoError(t, err)
	defer l.Release()
	hold(t, theirs)
	said := acquire(t, theirs, []string{"inherit", "timeout=20ms"})
	require.False(t, said.Inherited)
	require.True(t, said.Timeout, said.Error)
}

// A flock that was taken through a descriptor names a process that has ended: somebody who has the descriptor is named.
func TestHolderWhoseLockerHasEnded(t *testing.T) {
	path := target(t, "{}")
	p := startCommand(t, exec.Command("sh", "-c", `exec 9>"$0"; flock 9; echo held; read x`, LockPath(path))).expect("held")
	e := timeoutOf(t, path)
	require.NotNil(t, e.Holder)
	require.Equal(t, p.cmd.Process.Pid, e.Holder.PID)
	require.Contains(t, e.Holder.Command, "read x")
}

// Somebody may have put a symbolic link in the guard directory's place: who holds the lock is not written down where it leads.
func TestNoNoteThroughALink(t *testing.T) {
	path, elsewhere := target(t, "{}"), t.TempDir()
	require.NoError(t, os.Symlink(elsewhere, GuardDir(path)))
	require.Nil(t, recordHolder(path, options{}, time.Now()))
	entries, err := os.ReadDir(elsewhere)
	require.NoError(t, err)
	require.Empty(t, entries)

	require.NoError(t, os.Remove(GuardDir(path)))
	_, err = MakeGuardDir(path)
	require.NoError(t, err)
	remove := recordHolder(path, options{}, time.Now())
	require.NotNil(t, remove)
	require.NotNil(t, readRecord(path, noteName(nil)))
	remove()
	require.Nil(t, readRecord(path, noteName(nil)))
}
