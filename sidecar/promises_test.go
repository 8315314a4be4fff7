package sidecar

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
	"jsonguard/merge"
)

// An import is diffed before any lock: what cannot be parsed is refused while somebody else holds the lock.
func TestImportIsDiffedBeforeAnyLock(t *testing.T) {
	path := emptyObject(t)
	l, err := lock.Acquire(t.Context(), path)
	require.NoError(t, err)
	defer l.Release()
	g, err := Open(path, Options{Timeout: time.Minute})
	require.NoError(t, err)
	defer g.Close()
	began := time.Now()
	_, err = g.Import(t.Context(), []byte("{}"), []byte(`{"a": `))
	var syntax *merge.SyntaxError
	require.ErrorAs(t, err, &syntax)
	require.Less(t, time.Since(began), 30*time.Second, "the timeout for locks is a minute")
}

func TestAnAttributeThatCannotBeKeptIsSaidOnce(t *testing.T) {
	m := newMachine(t, `{"a": 1}`)
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "copymeta" {
			return vfs.Fault{Err: syscall.EPERM}
		}
		return vfs.Fault{}
	}
	var warned []string
	g := m.process(Options{Warn: func(text string) { warned = append(warned, text) }})
	for i := range 2 {
		_, err := g.Apply(t.Context(), setOp("/a", i+2))
		require.NoError(t, err)
	}
	content, err := g.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, `{"a": 3}`, string(content), "the data lands all the same")
	require.Len(t, warned, 1)
	require.True(t, strings.Contains(warned[0], "not kept") && strings.Contains(warned[0], machineFile), warned[0])
}

// Who looks again and again reads a version once, also one that no fold left: watch would else never rest.
func TestStatusReadsAVersionOnce(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	g := m.process(Options{History: &History{}})
	for range 2 {
		_, err := g.Apply(t.Context(), incr("/n"))
		require.NoError(t, err)
	}
	m.replace(`{"n":9}`)
	reads := 0
	m.before = func(c vfs.Call) vfs.Fault {
		if c.Op == "read" && c.Path == machineDir+"/"+machineFile {
			reads++
		}
		return vfs.Fault{}
	}
	for look := range 3 {
		status, err := g.Status(t.Context())
		require.NoError(t, err)
		require.True(t, status.Unguarded)
		if look == 0 {
			require.NotZero(t, reads)
			reads = 0
		}
		require.Zero(t, reads)
	}
}
