//go:build linux && (amd64 || arm64)

package intercept

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// answering answers every call with the same, and tells what it was asked.
type answering struct {
	*scratchHandler
	known  map[ID]bool
	answer error
	mu     sync.Mutex
	asked  []string
}

func (h *answering) Known(id ID) bool { return h.known[id] }

func (h *answering) say(format string, args ...any) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked = append(h.asked, fmt.Sprintf(format, args...))
	return h.answer
}

func (h *answering) short(p *Place) string {
	s := strings.TrimPrefix(p.Path, h.dir+"/")
	if p.Object == nil {
		return s + "?"
	}
	return s
}

func (h *answering) Open(_ *Call, p *Place, how OpenHow) (*os.File, error) {
	return nil, h.say("open %s %#x %#o", h.short(p), how.Flags&^unix.O_CLOEXEC, how.Mode)
}
func (h *answering) Rename(_ *Call, from, to *Place, flags uint) error {
	return h.say("rename %s %s %d", h.short(from), h.short(to), flags)
}
func (h *answering) Remove(_ *Call, p *Place, directory bool) error {
	return h.say("remove %s %v", h.short(p), directory)
}
func (h *answering) Link(_ *Call, from, to *Place) error {
	return h.say("link %s %s", h.short(from), h.short(to))
}
func (h *answering) Symlink(_ *Call, text string, p *Place) error {
	return h.say("symlink %s %s", text, h.short(p))
}
func (h *answering) Truncate(_ *Call, p *Place, size int64) error {
	return h.say("truncate %s %d", h.short(p), size)
}
func (h *answering) Touch(_ *Call, p *Place) error { return h.say("touch %s", h.short(p)) }
func (h *answering) Pending() bool                 { return true }
func (h *answering) Stat(_ *Call, p *Place) (*os.File, error) {
	return nil, h.say("stat %s", h.short(p))
}
func (h *answering) Identity(_ *Call, d Descriptor) ID {
	_ = h.say("fstat %s", strings.TrimPrefix(d.Path, h.dir+"/"))
	return ID{unix.Mkdev(7, 7), 7777}
}
func (h *answering) Lock(_ *Call, d Descriptor, l LockRequest) error {
	return h.say("lock %s %+v", strings.TrimPrefix(d.Path, h.dir+"/"), l)
}
func (h *answering) Sync(_ *Call, d Descriptor) error {
	return h.say("sync %s", strings.TrimPrefix(d.Path, h.dir+"/"))
}

