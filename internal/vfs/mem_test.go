package vfs

import (
	"fmt"
	"hash/maphash"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func memRoot(t *testing.T) (*Mem, Dir) {
	t.Helper()
	m := NewMem()
	d, err := m.OpenDir("/")
	require.NoError(t, err)
	return m, d
}

func write(t *testing.T, d Dir, name string, flag int, content string) {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|flag, 0o600)
	require.NoError(t, err)
	_, err = f.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func syncFileAt(t *testing.T, d Dir, name string) {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

// disks are all that a power cut may leave, each as one line, sorted.
func disks(m *Mem, order Order) []string {
	cuts := m.Cuts(order)
	seen := map[string]bool{}
	for i := range cuts.Count() {
		tree := cuts.Disk(i).Tree()
		var b strings.Builder
		for _, p := range Paths(tree)[1:] {
			fmt.Fprintf(&b, "%s=%s ", p, tree[p])
		}
		seen[strings.TrimSpace(b.String())] = true
	}
	var all []string
	for d := range seen {
		all = append(all, d)
	}
	slices.Sort(all)
	return all
}

func TestNewFileMayBeAbsentEmptyOrWhole(t *testing.T) {
	m, d := memRoot(t)
	write(t, d, "f", os.O_CREATE|os.O_EXCL, "abc")
	require.Equal(t, []string{"", "/f=", "/f=\x00\x00\x00", "/f=abc"}, disks(m, AnyOrder))
	syncFileAt(t, d, "f")
	require.Equal(t, []string{"", "/f=abc"}, disks(m, AnyOrder), "fsync of a file is none of its entry")
	require.NoError(t, d.Sync())
	require.Equal(t, []string{"/f=abc"}, disks(m, AnyOrder))
}

func TestSectorsAreLostOneByOne(t *testing.T) {
	m, d := memRoot(t)
	write(t, d, "f", os.O_CREATE|os.O_EXCL, strings.Repeat("a", 1024))
	m.Sync()
	write(t, d, "f", 0, strings.Repeat("b", 1024))
	a, b := strings.Repeat("a", 512), strings.Repeat("b", 512)
	require.Equal(t, []string{"/f=" + a + a, "/f=" + a + b, "/f=" + b + a, "/f=" + b + b}, disks(m, AnyOrder))
}

func TestFirstOfTwoWritesMayBeOnDisk(t *testing.T) {
	m, d := memRoot(t)
	write(t, d, "f", os.O_CREATE|os.O_EXCL, "1")
	m.Sync()
	write(t, d, "f", 0, "2")
	write(t, d, "f", 0, "3")
	require.Equal(t, []string{"/f=1", "/f=2", "/f=3"}, disks(m, AnyOrder))
}

func TestSameBytesAgainCannotTear(t *testing.T) {
	m, d := memRoot(t)
	write(t, d, "f", os.O_CREATE|os.O_EXCL, "1")
	m.Sync()
	write(t, d, "f", 0, "1")
	require.Equal(t, []string{"/f=1"}, disks(m, AnyOrder))
}

func TestTruncationMayBeUndone(t *testing.T) {
	m, d := memRoot(t)
	write(t, d, "f", os.O_CREATE|os.O_EXCL, "abcdef")
	m.Sync()
	write(t, d, "f", os.O_TRUNC, "X")
	require.Equal(t, []string{"/f=", "/f=\x00", "/f=\x00\x00\x00\x00\x00\x00", "/f=X", "/f=X\x00\x00\x00\x00\x00", "/f=a", "/f=abcdef"},
		disks(m, AnyOrder))
}

func TestDeletionMayBeUndone(t *testing.T) {
	m, d := memRoot(t)
	write(t, d, "f", os.O_CREATE|os.O_EXCL, "x")
	m.Sync()
	require.NoError(t, d.Remove("f"))
	require.Equal(t, []string{"", "/f=x"}, disks(m, AnyOrder))
	require.NoError(t, d.Sync())
	require.Equal(t, []string{""}, disks(m, AnyOrder))
}

func TestRenameIsAnEntryAndADeletion(t *testing.T) {
	build := func() *Mem {
		m, d := memRoot(t)
		write(t, d, "target", os.O_CREATE|os.O_EXCL, "old")
		write(t, d, "temp", os.O_CREATE|os.O_EXCL, "new")
		m.Sync()
		require.NoError(t, d.Rename("temp", "target"))
		return m
	}
	require.Equal(t, []string{"/target=new", "/target=new /temp=new", "/target=old", "/target=old /temp=new"}, disks(build(), AnyOrder))
	require.Equal(t, []string{"/target=new", "/target=old /temp=new"}, disks(build(), InOrder))
}

func TestInOrderIsAPrefix(t *testing.T) {
	m, d := memRoot(t)
	for _, name := range []string{"b", "a", "c"} {
		write(t, d, name, os.O_CREATE|os.O_EXCL, "")
	}
	require.NoError(t, d.Remove("a"))
	require.Equal(t, []string{"", "/a= /b=", "/a= /b= /c=", "/b=", "/b= /c="}, disks(m, InOrder))
	require.Len(t, disks(m, AnyOrder), 8)
}

func TestDirectoriesLoseTheirEntries(t *testing.T) {
	m, d := memRoot(t)
	require.NoError(t, d.Mkdir("sub", 0o700))
	sub, err := d.OpenDir("sub")
	require.NoError(t, err)
	write(t, sub, "f", os.O_CREATE|os.O_EXCL, "x")
	syncFileAt(t, sub, "f")
	require.NoError(t, sub.Sync())
	require.Equal(t, []string{"", "/sub/=dir /sub/f=x"}, disks(m, AnyOrder))
}

// After a failed fsync the next one succeeds and does nothing, until the page is written again.
func TestFailedSyncLies(t *testing.T) {
	for _, again := range []bool{false, true} {
		m, plain := memRoot(t)
		write(t, plain, "f", os.O_CREATE|os.O_EXCL, "old")
		m.Sync()
		failing := true
		d, err := NewFaults(m, func(c Call) Fault {
			if c.Op == "sync" && failing {
				return Fault{Err: syscall.EIO}
			}
			return Fault{}
		}).OpenDir("/")
		require.NoError(t, err)
		f, err := d.OpenFile("f", os.O_RDWR, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte("new"), 0)
		require.NoError(t, err)
		require.ErrorIs(t, f.Sync(), syscall.EIO)
		failing = false
		if again { // the same bytes: the page is dirty once more
			_, err = f.WriteAt([]byte("new"), 0)
			require.NoError(t, err)
		}
		require.NoError(t, f.Sync())
		if again {
			require.Equal(t, []string{"/f=new"}, disks(m, AnyOrder))
		} else {
			require.Equal(t, []string{"/f=new", "/f=old"}, disks(m, AnyOrder))
		}
	}
}

func TestFailedSyncOfADirectory(t *testing.T) {
	for _, lies := range []bool{false, true} {
		m, plain := memRoot(t)
		m.DirsLie = lies
		write(t, plain, "f", os.O_CREATE|os.O_EXCL, "")
		failing := true
		d, err := NewFaults(m, func(c Call) Fault {
			if failing {
				failing = c.Op != "sync"
				if !failing {
					return Fault{Err: syscall.EIO}
				}
			}
			return Fault{}
		}).OpenDir("/")
		require.NoError(t, err)
		require.ErrorIs(t, d.Sync(), syscall.EIO)
		require.NoError(t, d.Sync())
		if lies {
			require.Equal(t, []string{"", "/f="}, disks(m, AnyOrder))
			require.NoError(t, d.Mkdir("x", 0o700))
			require.NoError(t, d.Sync())
		}
		require.Contains(t, disks(m, AnyOrder)[0], "/f=")
	}
}

func TestCloneIsIndependent(t *testing.T) {
	m, d := memRoot(t)
	write(t, d, "f", os.O_CREATE|os.O_EXCL, "one")
	lock, err := d.OpenFile("f", os.O_RDWR, 0)
	require.NoError(t, err)
	ok, err := lock.TryLock()
	require.NoError(t, err)
	require.True(t, ok)

	seed := maphash.MakeSeed()
	c := m.Clone()
	require.Equal(t, m.Hash(seed), c.Hash(seed))
	cd, err := c.OpenDir("/")
	require.NoError(t, err)
	write(t, cd, "f", 0, "two")
	write(t, cd, "g", os.O_CREATE, "")
	write(t, d, "h", os.O_CREATE, "")
	require.NoError(t, d.Sync())
	require.Equal(t, map[string]string{"/": "dir", "/f": "one", "/h": ""}, m.Tree())
	require.Equal(t, map[string]string{"/": "dir", "/f": "two", "/g": ""}, c.Tree())
	require.NotEqual(t, m.Hash(seed), c.Hash(seed))
	f, err := cd.OpenFile("f", os.O_RDWR, 0)
	require.NoError(t, err)
	ok, err = f.TryLock()
	require.NoError(t, err)
	require.True(t, ok, "whoever held it is dead")
}

func TestDisksAreIndependent(t *testing.T) {
	m, d := memRoot(t)
	write(t, d, "f", os.O_CREATE|os.O_EXCL, "one")
	require.NoError(t, d.Mkdir("sub", 0o700))
	m.Sync()
	write(t, d, "f", 0, "two")
	cuts := m.Cuts(AnyOrder)
	first, last := cuts.Disk(0), cuts.Disk(cuts.Count()-1)
	ld, err := last.OpenDir("/")
	require.NoError(t, err)
	write(t, ld, "f", 0, "xxx")
	write(t, ld, "sub2", os.O_CREATE, "")
	require.Equal(t, "one", first.Tree()["/f"])
	require.Equal(t, "two", m.Tree()["/f"])
	require.Equal(t, "two", cuts.Disk(cuts.Count() - 1).Tree()["/f"])
	require.Equal(t, 1, first.Cuts(AnyOrder).Count(), "what a power cut left is on disk")
}

func TestKill(t *testing.T) {
	m := NewMem()
	p, q := m.Process(), m.Process()
	pd, err := p.OpenDir("/")
	require.NoError(t, err)
	qd, err := q.OpenDir("/")
	require.NoError(t, err)
	write(t, pd, "f", os.O_CREATE|os.O_EXCL, "x")
	f, err := pd.OpenFile("f", os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, f.Lock())
	g, err := qd.OpenFile("f", os.O_RDWR, 0)
	require.NoError(t, err)
	got := make(chan error)
	go func() { got <- g.Lock() }()
	p.Kill()
	require.NoError(t, <-got)
	_, err = f.Write([]byte("y"))
	require.ErrorIs(t, err, ErrKilled)
	require.ErrorIs(t, pd.Remove("f"), ErrKilled)
	require.NoError(t, f.Close())
	require.Equal(t, "x", m.Tree()["/f"])
}

func TestFaults(t *testing.T) {
	m := NewMem()
	var calls []string
	d, err := NewFaults(m, func(c Call) Fault {
		calls = append(calls, fmt.Sprintf("%d %s %s", c.N, c.Op, c.Path))
		switch {
		case c.Op == "rename":
			return Fault{Err: syscall.EXDEV}
		case c.Op == "write" && c.N == 3:
			return Fault{Short: true}
		case c.Op == "write" && c.N == 4:
			return Fault{Short: true, Err: syscall.ENOSPC}
		case c.Op == "close":
			return Fault{Err: syscall.EDQUOT}
		}
		return Fault{}
	}).OpenDir("/")
	require.NoError(t, err)
	f, err := d.OpenFile("f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	require.NoError(t, err)
	n, err := f.Write([]byte("abcd"))
	require.NoError(t, err)
	require.Equal(t, 2, n)
	n, err = f.Write([]byte("abcd"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, 2, n)
	require.ErrorIs(t, d.Rename("f", "g"), syscall.EXDEV)
	require.ErrorIs(t, f.Close(), syscall.EDQUOT)
	require.Equal(t, map[string]string{"/": "dir", "/f": "abab"}, m.Tree())
	require.Equal(t, []string{"1 open /", "2 create /f", "3 write /f", "4 write /f", "5 rename /g", "6 close /f"}, calls)
}

func TestSampleStaysWithinTheChoices(t *testing.T) {
	m, d := memRoot(t)
	for _, name := range []string{"a", "b"} {
		write(t, d, name, os.O_CREATE|os.O_EXCL, name)
	}
	require.NoError(t, d.Rename("a", "b"))
	for _, order := range []Order{AnyOrder, InOrder} {
		all := map[string]bool{}
		for _, d := range disks(m, order) {
			all[d] = true
		}
		cuts := m.Cuts(order)
		seen := map[string]bool{}
		for i := range 20000 {
			tree := cuts.Sample(rand.New(rand.NewPCG(1, uint64(i)))).Tree()
			var b strings.Builder
			for _, p := range Paths(tree)[1:] {
				fmt.Fprintf(&b, "%s=%s ", p, tree[p])
			}
			one := strings.TrimSpace(b.String())
			require.True(t, all[one], one)
			seen[one] = true
		}
		require.Len(t, seen, len(all), "every disk is met")
	}
}

func BenchmarkCloneAndWrite(b *testing.B) {
	m := NewMem()
	d, _ := m.OpenDir("/")
	for i := range 20 {
		f, _ := d.OpenFile(fmt.Sprint(i), os.O_RDWR|os.O_CREATE, 0o600)
		_, _ = f.Write(make([]byte, 300))
	}
	for b.Loop() {
		c := m.Clone()
		cd, _ := c.OpenDir("/")
		f, _ := cd.OpenFile("3", os.O_RDWR, 0)
		_, _ = f.WriteAt([]byte("x"), 0)
	}
}

func TestSyncDataKeepsContentAndSizeButNotTheMode(t *testing.T) {
	m, d := memRoot(t)
	write(t, d, "f", os.O_CREATE, "old")
	f, err := d.OpenFile("f", os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, f.SetMode(0o640))
	m.Sync()
	_, err = f.WriteAt([]byte("new, and longer"), 0)
	require.NoError(t, err)
	require.NoError(t, f.SetMode(0o600))
	require.NoError(t, f.SyncData())
	cuts := m.Cuts(AnyOrder)
	modes := map[fs.FileMode]bool{}
	for i := range cuts.Count() {
		disk, err := cuts.Disk(i).OpenDir("/")
		require.NoError(t, err)
		after, err := disk.OpenFile("f", os.O_RDONLY, 0)
		require.NoError(t, err)
		content := make([]byte, 100)
		n, _ := after.ReadAt(content, 0)
		require.Equal(t, "new, and longer", string(content[:n]))
		info, err := after.Stat()
		require.NoError(t, err)
		modes[info.Mode] = true
	}
	require.Equal(t, map[fs.FileMode]bool{0o640: true, 0o600: true}, modes)
	require.NoError(t, f.Sync())
	require.Equal(t, 1, m.Cuts(AnyOrder).Count())
}
