//go:build unix

package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A string of a gigabyte is read, changed beside, run on, and kept to the byte. What that takes is logged.
func TestStringOfAGigabyte(t *testing.T) {
	if !*long {
		t.Skip("takes minutes, 4 GB of disk and 7 GB of memory: -long")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "a.json")
	f, err := os.Create(file)
	require.NoError(t, err)
	w := bufio.NewWriter(f)
	_, _ = w.WriteString(`{"a": 1, "s": "`)
	for range 1024 {
		_, _ = w.WriteString(strings.Repeat("x", 1<<20))
	}
	_, _ = w.WriteString(`", "b": 2}`)
	require.NoError(t, w.Flush())
	require.NoError(t, f.Close())
	size := func() int64 {
		info, err := os.Stat(file)
		require.NoError(t, err)
		return info.Size()
	}
	before := size()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"get", file, "/b"}, "2\n"},
		{[]string{"set", file, "/a", "2"}, ""},
		{[]string{"incr", file, "/b"}, "3\n"},
		{[]string{"update", file, ".a = 5"}, ""},
		{[]string{"exec", "-q", "--file", file, "--", "sed", "-i", `s/"a": 5/"a": 7/`, "{}"}, ""},
		{[]string{"get", file, "/a"}, "7\n"},
	} {
		cmd := jsonguard(t, c.args...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		require.NoError(t, err, "%q", c.args)
		require.Equal(t, c.want, string(out), "%q", c.args)
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		t.Logf("%-7s %6.1f s, %5.1f times the file in memory", c.args[0], cmd.ProcessState.UserTime().Seconds()+cmd.ProcessState.SystemTime().Seconds(),
			float64(usage.Maxrss)*1024/float64(before))
		require.Equal(t, before, size())
	}
}