// calls are made by Python in a directory with guarded.json, a symlink "link" to it, and a directory "sub" that is
// known; want is what the handler is asked.
var calls = []struct{ python, want string }{
	{`os.open("guarded.json", os.O_RDWR | os.O_CREAT, 0o640)`, "open guarded.json 0x42 0640"},
	{`os.open("link", os.O_RDWR)`, "open guarded.json 0x2 0"},
	{`os.open("link", os.O_RDWR | os.O_NOFOLLOW)`, ""},
	{`os.open("sub/guarded.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)`, "open sub/guarded.json? 0xc1 0600"},
	{`os.open(".", os.O_RDONLY | os.O_DIRECTORY)`, ""},
	{`os.open("other", os.O_RDWR)`, ""},
	{`call("creat", b"guarded.json", 0o600)`, "open guarded.json 0x241 0600"},
	{`os.rename("guarded.json", "x")`, "rename guarded.json x? 0"},
	{`os.rename("other", "guarded.json")`, "rename other guarded.json 0"},
	{`os.rename("sub", "sub2")`, "rename sub sub2? 0"},
	{`os.rename("sub/", "sub2/")`, "rename sub sub2? 0"},
	{`os.rename("other", "x")`, ""},
	{`call("renameat2", -100, b"guarded.json", -100, b"other", 2)`, "rename guarded.json other 2"},
	{`os.unlink("guarded.json")`, "remove guarded.json false"},
	{`os.unlink("link")`, ""},
	{`os.unlink("sub/../guarded.json")`, "remove guarded.json false"},
	{`os.rmdir("sub")`, "remove sub true"},
	{`os.rmdir("sub/")`, "remove sub true"},
	{`os.rmdir("none")`, "remove none? true"},
	{`os.link("guarded.json", "x")`, "link guarded.json x?"},
	{`os.link("link", "x")`, ""},
	{`os.link("link", "x", src_dir_fd=D, follow_symlinks=True)`, "link guarded.json x?"},
	{`os.symlink("a/guarded.json", "x")`, ""},
	{`os.symlink("somewhere", "sub/guarded.json")`, "symlink somewhere sub/guarded.json?"},
	{`os.truncate("guarded.json", 7)`, "truncate guarded.json 7"},
	{`os.truncate("link", 7)`, "truncate guarded.json 7"},
	{`os.chmod("guarded.json", 0o600)`, "touch guarded.json"},
	{`os.chown("link", 0, 0)`, "touch guarded.json"},
	{`os.chown("link", 0, 0, follow_symlinks=False)`, ""},
	{`os.utime("guarded.json")`, "touch guarded.json"},
	{`os.utime("guarded.json", dir_fd=D)`, "touch guarded.json"},
	{`os.setxattr("guarded.json", "user.a", b"1")`, "touch guarded.json"},
	{`os.setxattr("link", "user.a", b"1", follow_symlinks=False)`, ""},
	{`os.removexattr("guarded.json", "user.a")`, "touch guarded.json"},
	{`fcntl.flock(F, fcntl.LOCK_SH | fcntl.LOCK_NB)`, "lock guarded.json {Kind:0 Exclusive:false Unlock:false Wait:false Start:0 Len:0}"},
	{`fcntl.flock(F, fcntl.LOCK_UN)`, "lock guarded.json {Kind:0 Exclusive:false Unlock:true Wait:true Start:0 Len:0}"},
	{`fcntl.lockf(F, fcntl.LOCK_EX, 10, 5)`, "lock guarded.json {Kind:1 Exclusive:true Unlock:false Wait:true Start:5 Len:10}"},
	{`os.lseek(F, 3, 0); fcntl.lockf(F, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5, 1)`, "lock guarded.json {Kind:1 Exclusive:true Unlock:false Wait:false Start:8 Len:10}"},
	{`fcntl.fcntl(F, 37, struct.pack("hhqqi4x", 0, 0, 1, 2, 0))`, "lock guarded.json {Kind:2 Exclusive:false Unlock:false Wait:false Start:1 Len:2}"},
	{`fcntl.fcntl(F, fcntl.F_GETFL)`, ""},
	{`fcntl.flock(O, fcntl.LOCK_EX)`, ""},
	{`os.stat("guarded.json")`, "stat guarded.json"},
	{`os.stat("link")`, "stat guarded.json"},
	{`os.stat("guarded.json", dir_fd=D)`, "stat guarded.json"},
	{`os.stat("other")`, ""},
	{`os.lstat("guarded.json")`, ""},
	{`call("access", b"guarded.json", 4)`, "stat guarded.json"},
	{`call("faccessat", D, b"guarded.json", 4, 0x200)`, "stat guarded.json"},
	{`statx(D, b"guarded.json", 0)`, "stat guarded.json"},
	{`statx(D, b"guarded.json", 0x100)`, ""},
	{`os.fsync(F)`, "sync guarded.json"},
	{`os.fdatasync(F)`, "sync guarded.json"},
	{`os.fsync(O)`, ""},
}

func TestCalls(t *testing.T) {
	needs(t, "python3")
	h := &answering{scratchHandler: newScratchHandler(t), known: map[ID]bool{}, answer: syscall.EDOM}
	require.NoError(t, os.WriteFile(h.target(), []byte("0123456789"), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(h.dir, "other"), nil, 0o666))
	require.NoError(t, os.Symlink("guarded.json", filepath.Join(h.dir, "link")))
	require.NoError(t, os.Symlink("guarded.json", filepath.Join(h.dir, "spare")))
	require.NoError(t, os.Mkdir(filepath.Join(h.dir, "sub"), 0o777))
	// Descriptors from before the start.
	guarded, err := os.OpenFile(h.target(), os.O_RDWR, 0)
	require.NoError(t, err)
	defer guarded.Close()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(filepath.Join(h.dir, "sub"), &st))
	h.known[idOf(&st)] = true
	var script strings.Builder
	script.WriteString(`
import ctypes, errno, fcntl, os, shutil, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    r = getattr(libc, name)(*args)
    if r < 0: raise OSError(ctypes.get_errno(), "")
def statx(fd, path, flags):
    buf = ctypes.create_string_buffer(256)
    call("statx", fd, path, flags, 0xfff, buf)
    return buf.raw
os.chdir(sys.argv[1])
D = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
O = os.open("other", os.O_RDWR)
F = 3
def fresh():
    # What a call that passed has done is undone.
    if not os.path.lexists("other"): os.rename("x", "other")
    if os.path.lexists("x"): os.unlink("x")
    if not os.path.lexists("link"): os.rename("spare", "link")
`)
	for _, c := range calls {
		fmt.Fprintf(&script, `
try:
    %s
    print("done")
except OSError as e: print(errno.errorcode[e.errno])
fresh()
`, c.python)
	}
	out := h.python(t, script.String(), guarded)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	require.Len(t, lines, len(calls), out)
	at := 0
	for i, c := range calls {
		if c.want == "" {
			require.NotEqual(t, "EDOM", lines[i], c.python)
			continue
		}
		require.Equal(t, "EDOM", lines[i], c.python)
		require.Less(t, at, len(h.asked), c.python)
		require.Equal(t, c.want, h.asked[at], c.python)
		at++
	}
	require.Equal(t, h.asked[:at], h.asked)
}

