//go:build linux

package session

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/intercept"
)

// A program makes a file private by the descriptor that it wrote it through, while a fold is under way, whose file has what the target had
// when it began.
func TestAModeThatIsSetDuringAFold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	const before, private = 0o644, 0o600
	require.NoError(t, os.WriteFile(path, []byte(`{"n":0}`), before))
	require.NoError(t, os.Chmod(path, before))
	tree := New(Options{Dir: filepath.Dir(path), Files: []string{path}})
	x := targetAt(t, tree, path)
	scratch, err := os.Create(filepath.Join(t.TempDir(), "scratch"))
	require.NoError(t, err)
	defer scratch.Close()
	require.NoError(t, scratch.Chmod(before))
	w := &writer{t: x, process: &intercept.Process{PID: os.Getpid()}, file: scratch}
	w.made, err = attributesOf(scratch)
	require.NoError(t, err)

	x.mu.Lock()
	err = x.need()
	x.folding = true
	require.NoError(t, scratch.Chmod(private))
	x.takeAttributes(w)
	x.unlock()
	if err != nil {
		t.Skipf("SKIPPED: no session here: %v", err)
	}
	mode := func() fs.FileMode {
		info, err := os.Stat(path)
		require.NoError(t, err)
		return info.Mode().Perm()
	}
	require.Equal(t, fs.FileMode(private), mode())
	require.NoError(t, os.Chmod(path, before)) // the file that the fold made
	require.NoError(t, x.fold())
	require.Equal(t, fs.FileMode(private), mode())
	require.False(t, x.folding)
	require.Empty(t, x.again)
}
