package sidecar

import (
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// A fold that publishes nothing leaves no descriptor of the target behind.
func TestAnOverlayClosesWhatItReads(t *testing.T) {
	m := used(t, `{"n": 1}`)
	_, err := m.process(Options{}).keepPending([]merge.Op{incr("/n")}, false)
	require.NoError(t, err)
	open := 0
	g := m.processWith(Options{}, func(c vfs.Call) vfs.Fault {
		switch {
		case c.Path != "/data/n.json":
		case c.Op == "open":
			open++
		case c.Op == "close":
			open--
		}
		return vfs.Fault{}
	})
	_, overlay, err := g.overlay(t.Context())
	require.NoError(t, err)
	require.True(t, overlay)
	require.Zero(t, open)
}
