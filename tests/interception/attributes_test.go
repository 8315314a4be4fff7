//go:build linux

package interception

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

const modeByDescriptor = `open F, ">", "r.json"; chmod 0600, *F or die; print F '{"a": 1}'; close F`

// Who keeps a file to itself by its descriptor has kept it to itself. A named file keeps that mode where something of another mode is renamed
// onto it.
func TestModeByADescriptor(t *testing.T) {
	asBothUsers(t, "named", func(t *testing.T, asUser func(*lab, ...*exec.Cmd)) {
		needs(t, "perl")
		l := newLab(t)
		l.write("r.json", `{"a": 0}`)
		closed := l.guarded(results, "perl", "-e", modeByDescriptor)
		renamed := l.guarded(results, "sh", "-ec", `umask 022; echo '{"a": 2}' > t; mv t r.json`)
		asUser(l, closed, renamed)
		l.together(closed)
		require.Equal(t, os.FileMode(0o600), l.mode("r.json"))
		l.together(renamed)
		require.Equal(t, os.FileMode(0o600), l.mode("r.json"))
		require.JSONEq(t, `{"a": 2}`, l.read("r.json"))
	})
}

// The scratch file is the program's own, the target need not be: a supervisor of root is no ladder.
func TestModeOfAnothersFile(t *testing.T) {
	needs(t, "perl")
	l := newLab(t)
	l.write("r.json", `{"a": 0}`)
	l.asNobody() // the way to it
	cmd := l.guarded(results, "perl", "-e", `$) = "65534 65534"; $> = 65534; `+modeByDescriptor)
	require.NoError(t, os.Chown(l.path("r.json"), 0, 0))
	require.NoError(t, os.Chmod(l.path("r.json"), 0o666))
	l.together(cmd)
	require.Equal(t, os.FileMode(0o666), l.mode("r.json"))
	require.JSONEq(t, `{"a": 1}`, l.read("r.json"))
}

func (l *lab) mode(name string) os.FileMode {
	info, err := os.Stat(l.path(name))
	require.NoError(l, err)
	return info.Mode().Perm()
}
