package policy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func write(t *testing.T, path, text string) string {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func tempDir(t *testing.T) string {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	return dir
}

func TestFind(t *testing.T) {
	dir := tempDir(t)
	above := write(t, filepath.Join(dir, Name), `{"files": ["runs/**/*.json", "top.json"]}`)
	beside := write(t, filepath.Join(dir, "runs/a", Name), `{"files": ["one.json"]}`)
	for target, want := range map[string]string{
		"top.json": above, "other.json": "", "runs/x.json": above, "runs/b/c/x.json": above, "runs/x.txt": "",
		"runs/a/one.json": beside,
		"runs/a/two.json": above, // the one beside does not name it
		Name:              "",
	} {
		p, warnings, err := Find(filepath.Join(dir, target))
		require.NoError(t, err)
		require.Empty(t, warnings)
		if want == "" {
			require.Nil(t, p, target)
			continue
		}
		require.NotNil(t, p, target)
		require.Equal(t, want, p.File, target)
	}
}

func TestFindWithoutFilesMeansEveryFileBelow(t *testing.T) {
	dir := tempDir(t)
	write(t, filepath.Join(dir, "p", Name), `{}`)
	p, _, err := Find(filepath.Join(dir, "p/q/r.json"))
	require.NoError(t, err)
	require.NotNil(t, p)
	require.False(t, p.Names(filepath.Join(dir, "x.json")))
	require.False(t, p.Names(filepath.Join(dir, "p", Name)), "a policy is not its own target")
}

func TestABadPolicyOnTheWayIsAnError(t *testing.T) {
	dir := tempDir(t)
	write(t, filepath.Join(dir, Name), `{}`)
	write(t, filepath.Join(dir, "a", Name), `{"fils": []}`)
	_, _, err := Find(filepath.Join(dir, "a/b/x.json"))
	require.ErrorContains(t, err, `unknown key "fils"`)
}

func TestWhatIsNoFileIsNoPolicy(t *testing.T) {
	dir := tempDir(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, Name), 0o755))
	p, _, err := Find(filepath.Join(dir, "x.json"))
	require.NoError(t, err)
	require.Nil(t, p)
	_, err = Load(filepath.Join(dir, Name))
	require.ErrorContains(t, err, "not a regular file")
}
