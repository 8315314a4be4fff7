package vfs

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// One of the two may be known to have no flock, and the other not.
func TestLinkBetweenWithAndWithoutFlock(t *testing.T) {
	dir, err := OS.OpenDir(t.TempDir())
	require.NoError(t, err)
	f, err := dir.OpenFile("a", os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NoError(t, dir.Link("a", WithoutFlock(dir), "b"))
	require.NoError(t, WithoutFlock(dir).Link("a", dir, "c"))
	require.NoError(t, WithoutFlock(dir).Link("a", WithoutFlock(dir), "d"))
}
