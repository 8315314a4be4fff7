package sidecar

import (
	"bytes"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
)

// However a version is cut into pieces, it is the same version.
func TestPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	cut := func(content []byte) (p pieces) {
		for rest := content; len(rest) > 0; {
			n := 1 + random.IntN(len(rest))
			p, rest = append(p, slices.Clone(rest[:n])), rest[n:]
		}
		return p
	}
	dir, err := vfs.OS.OpenDir(t.TempDir())
	require.NoError(t, err)
	for round := range 200 {
		content := make([]byte, random.IntN(1<<(1+round%19)))
		for i := range content {
			content[i] = byte(random.IntN(256))
		}
		p, q := cut(content), cut(content)
		require.Equal(t, int64(len(content)), p.size())
		require.True(t, bytes.Equal(content, p.whole()))
		require.True(t, p.equal(q))
		require.Equal(t, contentHash(content), p.hash())

		file, err := dir.OpenFile("f", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		require.NoError(t, err)
		require.NoError(t, p.writeTo(file))
		info, err := file.Stat()
		require.NoError(t, err)
		target := &snapshot{file: file, info: info}
		require.True(t, target.holds(q))
		written, err := target.read()
		require.NoError(t, err)
		require.True(t, bytes.Equal(content, written))
		if len(content) > 0 {
			at := random.IntN(len(q))
			q[at][random.IntN(len(q[at]))]++
			require.False(t, p.equal(q))
			require.False(t, target.holds(q))
			require.False(t, p.equal(append(p[:len(p):len(p)], []byte{0})))
		}
		require.NoError(t, file.Close())
	}
}

// A large version is written in parts and read in halves.
func TestLargePieces(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 20<<20/16)
	content = append(content, "the end"...)
	dir, err := vfs.OS.OpenDir(t.TempDir())
	require.NoError(t, err)
	file, err := dir.OpenFile("f", os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer file.Close()
	require.NoError(t, pieces{content[:100], content[100 : 19<<20], content[19<<20:]}.writeTo(file))
	read, _, err := readAll(file)
	require.NoError(t, err)
	require.True(t, bytes.Equal(content, read))
}
