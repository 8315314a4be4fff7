package atomicjson

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The order in which a change becomes durable, as the kernel sees it: everything is in the temporary file and on disk
// before it gets the name, and the name is on disk before the change is acknowledged.
func TestOrderOfTheDurableReplace(t *testing.T) {
	if os.Getenv("STRACED") != "" {
		require.NoError(t, addOne(os.Getenv("STRACED")))
		return
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("SKIPPED: strace is missing: the order of system calls was not seen")
	}
	path := writeFile(t, "doc.json", `{"n": 1}`)
	log := filepath.Join(t.TempDir(), "strace")
	cmd := exec.Command("strace", "-f", "-y", "-o", log,
		"-e", "trace=openat,write,pwrite64,fchmod,fchown,fsetxattr,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,ftruncate",
		os.Args[0], "-test.run=^TestOrderOfTheDurableReplace$")
	cmd.Env = append(cmd.Environ(), "STRACED="+path)
	if out, err := cmd.CombinedOutput(); err != nil && strings.Contains(string(out), "ptrace") {
		t.Skipf("SKIPPED: strace may not trace here: %s", out)
	} else {
		require.NoError(t, err, "%s", out)
	}
	require.Equal(t, `{"n": 2}`, readFile(t, path))

	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	require.NoError(t, err)
	temp := regexp.QuoteMeta(dir) + `/\.doc\.json\.[0-9a-f]{16}\.jsonguard-tmp`
	steps := []struct{ what, pattern string }{
		{"create", `openat\(.*"\.doc\.json\.[0-9a-f]{16}\.jsonguard-tmp", [A-Z_|]*O_CREAT[A-Z_|]*O_EXCL`},
		{"write", `p?write(64)?\(\d+<` + temp + `>, "\{\\"n\\": 2\}"`},
		{"mode", `fchmod\(\d+<` + temp + `>`},
		{"sync the file", `f(data)?sync\(\d+<` + temp + `>\)`},
		{"rename", `rename(at2?)?\(.*jsonguard-tmp".*"doc\.json"`},
		{"sync the directory", `fsync\(\d+<` + regexp.QuoteMeta(dir) + `>\)`},
	}
	text := joined(readFile(t, log))
	last := 0
	for _, s := range steps {
		at := regexp.MustCompile(s.pattern).FindStringIndex(text[last:])
		require.NotNil(t, at, "%s: not after the step before it:\n%s", s.what, relevant(text))
		last += at[1]
	}
	// Nothing touches the file between its fsync and its new name.
	synced := regexp.MustCompile(steps[3].pattern).FindStringIndex(text)
	renamed := regexp.MustCompile(steps[4].pattern).FindStringIndex(text)
	require.NotRegexp(t, `(write|pwrite64|ftruncate|fchmod|fchown)\(\d+<`+temp, text[synced[1]:renamed[0]])
	require.NotContains(t, text, `"doc.json", O_WRONLY`, "the target itself is never written")
	require.NotContains(t, text, `"doc.json", O_RDWR`)
}

// joined puts a call that strace shows in two halves, because another thread's came in between, into one line where it ended.
func joined(log string) string {
	begun := map[string]string{}
	var out strings.Builder
	for line := range strings.Lines(log) {
		thread, call, _ := strings.Cut(line, " ")
		if half, ok := strings.CutSuffix(strings.TrimSpace(call), " <unfinished ...>"); ok {
			begun[thread] = half
			continue
		}
		if _, half, ok := strings.Cut(call, " resumed>"); ok && strings.HasPrefix(strings.TrimSpace(call), "<... ") {
			call = begun[thread] + half
		}
		out.WriteString(thread + " " + call)
	}
	return out.String()
}

func TestJoinedTrace(t *testing.T) {
	require.Equal(t, "8 renameat(5, \"a\", 5, \"b\") = 0\n7 fsync(11</a>)              = 0\n8 exit\n", joined(`7 fsync(11</a> <unfinished ...>
8 renameat(5, "a", 5, "b") = 0
7 <... fsync resumed>)              = 0
8 exit
`))
}

func relevant(log string) string {
	var out strings.Builder
	for line := range strings.Lines(log) {
		if strings.Contains(line, "doc.json") || strings.Contains(line, "sync") {
			out.WriteString(line)
		}
	}
	return out.String()
}
