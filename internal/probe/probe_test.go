package probe

import (
	"os"
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

func TestDirOnAFilesystemThatWorks(t *testing.T) {
	dir := t.TempDir()
	findings, err := Dir(dir, TryLock) // two open files of one process: flock does not care
	require.NoError(t, err)
	for _, f := range findings {
		if f.Required {
			require.Equal(t, OK, f.State, "%+v", f)
		}
		require.NotEmpty(t, f.Detail, f.Name)
		require.NotEmpty(t, f.Means, f.Name)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "nothing is left behind")
}

func TestLocksThatDoNotExcludeAreSeen(t *testing.T) {
	findings, err := Dir(t.TempDir(), func(string) (bool, error) { return true, nil })
	require.NoError(t, err)
	found := byName(t, findings, "lock between processes")
	require.Equal(t, No, found.State)
	require.True(t, found.Required)
	require.Contains(t, found.Detail, "two processes at once")
}

func TestALockThatStaysHeldIsSeen(t *testing.T) {
	findings, err := Dir(t.TempDir(), func(string) (bool, error) { return false, nil })
	require.NoError(t, err)
	require.Equal(t, No, byName(t, findings, "lock between processes").State)
}

func TestDirThatIsNone(t *testing.T) {
	_, err := Dir(t.TempDir()+"/missing", TryLock)
	require.ErrorIs(t, err, os.ErrNotExist)
}
