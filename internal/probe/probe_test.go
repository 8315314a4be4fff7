package probe

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func byName(t *testing.T, findings []Finding, name string) Finding {
	t.Helper()
	for _, f := range findings {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no finding %q in %+v", name, findings)
	return Finding{}
}

// here asks this process, by other open files: flock does not care.
func here(try, path string) (bool, error) { return Tries[try](path) }

func TestDirOnAFilesystemThatWorks(t *testing.T) {
	dir := t.TempDir()
	findings, err := Dir(dir, here)
	require.NoError(t, err)
	for _, f := range findings {
		if f.Required {
			require.Equal(t, OK, f.State, "%+v", f)
		}
		require.NotEmpty(t, f.Detail, f.Name)
		require.NotEmpty(t, f.Means, f.Name)
	}
	require.Equal(t, OK, byName(t, findings, "lock between processes").State)
	requireEmpty(t, dir)
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "nothing is left behind")
}

func TestLocksThatDoNotExcludeAreSeen(t *testing.T) {
	findings, err := Dir(t.TempDir(), func(string, string) (bool, error) { return true, nil })
	require.NoError(t, err)
	flock := byName(t, findings, "lock between processes")
	require.Equal(t, Weak, flock.State, "a lease takes its place")
	require.Contains(t, flock.Detail, "two processes at once")
	require.Contains(t, flock.Means, "lease")
	own := byName(t, findings, "jsonguard's own lock")
	require.Equal(t, No, own.State, "nothing takes the place of that")
	require.True(t, own.Required)
	require.Contains(t, own.Detail, "two processes at once")
}

func TestALockThatStaysHeldIsSeen(t *testing.T) {
	findings, err := Dir(t.TempDir(), func(string, string) (bool, error) { return false, nil })
	require.NoError(t, err)
	require.Contains(t, byName(t, findings, "lock between processes").Detail, "still held")
	require.Equal(t, No, byName(t, findings, "jsonguard's own lock").State)
}

func TestTheOtherProcessThatFails(t *testing.T) {
	findings, err := Dir(t.TempDir(), func(string, string) (bool, error) { return false, errors.New("killed") })
	require.NoError(t, err)
	require.Contains(t, byName(t, findings, "lock between processes").Detail, "the other process: killed")
}

func TestDirThatIsNone(t *testing.T) {
	_, err := Dir(t.TempDir()+"/missing", here)
	require.ErrorIs(t, err, os.ErrNotExist)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Dir(file, here)
	require.ErrorContains(t, err, "not a directory")
}
