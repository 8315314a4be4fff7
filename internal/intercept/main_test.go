//go:build linux && (amd64 || arm64)

package intercept

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/tests/command"
)

// The test binary is also the supervisors and programs of its tests: this variable says which.
const roleName = "INTERCEPT_TEST_ROLE"

var roles = map[string]func(args []string) int{}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleName); role != "" {
		os.Unsetenv(roleName)
		f := roles[role]
		if f == nil {
			fmt.Fprintln(os.Stderr, "no such role:", role)
			os.Exit(2)
		}
		os.Exit(f(os.Args[1:]))
	}
	if _, err := self(); err != nil { // before anything forks: else it may be busy when it is executed
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(selfDir)
	os.Exit(code)
}

var selfDir string

// self is the test binary where everybody can execute it.
var self = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "intercept-test")
	if err != nil {
		return "", err
	}
	selfDir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "self")
	return path, command.CopyExecutable("/proc/self/exe", path, 0o755)
})

// inRole is a command that runs the test binary in a role.
func inRole(t testing.TB, role string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := self()
	require.NoError(t, err)
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), roleName+"="+role)
	return cmd
}

const nobody = 65534

func asNobody(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
}

// needs skips the test where a program is missing.
func needs(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIPPED: %s is not installed", p)
		}
	}
}

// supervise, as a role, supervises args[1:] with a plain handler that guards args[0], and ends as the command did.
func supervise(args []string) int {
	h := plainHandler(args[0])
	s, err := Start(Command{Path: args[1], Args: args[1:]}, h)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		return 125
	}
	status, err := s.Wait()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wait:", err)
		return 125
	}
	<-s.Done()
	if err := s.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "supervisor:", err)
		return 124
	}
	if err := h.failed.Load(); err != nil {
		fmt.Fprintln(os.Stderr, "handler:", *err)
		return 124
	}
	if h.count.Load() == 0 && os.Getenv("INTERCEPT_TEST_GUARDED") != "" {
		fmt.Fprintln(os.Stderr, "nothing was intercepted")
		return 123
	}
	if status.Signal != 0 {
		return 128 + int(status.Signal)
	}
	return status.Code
}

func init() { roles["supervise"] = supervise }

func plainHandler(target string) *scratchHandler {
	scratches := os.Getenv("INTERCEPT_TEST_SCRATCHES")
	h, err := newScratchHandlerAt(filepath.Dir(target), filepath.Base(target), scratches)
	if err != nil {
		panic(err)
	}
	h.unguarded = func(*Process, error) bool { return os.Getenv("INTERCEPT_TEST_ALLOW") != "" }
	return h
}

// everyThread installs a filter without a listener on the whole process.
func everyThread(code []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return e
	}
	return nil
}

// supervised runs a command in a supervisor process of its own, as nobody if asked, and returns its output.
func supervised(t testing.TB, h *scratchHandler, unprivileged bool, argv ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(argv[0])
	require.NoError(t, err)
	require.NoError(t, os.Chmod(h.scratches, 0o777))
	cmd := inRole(t, "supervise", append([]string{h.target(), path}, argv[1:]...)...)
	cmd.Env = append(cmd.Env, "INTERCEPT_TEST_SCRATCHES="+h.scratches, "INTERCEPT_TEST_GUARDED=1")
	if unprivileged {
		asNobody(cmd)
	}
	cmd.Dir = "/"
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), ErrUnsupported.Error()) {
		t.Skipf("SKIPPED: %s", out)
	}
	return string(out), err
}
