package generations

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/vfs"
	"jsonguard/lock"
)

// set is what a generation holds: names and contents.
type set map[string]string

// step makes the next generation: of the files that it keeps and those that it adds.
type step struct {
	keep []string
	add  set
}

// steps add, join, drop, and keep one of two; sets are what there is after each of them, before the first nothing.
var (
	steps = []step{
		{add: set{"a": "A"}},
		{keep: []string{"a"}, add: set{"b": "B"}},
		{add: set{"ab": "A and B"}},
		{keep: []string{"ab"}},
		{keep: []string{"ab"}, add: set{"c": "C"}},
		{keep: []string{"c"}},
	}
	sets = []set{nil, {"a": "A"}, {"a": "A", "b": "B"}, {"ab": "A and B"}, {"ab": "A and B"}, {"ab": "A and B", "c": "C"}, {"c": "C"}}
)

func (s step) publish(d *Dir) error {
	next, err := d.Begin()
	if err != nil {
		return err
	}
	defer next.Abort()
	for _, name := range s.keep {
		if err := next.Keep(name); err != nil {
			return err
		}
	}
	for name, content := range s.add {
		if err := write(next.dir, name, content); err != nil {
			return err
		}
	}
	return next.Publish()
}

// write makes a file as its makers do: whole and on disk before it has its name.
func write(dir vfs.Dir, name, content string) error {
	const temp = ".new.tmp"
	f, err := dir.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(content))
	return errors.Join(err, f.Sync(), f.Close(), dir.Rename(temp, name))
}

// seen is what a reader finds who knows nothing of generations; nil: nothing was published.
func seen(fsys vfs.FS, path string) (set, error) {
	dir, err := fsys.OpenDir(filepath.Join(path, Link))
	if errors.Is(err, fs.ErrNotExist) {
		if above, oerr := fsys.OpenDir(path); oerr == nil {
			defer above.Close()
			if to, lerr := above.Readlink(Link); lerr == nil {
				return nil, errors.New("the link leads to " + to + ", which is not there")
			}
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Names()
	found := set{}
	for _, name := range names {
		f, err := dir.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		found[name] = string(content)
	}
	return found, err
}

// alone holds a lock that nobody else wants.
type alone struct{}

func (alone) Check() error   { return nil }
func (alone) Release() error { return nil }

const home = "/home"

func newMem(t *testing.T) *vfs.Mem {
	mem := vfs.NewMem()
	root, err := mem.OpenDir("/")
	require.NoError(t, err)
	require.NoError(t, root.Mkdir("home", 0o755))
	mem.Sync()
	return mem
}

func openMem(t *testing.T, fsys vfs.FS) *Dir {
	dir, err := fsys.OpenDir(home)
	require.NoError(t, err)
	d, err := open(home, dir, alone{})
	require.NoError(t, err)
	d.perm = 0o755
	return d
}

// Stopped before any call, by a kill or by a power cut that loses any of what was not synced, readers find the set that was
// published last or the one that was about to be; and the next maker goes on from there.
func TestEveryStop(t *testing.T) {
	mem := newMem(t)
	r := rand.New(rand.NewPCG(1, 2))
	published, stops := 0, 0
	var check func(disk *vfs.Mem, from, to int, deeper bool)
	// stop looks at what is left if the calls that come after this one never do.
	stop := func(mem *vfs.Mem, from, to int, deeper bool, most int) {
		stops++
		check(mem.Clone(), from, to, deeper)
		for _, order := range []vfs.Order{vfs.AnyOrder, vfs.InOrder} {
			cuts := mem.Cuts(order)
			n := cuts.Count()
			for i := range min(n, most) {
				disk := cuts.Sample(r)
				if n <= most {
					disk = cuts.Disk(i)
				}
				check(disk, from, to, deeper)
			}
		}
	}
	check = func(disk *vfs.Mem, from, to int, deeper bool) {
		found, err := seen(disk, home)
		require.NoError(t, err)
		at := -1
		for i := from; i <= to && at < 0; i++ {
			if maps.Equal(found, sets[i]) && (found == nil) == (sets[i] == nil) {
				at = i
			}
		}
		require.GreaterOrEqual(t, at, 0, "%d were published, and a reader finds %v", from, found)
		if at == len(steps) {
			return
		}
		fsys := vfs.FS(disk)
		if deeper {
			fsys = vfs.NewFaults(disk, func(c vfs.Call) vfs.Fault {
				if c.Changes() {
					stop(disk, from, at+1, false, 4)
				}
				return vfs.Fault{}
			})
		}
		d := openMem(t, fsys)
		require.NoError(t, steps[at].publish(d))
		require.NoError(t, d.Close())
		after, err := seen(disk, home)
		require.NoError(t, err)
		require.Equal(t, sets[at+1], after, "the next one")
	}
	d := openMem(t, vfs.NewFaults(mem, func(c vfs.Call) vfs.Fault {
		if c.Changes() {
			stop(mem, published, min(published+1, len(steps)), true, 40)
		}
		return vfs.Fault{}
	}))
	for _, s := range steps {
		require.NoError(t, s.publish(d))
		published++
		stop(mem, published, published, true, 40)
	}
	names, err := d.dir.Names()
	require.NoError(t, err)
	require.Equal(t, []string{"5", "6", Link}, names, "the current one and the one before")
	t.Logf("%d stops", stops)
}

// A call that fails leaves readers what they had, and nothing that the next maker stumbles over.
func TestEachCallFailsOnce(t *testing.T) {
	for failing := 1; ; failing++ {
		mem := newMem(t)
		calls, failed := 0, ""
		fsys := vfs.NewFaults(mem, func(c vfs.Call) vfs.Fault {
			if c.Changes() {
				calls++
			}
			if calls == failing && c.Changes() {
				failed = c.Op + " " + c.Path
				return vfs.Fault{Err: fs.ErrPermission}
			}
			return vfs.Fault{}
		})
		d := openMem(t, fsys)
		for i, s := range steps {
			err := s.publish(d)
			if err != nil {
				found, serr := seen(mem, home)
				require.NoError(t, serr)
				require.Contains(t, []set{sets[i], sets[i+1]}, found, failed)
				require.NoError(t, d.Close())
				d = openMem(t, fsys) // as the next process does
				if !maps.Equal(found, sets[i+1]) || found == nil {
					require.NoError(t, s.publish(d), failed)
				}
			}
			found, err := seen(mem, home)
			require.NoError(t, err)
			require.Equal(t, sets[i+1], found, failed)
		}
		if failed == "" {
			require.Greater(t, failing, 40)
			return
		}
	}
}

// On the real filesystem: a file that is kept is the same file, one maker waits for the other, and a directory of something
// else is left alone.
func TestOnDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "not", "there", "yet")
	d, err := Open(t.Context(), path)
	require.NoError(t, err)
	_, err = Open(t.Context(), path, lock.Timeout(10*time.Millisecond))
	require.ErrorIs(t, err, lock.ErrTimeout)
	require.Zero(t, d.Number())
	for i, s := range steps[:2] {
		require.NoError(t, s.publish(d))
		require.Equal(t, i+1, d.Number())
	}
	files, err := d.Files()
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, files)
	before, err := os.Stat(filepath.Join(path, "1", "a"))
	require.NoError(t, err)
	now, err := os.Stat(filepath.Join(path, Link, "a"))
	require.NoError(t, err)
	require.True(t, os.SameFile(before, now), "nothing is copied")
	next, err := d.Begin()
	require.NoError(t, err)
	next.Abort()
	require.NoDirExists(t, next.Dir())
	require.NoError(t, d.Close())
	found, err := seen(vfs.OS, path)
	require.NoError(t, err)
	require.Equal(t, sets[2], found)

	other := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(other, "notes.txt"), nil, 0o644))
	_, err = Open(t.Context(), other)
	require.ErrorIs(t, err, ErrForeign)
	require.NoError(t, os.Mkdir(filepath.Join(other, "2"), 0o755))
	entries, err := os.ReadDir(other)
	require.NoError(t, err)
	require.Equal(t, []string{"2", "notes.txt"}, slices.Collect(func(yield func(string) bool) {
		for _, e := range entries {
			if !yield(e.Name()) {
				return
			}
		}
	}), "left as it was")
}

