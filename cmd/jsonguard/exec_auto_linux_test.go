package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/tests/command"
)

// withoutSeccomp makes this test binary forbid seccomp(2) to itself, as a container may, and become the program of its
// arguments.
const withoutSeccomp = "JSONGUARD_TEST_WITHOUT_SECCOMP"

func init() {
	if os.Getenv(withoutSeccomp) == "" || len(os.Args) < 2 {
		return
	}
	_ = os.Unsetenv(withoutSeccomp)
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_SECCOMP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := filterThisThread(code); err != nil {
		panic(err)
	}
	panic(unix.Exec(os.Args[1], os.Args[1:], os.Environ()))
}

// forbidding runs jsonguard where interception is forbidden.
func forbidding(t *testing.T, args ...string) *exec.Cmd {
	self, err := os.Executable()
	require.NoError(t, err)
	as, err := exec.LookPath("jsonguard")
	require.NoError(t, err)
	cmd := exec.Command(self, append([]string{as}, args...)...)
	cmd.Env = append(os.Environ(), withoutSeccomp+"=1")
	return cmd
}

// Where interception is not possible auto takes a private copy, and says so with -v; the command line is the same.
func TestAutoFallsBack(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o644))
	run := func(args ...string) (int, string) {
		cmd := forbidding(t, args...)
		cmd.Dir = filepath.Dir(file)
		out, _ := cmd.CombinedOutput()
		return cmd.ProcessState.ExitCode(), string(out)
	}
	status, out := run("exec", "-v", "--file", file, "--", "sh", "-c", `echo '{"x": 1}' > "$0"; echo "$JSONGUARD_FILE"`, "{}")
	require.Zero(t, status, out)
	require.Contains(t, out, "exec: mode copy: interception is not supported here: no seccomp user notification (Linux 5.0): function not implemented")
	require.Contains(t, out, ".guard/views/", "it was told of a copy")
	requireContent(t, file, "{\"x\": 1}\n")

	status, out = run("exec", "--mode", "intercept", "--file", file, "--", "echo", "ran")
	require.Equal(t, statusBefore, status, out)
	require.NotContains(t, out, "ran\n")
	require.Contains(t, out, "--mode intercept interception is not supported here: no seccomp")

	for _, args := range [][]string{{"exec", "--", "echo", "ran"}, {"exec", "--file", "*.json", "--", "echo", "ran"}, {"exec", "--file", file, "--file", "b.json", "--", "echo", "ran"}} {
		status, out = run(args...)
		require.Equal(t, statusBefore, status, out)
		require.NotContains(t, out, "ran\n")
		require.Contains(t, out, "exec: no interception: ")
		require.Contains(t, out, "hint: ")
	}

	// A path that is hard-coded cannot be guarded then: what it did is said, with the reason.
	status, out = run("exec", "--file", file, "--", "sh", "-c", `echo '{"x": 2}' > a.json`)
	require.Zero(t, status, out)
	require.Contains(t, out, "not through its copy")
	require.Contains(t, out, "needs interception, and here: interception is not supported")
}

// doctor finds the same by the same probe, says what it means, and does not fail for it.
func TestDoctorWithoutInterception(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := forbidding(t, "doctor", dir)
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	require.Regexp(t, `(?m)^weak  interception +interception is not supported here: no seccomp`, string(out))
	require.Contains(t, string(out), "→ exec gives the program a private copy: its path has to come through {} or $JSONGUARD_FILE")
	cmd = forbidding(t, "doctor", "--json", dir)
	out, err = cmd.Output()
	require.NoError(t, err, "%s", out)
	var found struct {
		OK           bool
		Interception struct {
			Possible bool
			Reason   string
		}
	}
	require.NoError(t, json.Unmarshal(out, &found), "%s", out)
	require.True(t, found.OK)
	require.False(t, found.Interception.Possible)
	require.Contains(t, found.Interception.Reason, "no seccomp user notification")
}

