package sidecar

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// publish is Stage and Publish on any filesystem.
func (s *Session) publish(w Writer, content []byte, bases Bases) (*Scratch, error) {
	x, err := s.stage(newID(), w, content, bases, 0, false)
	if err == nil {
		err = x.Publish()
	}
	return x, s.g.fail("publish", err, "") // as those two do
}

// What is staged is nobody's but its session's; what is published may be folded before it is looked at again, and is still there to be
// read.
func TestStagedThenFoldedByAnother(t *testing.T) {
	target := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(target, []byte(`{"n":0}`), 0o644))
	s, err := NewSession(target, Options{})
	if err != nil {
		t.Skipf("SKIPPED: no session here: %v", err)
	}
	other, err := Open(target, Options{})
	require.NoError(t, err)
	defer other.Close()
	holds := func(want string) {
		_, err := other.Flush(context.Background())
		require.NoError(t, err)
		content, err := os.ReadFile(target)
		require.NoError(t, err)
		require.Equal(t, want, string(content))
	}
	x, file, err := s.Stage(Writer{PID: 7}, []byte(`{"n":1}`), Bases{Versions: [][]byte{[]byte(`{"n":0}`)}})
	require.NoError(t, err)
	defer file.Close()
	holds(`{"n":0}`)
	require.NoError(t, x.Publish())
	holds(`{"n":1}`)
	staged, err := io.ReadAll(file)
	require.NoError(t, err)
	require.Equal(t, `{"n":1}`, string(staged))
	require.NoError(t, s.Close(true))
}
