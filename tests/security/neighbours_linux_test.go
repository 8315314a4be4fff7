package security

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const (
	nobody = 65534
	alice  = 61_001 // whose file it is
)

// as runs the command as somebody, whatever comes of it.
func as(t *testing.T, uid int, args ...string) (status int, said string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = filepath.Dir(binary)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.True(t, err == nil || errors.As(err, &exit), "%v", err)
	require.NoError(t, ctx.Err(), "%q hangs: %s", args, out)
	return cmd.ProcessState.ExitCode(), string(out)
}

// open is a directory that everybody may write, as /tmp is, with a file of alice's.
func open(t *testing.T, perm fs.FileMode) (file, guard string) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can be several people: a neighbour of another user id was not tried")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	require.NoError(t, os.Chmod(dir, fs.ModeSticky|0o777))
	file = filepath.Join(dir, "a.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"n": 0}`+"\n"), perm))
	require.NoError(t, os.Chmod(file, perm))
	require.NoError(t, os.Chown(file, alice, alice))
	return file, filepath.Join(dir, ".a.json.guard")
}

// TestGuardDirectoryOfAStranger: the owner of a directory may take out of it what others put there, and put in what they
// believe. One that somebody made who may not write the file is not used, for anything.
func TestGuardDirectoryOfAStranger(t *testing.T) {
	for name, c := range map[string]struct {
		perm fs.FileMode // of the file
		made int         // who made the guard directory
		used bool
	}{
		"somebody else's":                {0o644, nobody, false},
		"root's":                         {0o644, 0, true},
		"her own":                        {0o644, alice, true},
		"of one who may write the file":  {0o666, nobody, true},
		"none":                           {0o644, -1, true},
		"somebody else's, of no file":    {0, nobody, false},
		"root's, of no file":             {0, 0, true},
		"one of her own, and of no file": {0, alice, true},
	} {
		t.Run(name, func(t *testing.T) {
			file, guard := open(t, c.perm|0o600)
			if c.perm == 0 {
				require.NoError(t, os.Remove(file))
			}
			if c.made >= 0 {
				require.NoError(t, os.Mkdir(guard, 0o700))
				require.NoError(t, os.Chmod(guard, 0o777))
				require.NoError(t, os.Chown(guard, c.made, c.made))
			}
			for _, args := range [][]string{
				{"incr", file, "/n"},
				{"lock", file, "/n", "--", "true"},
				{"exec", "-q", "--mode", "copy", "--file", file, "--", "sh", "-c", `echo '{"n": 2}' > "$0"`, "{}"},
			} {
				status, said := as(t, alice, args...)
				if c.used {
					require.Zero(t, status, "%q: %s", args, said)
					continue
				}
				require.Contains(t, []int{77, 125}, status, "%q: %s", args, said)
				require.Contains(t, said, fmt.Sprintf("it belongs to user %d, who may not write the file", nobody))
			}
			if !c.used {
				entries, err := os.ReadDir(guard)
				require.NoError(t, err)
				require.Empty(t, entries)
			}
		})
	}
}

// TestSwappedUnderUse: names that come to lead elsewhere between two system calls lead nobody there.
func TestSwappedUnderUse(t *testing.T) {
	s := newShared(t)
	swaps := 0
	stop := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for {
			for _, place := range []string{s.guard, filepath.Join(s.guard, "pending"), filepath.Join(s.guard, "views"), filepath.Join(s.guard, "commit.0"), filepath.Join(s.guard, "settled"), s.file + ".lock"} {
				select {
				case <-stop:
					return
				default:
				}
				to := s.victims
				if info, err := os.Lstat(place); err != nil || !info.IsDir() {
					to = s.victim
				}
				away := filepath.Join(s.dir, "away")
				if os.Rename(place, away) != nil {
					continue
				}
				_ = os.Symlink(to, place)
				swaps++
				time.Sleep(time.Duration(swaps%7) * 100 * time.Microsecond)
				_ = os.Remove(place)
				if os.Rename(away, place) != nil { // somebody has made another
					_ = os.RemoveAll(away)
				}
			}
		}
	})
	for range 3 {
		s.everything()
	}
	close(stop)
	swapper.Wait()
	s.unharmed("names that are swapped")
	require.NotZero(t, swaps)
	t.Logf("%d swaps", swaps)
}

