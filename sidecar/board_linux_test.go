package sidecar

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

func boardMappings(t *testing.T) int {
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return strings.Count(string(maps), "/"+boardName)
}