// fstat(2) of a guarded descriptor says what the handler says, and the rest as it is.
func TestIdentity(t *testing.T) {
	needs(t, "python3")
	h := &answering{scratchHandler: newScratchHandler(t), answer: Continue}
	require.NoError(t, os.WriteFile(h.target(), []byte("0123456789"), 0o640))
	guarded, err := os.OpenFile(h.target(), os.O_RDWR, 0)
	require.NoError(t, err)
	defer guarded.Close()
	out := h.python(t, `
import ctypes, os, struct
libc = ctypes.CDLL(None, use_errno=True)
def show(st): print(os.major(st.st_dev), os.minor(st.st_dev), st.st_ino, st.st_size, oct(st.st_mode))
show(os.fstat(3))
def statx(fd, path):
    b = ctypes.create_string_buffer(256)
    assert libc.statx(fd, path, 0x1000, 0xfff, b) == 0
    print(*struct.unpack_from("II", b.raw, 136), *struct.unpack_from("QQ", b.raw, 32))
statx(3, b"")
o = os.open("/dev/null", os.O_RDONLY)
assert os.fstat(o).st_ino != 7777
d = os.open("/", os.O_RDONLY)
before = len(os.listdir("/proc/self/fd"))
b = ctypes.create_string_buffer(256)
assert libc.fstatat(d, b"etc", b, 0x1000) == 0
assert struct.unpack_from("Q", b.raw, 8)[0] == os.stat("/etc").st_ino
assert libc.syscall(ctypes.c_long({"x86_64": 5, "aarch64": 80}[os.uname().machine]), 3, ctypes.c_void_p(1)) == -1
print(ctypes.get_errno())`, guarded)
	require.Equal(t, "7 7 7777 10 0o100640\n7 7 7777 10\n14\n", out)
}

// python runs a script with the descriptor as 3.
func (h *answering) python(t testing.TB, script string, f *os.File) string {
	t.Helper()
	file := filepath.Join(sharedTemp(t), "script.py")
	require.NoError(t, os.WriteFile(file, []byte(script), 0o666))
	s := launchWith(t, h, []*os.File{f}, "python3", file, h.dir)
	out, status := s.finish(t)
	require.Equal(t, Status{}, status, out)
	return out
}

// What a handler answers is what the call returns, and the kernel does nothing.
func TestAnswers(t *testing.T) {
	for _, a := range []struct {
		answer error
		want   string
	}{
		{nil, "0 True"},
		{syscall.ENOSPC, "28 True"},
		{fmt.Errorf("wrapped: %w", syscall.EROFS), "30 True"},
		{errors.New("no errno"), "5 True"},
		{Continue, "0 False"},
	} {
		t.Run(fmt.Sprint(a.answer), func(t *testing.T) {
			needs(t, "python3")
			h := &answering{scratchHandler: newScratchHandler(t), answer: a.answer}
			require.NoError(t, os.WriteFile(h.target(), nil, 0o666))
			s := launch(t, h, "python3", "-c", `
import os, sys
try: os.unlink(sys.argv[1]); r = 0
except OSError as e: r = e.errno
print(r, os.path.lexists(sys.argv[1]))`, h.target())
			<-s.Done()
			<-s.eof
			require.Equal(t, a.want+"\n", s.out.String())
			if a.answer != nil && a.answer.Error() == "no errno" {
				require.ErrorContains(t, s.Err(), "no errno")
			} else {
				require.NoError(t, s.Err())
			}
		})
	}
}
