package sidecar

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Who intercepts what programs write is among those that Status shows, alive and after it died.
func TestStatusShowsSessions(t *testing.T) {
	target := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(target, []byte("{}"), 0o644))
	s, err := NewSession(target, Options{Command: "python3 runner.py"})
	if err != nil {
		t.Skipf("SKIPPED: no session here: %v", err)
	}
	g, err := Open(target, Options{})
	require.NoError(t, err)
	defer g.Close()
	owners := func() []Owner {
		st, err := g.Status(context.Background())
		require.NoError(t, err)
		return st.Sidecars
	}
	all := owners()
	require.Len(t, all, 1)
	require.False(t, all[0].Since.IsZero())
	host, _ := os.Hostname()
	want := Owner{ID: s.id, Host: host, PID: os.Getpid(), Command: "python3 runner.py", Since: all[0].Since, Live: true, Session: true}
	require.Equal(t, want, all[0])

	_, err = s.publish(Writer{PID: 7}, []byte(`{"n":1}`), Bases{Versions: [][]byte{[]byte("{}")}})
	require.NoError(t, err)
	require.NoError(t, s.owner.Close()) // as a kill does
	want.Live, want.Pending = false, 1
	require.Equal(t, []Owner{want}, owners())
	st, err := g.Status(context.Background())
	require.NoError(t, err)
	require.Equal(t, 1, st.Pending)
	_, err = g.Flush(context.Background())
	require.NoError(t, err)
	require.Empty(t, owners())
	content, err := os.ReadFile(target)
	require.NoError(t, err)
	require.Equal(t, `{"n":1}`, string(content))
	s.owner = nil
	require.NoError(t, s.Close(false))
}