// A generation stays for a while after another took its place, and has another name while it is being removed.
func TestOldGenerationsStayForAWhile(t *testing.T) {
	require.Equal(t, time.Minute, grace, "docs/PARQUET.md promises it")
	path := t.TempDir()
	numbers := func() (list []string) {
		entries, err := os.ReadDir(path)
		require.NoError(t, err)
		for _, e := range entries {
			if e.IsDir() {
				list = append(list, e.Name())
			}
		}
		return list
	}
	d, err := Open(t.Context(), path)
	require.NoError(t, err)
	for _, s := range steps[:5] {
		require.NoError(t, s.publish(d))
	}
	require.Equal(t, []string{"1", "2", "3", "4", "5"}, numbers())
	long := time.Now().Add(-2 * grace)
	require.NoError(t, os.Chtimes(filepath.Join(path, "2"), long, long)) // since when 1 was not current
	require.NoError(t, os.Chtimes(filepath.Join(path, "3"), long, long))
	require.NoError(t, os.Mkdir(filepath.Join(path, ".17"), 0o755)) // of one who was killed while he removed it
	require.NoError(t, steps[5].publish(d))
	require.Equal(t, []string{"3", "4", "5", "6"}, numbers())
	require.NoError(t, d.Close())
	at := time.Now().Add(2 * grace) // the clock was put back
	for _, name := range numbers() {
		require.NoError(t, os.Chtimes(filepath.Join(path, name), at, at))
	}
	d, err = Open(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, []string{"5", "6"}, numbers())
	require.NoError(t, d.Close())
}

// Where a filesystem has no links, what is kept is copied.
func TestWithoutLinks(t *testing.T) {
	mem := newMem(t)
	d := openMem(t, vfs.NewFaults(mem, func(c vfs.Call) vfs.Fault {
		if c.Op == "link" {
			return vfs.Fault{Err: fs.ErrPermission}
		}
		return vfs.Fault{}
	}))
	for i, s := range steps {
		require.NoError(t, s.publish(d))
		found, err := seen(mem, home)
		require.NoError(t, err)
		require.Equal(t, sets[i+1], found)
	}
}