// TestNumbersAtTheirEnds: records and journals may hold any number.
func TestNumbersAtTheirEnds(t *testing.T) {
	const most = uint64(math.MaxUint64)
	for i, n := range []uint64{1 << 63, 1<<63 - 1, most, most - 1} {
		s := newShared(t)
		id := fmt.Sprintf("evil.1.%016x", i)
		head := sealed(fmt.Sprintf(`{"jsonguard":1,"id":%q,"host":"other","boot":"x","pid":%d,"command":"evil","since":"2020-01-01T00:00:00Z"}`, id, n>>1))
		line := sealed(fmt.Sprintf(`{"seq":%d,"generation":%d,"monotonic":%d,"ops":["{\"op\":\"incr\",\"at\":\"/n\"}"]}`, n, n, int64(n)))
		journal := filepath.Join(s.guard, "pending", id)
		require.NoError(t, os.WriteFile(journal, []byte(head+line), 0o600))
		s.everything()
		s.unharmed(fmt.Sprintf("seq %d", n))

		// And as the one that follows what is folded.
		for _, name := range []string{"commit.0", "commit.1"} {
			require.NoError(t, os.WriteFile(journal, []byte(head+line), 0o600))
			record := fmt.Sprintf(`{"generation":%d,"kind":"none","before":{},"after":{%q:%d},"from":{"inode":%d,"size":%d,"mtime":%d,"hash":"0000000000000000"},"to":{"inode":1,"size":1,"mtime":1,"hash":"0000000000000000"}}`, n, id, n-1, n, int64(n>>1), int64(n>>1))
			require.NoError(t, os.WriteFile(filepath.Join(s.guard, name), []byte(sealed(record)), 0o600))
			settled := sealed(fmt.Sprintf(`{"generation":%d,"after":{%q:%d}}`, n, id, n-1))
			require.NoError(t, os.WriteFile(filepath.Join(s.guard, "settled"), []byte(settled), 0o600))
			s.everything()
			s.unharmed(fmt.Sprintf("generation %d in %s", n, name))
		}
	}
}

// TestTemporaryFileThatIsNone: what a record names as its temporary file may be anything.
func TestTemporaryFileThatIsNone(t *testing.T) {
	const temp = ".a.json.0123456789abcdef.jsonguard-tmp"
	for kind, plant := range map[string]func(s *shared, path string) error{
		"FIFO":          func(_ *shared, path string) error { return unix.Mkfifo(path, 0o600) },
		"socket":        plantSocket,
		"directory":     func(_ *shared, path string) error { return os.Mkdir(path, 0o700) },
		"symbolic link": func(s *shared, path string) error { return os.Symlink(s.victim, path) },
	} {
		t.Run(kind, func(t *testing.T) {
			s := newShared(t)
			s.run(0, "recover", "--timeout", "1s", s.file)
			path := filepath.Join(s.dir, temp)
			require.NoError(t, plant(s, path))
			info, err := os.Lstat(path)
			require.NoError(t, err)
			record := fmt.Sprintf(`{"generation":1000,"kind":"replace","before":{},"after":{},"temp":%q,"from":{"inode":1,"size":1,"mtime":1,"hash":"0000000000000000"},"to":{"inode":%d,"size":%d,"mtime":%d,"hash":"0000000000000000"}}`,
				temp, info.Sys().(*syscall.Stat_t).Ino, info.Size(), info.ModTime().UnixNano())
			require.NoError(t, os.WriteFile(filepath.Join(s.guard, "commit.0"), []byte(sealed(record)), 0o600))
			s.everything()
			s.unharmed(kind)
		})
	}
}

func plantSocket(_ *shared, path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// The name of a socket has at most 107 bytes.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))})
}

// TestManyFiles: a guard directory that somebody filled up slows nobody down for long.
func TestManyFiles(t *testing.T) {
	const many = 2_000
	for _, room := range []string{"pending", "views", "history"} {
		s := newShared(t)
		require.NoError(t, os.MkdirAll(filepath.Join(s.guard, room), 0o700))
		for i := range many {
			name := fmt.Sprintf("other.%d.%016x", i, i)
			if room == "history" {
				name = fmt.Sprint(1_000_000 + i)
			}
			path := filepath.Join(s.guard, room, name)
			if room == "views" {
				require.NoError(t, os.Mkdir(path, 0o700))
			} else {
				require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("x", i%3)), 0o600))
			}
		}
		s.everything()
		s.unharmed(room)
	}
}