// With interception the same command lines are guarded by the file's own name.
func TestAutoIntercepts(t *testing.T) {
	t.Parallel()
	if _, err := intercept.Probe(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "a.json")
	require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o644))
	cmd := jsonguard(t, "exec", "-v", "--file", "a.json", "--", "sh", "-c", `echo '{"x": 1}' > "$0"; echo "$0 $JSONGUARD_FILE"`, "{}")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), file+" "+file+"\n")
	require.Contains(t, string(out), "exec: mode intercept: Linux ")
	requireContent(t, file, "{\"x\": 1}\n")

	// A program's own text is not touched; nor is any argument where interception was asked for.
	for _, own := range [][]string{
		{"auto", "python3", "-c", "d={}; d['k']={}; open('a.json','w').write(str(d).replace(chr(39),chr(34)))"},
		{"auto", "find", ".", "-name", "a.json", "-exec", "sh", "-c", `printf '{"k": {%s' '}}' > "$0"`, "{}", ";"},
		{"auto", "env", "A=b", "find", ".", "-name", "a.json", "-exec", "sh", "-c", `printf '{"k": {%s' '}}' > "$0"`, "{}", ";"},
		{"intercept", "sh", "-c", `echo "{\"k\": $0}" > a.json`, "{}"},
	} {
		if _, err := exec.LookPath(own[1]); err != nil {
			t.Logf("SKIPPED: %v", err)
			continue
		}
		require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o644))
		cmd = jsonguard(t, append([]string{"exec", "--mode", own[0], "--file", "a.json", "--"}, own[1:]...)...)
		cmd.Dir = dir
		out, err = cmd.CombinedOutput()
		require.NoError(t, err, "%q: %s", own, out)
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.JSONEq(t, `{"k": {}}`, string(content), "%q: %s", own, out)
	}

	// Nor is any where no one file is meant.
	require.NoError(t, os.WriteFile(file, []byte("{\"n\": 1}\n"), 0o644))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "a.json"), []byte("{\"n\": 2}\n"), 0o644))
	for _, files := range [][]string{nil, {"--file", "a.json"}} {
		cmd = jsonguard(t, append(append([]string{"exec"}, files...), "--", "find", ".", "-name", "a.json", "-exec", "cat", "{}", ";")...)
		cmd.Dir = dir
		out, err = cmd.Output()
		require.NoError(t, err)
		require.ElementsMatch(t, []string{`{"n": 1}`, `{"n": 2}`}, strings.Split(strings.TrimSpace(string(out)), "\n"), "%v", files)
	}

	// A pattern is nobody's name.
	cmd = jsonguard(t, "exec", "--file", "*.json", "--", "echo", "[{}]")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "JSONGUARD_FILE=mine")
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "[{}]\n")
}

// Nothing is made beside a file that no program opens, nor beside one that was only guessed.
func TestExecMakesNothingBeforeItIsNeeded(t *testing.T) {
	t.Parallel()
	if _, err := intercept.Probe(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.json"), []byte("{}\n"), 0o644))
	for _, args := range [][]string{{"--file", "a.json"}, {"--file", "*.json"}, {"--file", "sub/a.json"}, nil} {
		cmd := jsonguard(t, append(append([]string{"exec", "-q"}, args...), "--", "true")...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, []string{"a.json"}, mustNames(t, dir), "%q", args)
	}
	cmd := jsonguard(t, "exec", "-q", "--", "cat", "a.json")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, []string{"a.json"}, mustNames(t, dir))

	// A directory that the program makes.
	cmd = jsonguard(t, "exec", "--file", "sub/a.json", "--", "sh", "-c", `mkdir sub; echo '{"a": 1}' > sub/a.json`)
	cmd.Dir = dir
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "jsonguard: a.json: 1 write merged\n", string(out))
	requireContent(t, filepath.Join(dir, "sub", "a.json"), "{\"a\": 1}\n")
}

// A program that gains privileges cannot under interception: it takes a copy where it is told of one, and is warned of
// otherwise.
func TestProgramsThatGainPrivileges(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root to make a setuid program")
	}
	if _, err := intercept.Probe(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	cat, err := exec.LookPath("cat")
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "jsonguard-setuid-*")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const somebody = 65534
	require.NoError(t, os.Chown(dir, somebody, somebody))
	require.NoError(t, os.Chmod(dir, 0o755))
	setuid := filepath.Join(dir, "setuid-cat")
	require.NoError(t, command.CopyExecutable(cat, setuid, 0o755))
	require.NoError(t, os.Chmod(setuid, 0o755|os.ModeSetuid))
	if !gainsPrivilegesAs(t, somebody, setuid) {
		t.Skip("SKIPPED: nothing gains privileges here")
	}
	file := filepath.Join(dir, "a.json")
	require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o644))
	require.NoError(t, os.Chown(file, somebody, somebody))
	self, err := exec.LookPath("jsonguard")
	require.NoError(t, err)
	// The test binary may lie where only we may go.
	bin := filepath.Join(dir, "jsonguard")
	require.NoError(t, command.CopyExecutable(self, bin, 0o755))
	run := func(args ...string) string {
		cmd := exec.Command(bin, append([]string{"exec", "-v", "--file", "a.json"}, args...)...)
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return string(out)
	}
	const root, nobody = "Uid:\t65534\t0\t", "Uid:\t65534\t65534\t"
	out := run("--", setuid, "/proc/self/status")
	require.Contains(t, out, nobody, "interception takes the privilege")
	require.Contains(t, out, setuid+" would gain privileges, and does not under interception: put it in front ("+setuid+" jsonguard exec …)")
	out = run("--", setuid, "{}", "/proc/self/status")
	require.Contains(t, out, root)
	require.Contains(t, out, "exec: mode copy: "+setuid+" gains privileges")
	require.NotContains(t, run("--", cat, "{}"), "privileges")
}

