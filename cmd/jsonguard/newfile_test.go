package main

import (
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
)

// An export that is stopped before any of its calls, by a kill or by a power cut that loses any of what was not synced, leaves
// the file that was there, or none where none was; one that has ended left the new one. What a killed one left is swept by
// the next.
func TestANewFileIsThereWholeOrNotAtAll(t *testing.T) {
	const name, old = "/exports/out.parquet", "PAR1 the old one"
	fresh := "PAR1 " + strings.Repeat("the new one ", 1000)
	for _, before := range []string{"", old} {
		mem := vfs.NewMem()
		root, err := mem.OpenDir("/")
		require.NoError(t, err)
		require.NoError(t, root.Mkdir("exports", 0o755))
		if before != "" {
			require.NoError(t, makeFile(mem, name, before))
		}
		mem.Sync()
		published := false
		check := func(disk *vfs.Mem) {
			content := contentOf(t, disk, name)
			if published {
				require.Equal(t, fresh, content)
			} else {
				require.Contains(t, []string{before, fresh}, content)
			}
			require.NoError(t, makeFile(disk, name, "PAR1 the next one"))
			require.Equal(t, "PAR1 the next one", contentOf(t, disk, name))
			home, err := disk.OpenDir("/exports")
			require.NoError(t, err)
			names, err := home.Names()
			require.NoError(t, err)
			require.Equal(t, []string{"out.parquet"}, names, "and nothing beside it")
		}
		stops := 0
		stop := func() {
			stops++
			killed := mem.Clone()
			if published {
				check(killed)
			} else {
				require.Contains(t, []string{before, fresh}, contentOf(t, killed, name)) // its maker's lock is held in the copy
			}
			for _, order := range []vfs.Order{vfs.AnyOrder, vfs.InOrder} {
				cuts := mem.Cuts(order)
				for i := range min(cuts.Count(), 200) {
					check(cuts.Disk(i))
				}
			}
		}
		require.NoError(t, makeFile(vfs.NewFaults(mem, func(c vfs.Call) vfs.Fault {
			if c.Changes() {
				stop()
			}
			return vfs.Fault{}
		}), name, fresh))
		published = true
		stop()
		require.Greater(t, stops, 5)
	}
}

func makeFile(fsys vfs.FS, name, content string) error {
	f, err := createFile(fsys, name, isParquet)
	if err != nil {
		return err
	}
	defer f.close()
	if _, err := f.Write([]byte(content)); err != nil {
		return err
	}
	return f.publish()
}

// contentOf is "" where there is no such file.
func contentOf(t *testing.T, fsys vfs.FS, name string) string {
	dir, err := fsys.OpenDir("/exports")
	require.NoError(t, err)
	defer dir.Close()
	f, err := dir.OpenFile(strings.TrimPrefix(name, "/exports/"), os.O_RDONLY, 0)
	if err != nil {
		require.ErrorIs(t, err, fs.ErrNotExist)
		return ""
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(content)
}
