//go:build unix

package lock

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/stretchr/testify/require"
)

// foreign is another program's way to lock: hold takes it, says "held", and keeps it until standard input ends; try says
// "got" or "busy".
type foreign struct {
	hold, try func(lockFile string) *exec.Cmd
}

// python finds one that has a module, or skips loudly.
func python(t *testing.T, module string) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import "+module).Run() == nil {
			return name
		}
	}
	t.Skipf("SKIPPED: no python3 with %s (Debian: python3-%s): the locks of Python programs were not tried", module, module)
	return ""
}

func foreigners(t *testing.T) map[string]func(t *testing.T) foreign {
	script := func(interpreter, code string) func(string) *exec.Cmd {
		return func(lockFile string) *exec.Cmd { return exec.Command(interpreter, "-c", code, lockFile) }
	}
	return map[string]func(t *testing.T) foreign{
		"python fcntl.flock": func(t *testing.T) foreign {
			py := python(t, "fcntl")
			return foreign{
				hold: script(py, "import fcntl,sys\nf=open(sys.argv[1],'a')\nfcntl.flock(f,fcntl.LOCK_EX)\nprint('held',flush=True)\nsys.stdin.read()"),
				try:  script(py, "import fcntl,sys\nf=open(sys.argv[1],'a')\ntry:\n fcntl.flock(f,fcntl.LOCK_EX|fcntl.LOCK_NB)\n print('got')\nexcept BlockingIOError:\n print('busy')"),
			}
		},
		"python filelock": func(t *testing.T) foreign {
			py := python(t, "filelock")
			return foreign{
				hold: script(py, "import filelock,sys\nwith filelock.FileLock(sys.argv[1]):\n print('held',flush=True)\n sys.stdin.read()"),
				try:  script(py, "import filelock,sys\ntry:\n filelock.FileLock(sys.argv[1],timeout=0).acquire()\n print('got')\nexcept filelock.Timeout:\n print('busy')"),
			}
		},
		"python portalocker": func(t *testing.T) foreign {
			py := python(t, "portalocker")
			return foreign{
				hold: script(py, "import portalocker,sys\nwith portalocker.Lock(sys.argv[1],'a'):\n print('held',flush=True)\n sys.stdin.read()"),
				try:  script(py, "import portalocker,sys\ntry:\n portalocker.Lock(sys.argv[1],'a',timeout=0.05,fail_when_locked=True).acquire()\n print('got')\nexcept (portalocker.LockException,portalocker.AlreadyLocked):\n print('busy')"),
			}
		},
		"flock(1)": func(t *testing.T) foreign {
			if _, err := exec.LookPath("flock"); err != nil {
				t.Skip("SKIPPED: flock(1) is missing (Debian: util-linux)")
			}
			return foreign{
				hold: func(l string) *exec.Cmd { return exec.Command("flock", l, "sh", "-c", "echo held; cat") },
				try: func(l string) *exec.Cmd {
					return exec.Command("sh", "-c", `flock -n "$0" echo got || echo busy`, l)
				},
			}
		},
		"flock(1) on a descriptor": func(t *testing.T) foreign {
			if _, err := exec.LookPath("flock"); err != nil {
				t.Skip("SKIPPED: flock(1) is missing (Debian: util-linux)")
			}
			return foreign{
				hold: func(l string) *exec.Cmd {
					return exec.Command("sh", "-c", `exec 9>"$0"; flock 9; echo held; read x`, l)
				},
				try: func(l string) *exec.Cmd {
					return exec.Command("sh", "-c", `exec 9>"$0"; flock -n 9 && echo got || echo busy`, l)
				},
			}
		},
	}
}

// Both directions: they exclude us, we exclude them, and nobody has to be told.
func TestOtherProgramsLocks(t *testing.T) {
	for name, make := range foreigners(t) {
		t.Run(name, func(t *testing.T) {
			f := make(t)
			path := target(t, "{}")
			try := func() string {
				out, err := f.try(LockPath(path)).Output()
				require.NoError(t, err)
				return strings.TrimSpace(string(out))
			}
			require.Equal(t, "got", try(), "free")
			l, err := Acquire(context.Background(), path)
			require.NoError(t, err)
			require.Equal(t, "busy", try(), "ours keeps them out")
			require.NoError(t, l.Check())
			require.NoError(t, l.Release())
			require.Equal(t, "got", try())

			p := startCommand(t, f.hold(LockPath(path))).expect("held")
			require.True(t, busy(t, path), "theirs keeps us out")
			_, err = Acquire(context.Background(), path, Timeout(30*time.Millisecond))
			require.ErrorIs(t, err, ErrTimeout)
			var e *Error
			require.ErrorAs(t, err, &e)
			if e.Holder == nil || e.Holder.Command == "" {
				require.NotEqual(t, "linux", goos, "Linux says who it is: %v", err)
			} else {
				require.Contains(t, err.Error(), "held by process "+strconv.Itoa(e.Holder.PID)+" (")
				require.Regexp(t, "lock|fcntl", e.Holder.Command)
				require.True(t, e.Holder.Since.IsZero(), "when it took the lock is not known")
				require.WithinDuration(t, time.Now(), e.Holder.Running, time.Minute)
				require.NotEmpty(t, e.Holder.Host)
			}
			got := start(t, "hold", []string{path}) // waits
			require.NoError(t, p.in.Close())
			got.expect("held")
			require.Equal(t, "busy", try())
			got.end()
			require.Equal(t, "got", try())
		})
	}
}

func TestGofrsFlock(t *testing.T) {
	path := target(t, "{}")
	l, err := Acquire(context.Background(), path)
	require.NoError(t, err)
	theirs := flock.New(LockPath(path))
	ok, err := theirs.TryLock()
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, l.Release())
	ok, err = theirs.TryLock()
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, busy(t, path))
	require.NoError(t, theirs.Unlock())
	require.False(t, busy(t, path))
}