// gainsPrivilegesAs: the filesystem may be mounted nosuid, or we may have no_new_privs.
func gainsPrivilegesAs(t *testing.T, user uint32, path string) bool {
	cmd := exec.Command(path, "/proc/self/status")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	out, err := cmd.Output()
	require.NoError(t, err)
	return strings.Contains(string(out), "Uid:\t65534\t0\t")
}

func filterThisThread(code []unix.SockFilter) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	_, _, e := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return e
	}
	return nil
}

// A file that is a mount point is overwritten in place, under whoever reads it: nothing that a program saw would stay.
func TestAMountPointIsNotIntercepted(t *testing.T) {
	t.Parallel()
	if _, err := intercept.Probe(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	dir := t.TempDir()
	file, outside := filepath.Join(dir, "a.json"), filepath.Join(t.TempDir(), "outside.json")
	for _, f := range []string{file, outside} {
		require.NoError(t, os.WriteFile(f, []byte("{}\n"), 0o644))
	}
	if out, err := exec.Command("mount", "--bind", outside, file).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no mount to be had: %s", out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", file).Run() })
	run := func(want int, args ...string) string {
		cmd := jsonguard(t, append([]string{"exec", "-v"}, args...)...)
		cmd.Dir = dir
		out, _ := cmd.CombinedOutput()
		require.Equal(t, want, cmd.ProcessState.ExitCode(), "%s", out)
		return string(out)
	}
	write := []string{"--", "sh", "-c", `echo '{"x": 1}' > "$1"`, "sh", "{}"}
	out := run(statusBefore, append([]string{"--mode", "intercept", "--file", file}, write...)...)
	require.Contains(t, out, "mount point")
	out = run(0, append([]string{"--file", file}, write...)...)
	require.Contains(t, out, "exec: mode copy: ")
	requireContent(t, file, "{\"x\": 1}\n")
	out = run(0, "--", "sh", "-c", `echo '{"x": 2}' > a.json`)
	require.Contains(t, out, "a.json is not guarded: make session")
	requireContent(t, file, "{\"x\": 2}\n")
	out = run(1, "--", "python3", "-c", "import os; open('t.json','w').write('{}'); os.rename('t.json', 'a.json')")
	require.Contains(t, out, "Device or resource busy")
}

// What could not be merged in time is not said to be, and status counts it.
func TestExecKeepsPendingWhatItCannotMerge(t *testing.T) {
	t.Parallel()
	if _, err := intercept.Probe(); err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "a.json")
	require.NoError(t, os.WriteFile(file, []byte("{}\n"), 0o644))
	holder := jsonguard(t, "lock", file, "--", "sh", "-c", "echo held; read end")
	end, err := holder.StdinPipe()
	require.NoError(t, err)
	said, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	_, err = bufio.NewReader(said).ReadString('\n')
	require.NoError(t, err)
	cmd := jsonguard(t, "exec", "--timeout", "100ms", "--file", "a.json", "--", "sh", "-c", `echo '{"a": 1}' > a.json`)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Equal(t, statusTemporary, cmd.ProcessState.ExitCode(), "%s", out)
	require.Contains(t, string(out), "kept pending")
	require.Contains(t, string(out), "jsonguard: a.json: 1 write seen\n")
	requireContent(t, file, "{}\n")
	out, err = jsonguard(t, "status", "--json", file).Output()
	require.NoError(t, err)
	require.Contains(t, string(out), `"pending":1,"conflicts"`)
	require.NoError(t, end.Close())
	_ = holder.Wait() // read has found nothing
	require.NoError(t, jsonguard(t, "recover", "-q", file).Run())
	requireContent(t, file, "{\"a\": 1}\n")
}
