//go:build linux

package session

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// Large versions are left in their files, of JSON Lines as far as they were read; but not what has a part of a line at its end.
func TestLargeBasesAreNotRead(t *testing.T) {
	lines := bytes.Repeat([]byte("{\"a\": 1}\n"), sidecar.Large/8)
	more := []byte("{\"a\": 2}\n")
	for name, c := range map[string]struct {
		first, appended []byte
		format          merge.Format
		read            int // by its program; 0: none of what was appended
		want            []byte
		inMemory        bool
	}{
		"a document":                   {append([]byte("["), append(bytes.Repeat([]byte("1,"), sidecar.Large), "1]"...)...), nil, merge.JSON, 0, nil, false},
		"lines":                        {lines, nil, merge.Lines, 0, lines, false},
		"lines, and what was not read": {lines, more, merge.Lines, 0, lines, false},
		"lines, and what was read":     {lines, more, merge.Lines, len(lines) + len(more), append(bytes.Clone(lines), more...), false},
		"lines, and a part of one":     {append(bytes.Clone(lines), more[:5]...), nil, merge.Lines, 0, lines, true},
		"few lines":                    {more, nil, merge.Lines, 0, more, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "text")
			require.NoError(t, os.WriteFile(path, c.first, 0o644))
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			require.NoError(t, err)
			defer f.Close()
			var st unix.Stat_t
			require.NoError(t, unix.Fstat(int(f.Fd()), &st))
			v := &version{file: f, stamp: stampOf(&st), live: c.format == merge.Lines}
			_, err = f.WriteAt(c.appended, int64(len(c.first)))
			require.NoError(t, err)
			_, err = f.Seek(int64(c.read), io.SeekStart)
			require.NoError(t, err)
			bases, err := basesUpTo(sidecar.Large, c.format, []*version{v}, 0)
			require.NoError(t, err)
			require.Equal(t, c.inMemory, bases.Files[0] == nil)
			got := bases.Versions[0]
			if bases.Files[0] != nil {
				require.Nil(t, got)
				got, err = sidecar.InMemory(bases.Files[0])
				require.NoError(t, err)
			}
			if c.want == nil {
				c.want = c.first
			}
			require.True(t, bytes.Equal(c.want, got))
		})
	}
}
