//go:build unix

package policy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Anybody can put a policy into a directory that everybody may write.
func TestASomebodyElsesPolicyIsNotUsed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can give a file away")
	}
	dir := tempDir(t)
	file := write(t, filepath.Join(dir, Name), `{}`)
	const nobody = 65534
	require.NoError(t, os.Chown(file, nobody, nobody))
	p, warnings, err := Find(filepath.Join(dir, "x.json"))
	require.NoError(t, err)
	require.Nil(t, p)
	require.Len(t, warnings, 1)
	require.Contains(t, warnings[0], "not used")

	require.NoError(t, os.Chown(dir, nobody, nobody)) // its owner could replace everything in it anyway
	p, warnings, err = Find(filepath.Join(dir, "x.json"))
	require.NoError(t, err)
	require.NotNil(t, p)
	require.Empty(t, warnings)
}
