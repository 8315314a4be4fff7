//go:build unix

package sidecar

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who gets the lock of programs behind a supervisor that was killed learns whether anything of its tree is open.
func TestLastHolderOfTheProgramLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, []byte(`{}`), 0o600))
	killed, err := NewSession(path, Options{})
	if err != nil {
		t.Skipf("SKIPPED: no session here: %v", err)
	}
	next, err := NewSession(path, Options{})
	require.NoError(t, err)
	defer next.Close(false)
	lock, err := os.OpenFile(killed.ProgramLock(), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer lock.Close()
	ended := func() bool {
		over, err := next.LastHolderEnded(t.Context(), lock)
		require.NoError(t, err)
		return over
	}
	require.True(t, ended(), "nobody had it")
	require.NoError(t, killed.NoteProgramLock(lock))
	require.False(t, ended(), "its supervisor lives")
	own, err := killed.LastHolderEnded(t.Context(), lock)
	require.NoError(t, err)
	require.True(t, own, "nobody waits for its own session")

	_, open, err := killed.Create(Writer{}, os.O_RDWR, 0o600, []byte(`{}`), Bases{Versions: [][]byte{[]byte(`{}`)}}, 0)
	require.NoError(t, err)
	require.NoError(t, killed.owner.Close())
	require.False(t, ended(), "a program has it open still")
	require.NoError(t, open.Close())
	require.True(t, ended(), "its tree is gone")
	_, err = next.Guard().Flush(t.Context())
	require.NoError(t, err)
	require.NoDirExists(t, killed.path)
	require.True(t, ended(), "nothing of it is left")

	for _, noted := range []string{"", "\n", "no session", sessionPrefix + "../..", sessionPrefix} {
		require.NoError(t, lock.Truncate(0))
		_, err = lock.WriteAt([]byte(noted), 0)
		require.NoError(t, err)
		require.True(t, ended(), "%q", noted)
	}
	require.NoError(t, next.NoteProgramLock(lock))
	GiveProgramLock(lock)
	content, err := os.ReadFile(next.ProgramLock())
	require.NoError(t, err)
	require.Empty(t, content)
}
