//go:build unix

package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// place is an empty directory of a filesystem under test.
type place struct{ dir Dir }

// places are the filesystems that must behave alike.
func places(t *testing.T) map[string]place {
	root := t.TempDir()
	real, err := OS.OpenDir(root)
	require.NoError(t, err)
	t.Cleanup(func() { _ = real.Close() })
	mem, err := NewMem().OpenDir("/")
	require.NoError(t, err)
	plain, err := NewMem().OpenDir("/")
	require.NoError(t, err)
	return map[string]place{
		"OS":     {real},
		"Mem":    {mem},
		"Faults": {&faultyDir{&faults{before: func(Call) Fault { return Fault{} }}, plain}},
	}
}

// everywhere runs one test of the suite on each of them.
func everywhere(t *testing.T, test func(t *testing.T, p place)) {
	for name, p := range places(t) {
		t.Run(name, func(t *testing.T) { test(t, p) })
	}
}

func put(t *testing.T, d Dir, name, content string) File {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	require.NoError(t, err)
	_, err = f.Write([]byte(content))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func get(t *testing.T, f File) string {
	t.Helper()
	info, err := f.Stat()
	require.NoError(t, err)
	b := make([]byte, info.Size)
	_, err = f.ReadAt(b, 0)
	if err != nil {
		require.ErrorIs(t, err, io.EOF)
	}
	return string(b)
}

func TestOpenFile(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		_, err := p.dir.OpenFile("f", os.O_RDWR, 0)
		require.ErrorIs(t, err, fs.ErrNotExist)
		put(t, p.dir, "f", "hello")
		_, err = p.dir.OpenFile("f", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		require.ErrorIs(t, err, fs.ErrExist)
		var path *fs.PathError
		require.ErrorAs(t, err, &path)
		require.Equal(t, filepath.Join(p.dir.Path(), "f"), path.Path)

		info, err := p.dir.Stat("f")
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o640), info.Mode)
		require.EqualValues(t, 5, info.Size)
		require.EqualValues(t, 1, info.Links)
		require.Equal(t, os.Getuid(), info.UID)

		require.NoError(t, p.dir.Symlink("f", "link"))
		_, err = p.dir.OpenFile("link", os.O_RDONLY, 0)
		require.ErrorIs(t, err, syscall.ELOOP)
		_, err = p.dir.OpenFile("link", os.O_RDWR|os.O_CREATE, 0o600)
		require.ErrorIs(t, err, syscall.ELOOP)
		_, err = p.dir.OpenFile("link", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		require.ErrorIs(t, err, fs.ErrExist)
		target, err := p.dir.Readlink("link")
		require.NoError(t, err)
		require.Equal(t, "f", target)
		_, err = p.dir.Readlink("f")
		require.ErrorIs(t, err, syscall.EINVAL)

		require.NoError(t, p.dir.Mkdir("d", 0o750))
		_, err = p.dir.OpenFile("d", os.O_RDWR, 0)
		require.ErrorIs(t, err, syscall.EISDIR)
		_, err = p.dir.OpenDir("f")
		require.ErrorIs(t, err, syscall.ENOTDIR)
		require.NoError(t, p.dir.Symlink("d", "dlink"))
		_, err = p.dir.OpenDir("dlink")
		require.ErrorIs(t, err, syscall.ENOTDIR)
		for _, bad := range []string{"", ".", "..", "d/x"} {
			_, err = p.dir.OpenFile(bad, os.O_RDWR|os.O_CREATE, 0o600)
			require.ErrorIs(t, err, syscall.EINVAL, "%q", bad)
		}
		names, err := p.dir.Names()
		require.NoError(t, err)
		require.Equal(t, []string{"d", "dlink", "f", "link"}, names)
	})
}

func TestReadAndWrite(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		f := put(t, p.dir, "f", "hello world")
		b := make([]byte, 5)
		n, err := f.Read(b)
		require.Zero(t, n) // the offset is behind what was written
		require.ErrorIs(t, err, io.EOF)
		n, err = f.ReadAt(b, 6)
		require.NoError(t, err)
		require.Equal(t, "world", string(b[:n]))
		n, err = f.ReadAt(b, 8)
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, "rld", string(b[:n]))
		_, err = f.WriteAt([]byte("!"), 13)
		require.NoError(t, err)
		require.Equal(t, "hello world\x00\x00!", get(t, f))
		require.NoError(t, f.Truncate(4))
		require.NoError(t, f.Truncate(6))
		require.Equal(t, "hell\x00\x00", get(t, f))

		reader, err := p.dir.OpenFile("f", os.O_RDONLY, 0)
		require.NoError(t, err)
		_, err = reader.Write([]byte("x"))
		require.ErrorIs(t, err, syscall.EBADF)
		require.ErrorIs(t, reader.Truncate(0), syscall.EINVAL)
		writer, err := p.dir.OpenFile("f", os.O_WRONLY|os.O_APPEND, 0)
		require.NoError(t, err)
		_, err = writer.ReadAt(b, 0)
		require.ErrorIs(t, err, syscall.EBADF)
		_, err = writer.Write([]byte("tail"))
		require.NoError(t, err)
		_, err = writer.WriteAt([]byte("x"), 0)
		require.Error(t, err)
		require.Equal(t, "hell\x00\x00tail", get(t, reader))
		truncated, err := p.dir.OpenFile("f", os.O_RDWR|os.O_TRUNC, 0)
		require.NoError(t, err)
		require.Empty(t, get(t, truncated))

		for _, f := range []File{reader, writer, truncated} {
			require.NoError(t, f.Close())
			require.ErrorIs(t, f.Close(), fs.ErrClosed)
			_, err = f.Write([]byte("x"))
			require.ErrorIs(t, err, fs.ErrClosed)
			require.ErrorIs(t, f.Sync(), fs.ErrClosed)
			require.ErrorIs(t, f.SyncData(), fs.ErrClosed)
		}
	})
}

func TestRename(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		old := put(t, p.dir, "target", "old")
		put(t, p.dir, "temp", "new")
		require.NoError(t, p.dir.Rename("temp", "target"))
		require.Equal(t, "old", get(t, old), "an open descriptor stays on the version it was opened on")
		info, err := old.Stat()
		require.NoError(t, err)
		require.Zero(t, info.Links)
		f, err := p.dir.OpenFile("target", os.O_RDONLY, 0)
		require.NoError(t, err)
		require.Equal(t, "new", get(t, f))
		require.ErrorIs(t, p.dir.Rename("temp", "target"), fs.ErrNotExist)

		require.NoError(t, p.dir.Link("target", nil, "other"))
		require.ErrorIs(t, p.dir.Link("target", nil, "other"), fs.ErrExist)
		require.NoError(t, p.dir.Rename("other", "target"), "two names of one file")
		info, err = p.dir.Stat("other")
		require.NoError(t, err)
		require.EqualValues(t, 2, info.Links, "and nothing happens (rename(2))")

		require.NoError(t, p.dir.Mkdir("d", 0o700))
		require.ErrorIs(t, p.dir.Rename("target", "d"), syscall.EISDIR)
		require.ErrorIs(t, p.dir.Rename("d", "target"), syscall.ENOTDIR)
		require.NoError(t, p.dir.Mkdir("e", 0o700))
		require.NoError(t, p.dir.Rename("d", "e"))
		e, err := p.dir.OpenDir("e")
		require.NoError(t, err)
		require.NoError(t, p.dir.Link("target", e, "inside"))
		require.NoError(t, p.dir.Mkdir("d", 0o700))
		require.ErrorIs(t, p.dir.Rename("d", "e"), syscall.ENOTEMPTY)
		require.ErrorIs(t, p.dir.Remove("e"), syscall.ENOTEMPTY)
		require.NoError(t, e.Remove("inside"))
		require.NoError(t, p.dir.Remove("e"))
		_, err = e.OpenFile("x", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		require.ErrorIs(t, err, fs.ErrNotExist, "a removed directory takes no entries")
		require.ErrorIs(t, e.Mkdir("x", 0o700), fs.ErrNotExist)
		require.ErrorIs(t, p.dir.Remove("e"), fs.ErrNotExist)
		require.NoError(t, e.Close())
		_, err = e.OpenDir("x")
		require.ErrorIs(t, err, syscall.EBADF)
	})
}

func TestFlockIsPerOpenFile(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		a := put(t, p.dir, "lock", "")
		b, err := p.dir.OpenFile("lock", os.O_RDONLY, 0)
		require.NoError(t, err)
		try := func(f File, want bool) {
			t.Helper()
			ok, err := f.TryLock()
			require.NoError(t, err)
			require.Equal(t, want, ok)
		}
		try(a, true)
		try(a, true)
		try(b, false)
		require.NoError(t, b.Unlock()) // not its own: nothing happens
		try(b, false)
		require.NoError(t, a.Unlock())
		try(b, true)
		require.NoError(t, b.Close())
		got := make(chan error)
		try(a, true)
		c, err := p.dir.OpenFile("lock", os.O_RDWR, 0)
		require.NoError(t, err)
		go func() { got <- c.Lock() }()
		require.NoError(t, a.Close())
		require.NoError(t, <-got)
		require.NoError(t, c.Close())
	})
}

func TestStatThroughDirectories(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		require.NoError(t, p.dir.Mkdir("a", 0o700))
		a, err := p.dir.OpenDir("a")
		require.NoError(t, err)
		f := put(t, a, "f", "content")
		want, err := f.Stat()
		require.NoError(t, err)
		got, err := p.dir.Stat("a/f")
		require.NoError(t, err)
		require.Equal(t, want.Inode, got.Inode)
		inode, err := p.dir.Inode("a/f")
		require.NoError(t, err)
		require.Equal(t, want.Inode, inode)
		both := func(name string, want error) {
			_, err := p.dir.Stat(name)
			require.ErrorIs(t, err, want)
			_, err = p.dir.Inode(name)
			require.ErrorIs(t, err, want)
		}
		both("a/g", fs.ErrNotExist)
		both("a/f/g", syscall.ENOTDIR)
		require.NoError(t, p.dir.Rename("a", "b"))
		both("a/f", fs.ErrNotExist)
	})
}

func TestModes(t *testing.T) {
	everywhere(t, func(t *testing.T, p place) {
		f := put(t, p.dir, "f", "")
		g := put(t, p.dir, "g", "")
		require.NoError(t, f.SetMode(0o751))
		require.Empty(t, g.CopyMeta(f))
		info, err := g.Stat()
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o751), info.Mode)
		require.NoError(t, p.dir.Mkdir("d", 0o777))
		info, err = p.dir.Stat("d")
		require.NoError(t, err)
		require.Equal(t, fs.ModeDir|0o777, info.Mode, "the umask does not count")
	})
}

// TestMemDoesWhatOSDoes runs random calls on both and compares every outcome.
func TestMemDoesWhatOSDoes(t *testing.T) {
	rounds := 120
	if testing.Short() {
		rounds = 20
	}
	calls := 0
	for seed := range rounds {
		all := places(t)
		a, b := all["OS"], all["Mem"]
		x, y := newPlayer(a), newPlayer(b)
		var log []string
		for range 80 {
			r := rand.New(rand.NewPCG(uint64(seed), uint64(len(log))))
			s := rand.New(rand.NewPCG(uint64(seed), uint64(len(log))))
			want, got := x.step(r), y.step(s)
			log = append(log, want)
			calls++
			require.Equal(t, want, got, "seed %d, after\n%s", seed, strings.Join(log, "\n"))
		}
		x.close()
		y.close()
	}
	t.Logf("%d calls, each with the same outcome on both", calls)
}

// player makes random calls and says what came of them.
type player struct {
	place
	dirs  []Dir
	files []File
}

func newPlayer(p place) *player { return &player{place: p, dirs: []Dir{p.dir}} }

func (p *player) close() {
	for _, f := range p.files {
		_ = f.Close()
	}
	for _, d := range p.dirs[1:] {
		_ = d.Close()
	}
}

func (p *player) step(r *rand.Rand) string {
	names := []string{"a", "b", "c", "d"}
	name, other := names[r.IntN(4)], names[r.IntN(4)]
	di, dj := r.IntN(len(p.dirs)), r.IntN(len(p.dirs))
	d := p.dirs[di]
	call := fmt.Sprintf("dir %d, %s, %s", di, name, other)
	switch op := r.IntN(16); {
	case op < 4:
		flag := []int{os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_APPEND}[r.IntN(4)] |
			[]int{0, os.O_CREATE | os.O_EXCL, os.O_CREATE | os.O_EXCL, os.O_TRUNC}[r.IntN(4)]
		f, err := d.OpenFile(name, flag, 0o600)
		if err == nil {
			p.files = append(p.files, f)
		}
		return fmt.Sprintf("open %s flag %x: %v", call, flag, errno(err))
	case op == 4:
		return fmt.Sprintf("mkdir %s: %v", call, errno(d.Mkdir(name, 0o700)))
	case op == 5:
		sub, err := d.OpenDir(name)
		if err == nil {
			p.dirs = append(p.dirs, sub)
		}
		return fmt.Sprintf("opendir %s: %v", call, errno(err))
	case op == 6:
		return fmt.Sprintf("rename %s: %v", call, errno(d.Rename(name, other)))
	case op == 7:
		return fmt.Sprintf("remove %s: %v", call, errno(d.Remove(name)))
	case op == 8:
		return fmt.Sprintf("link %s to dir %d: %v", call, dj, errno(d.Link(name, p.dirs[dj], other)))
	case op == 9:
		list, err := d.Names()
		return fmt.Sprintf("names of %s: %d %v %v", call, len(list), list, errno(err))
	case op == 10:
		info, err := d.Stat(name)
		if info.Mode.IsDir() {
			info.Size, info.Links = 0, 0
		}
		return fmt.Sprintf("stat %s: %v %v %v %v", call, info.Size, info.Mode, info.Links, errno(err))
	case op == 11 && di == 0:
		return fmt.Sprintf("symlink %s: %v", call, errno(p.dir.Symlink(other, name)))
	case len(p.files) == 0:
		return "nothing"
	}
	fi := r.IntN(len(p.files))
	f := p.files[fi]
	size, off := r.IntN(1200), r.Int64N(1500)
	call = fmt.Sprintf("file %d, %d at %d", fi, size, off)
	switch r.IntN(7) {
	case 0:
		n, err := f.Write(pattern(r, size))
		return fmt.Sprintf("write %s: %d %v", call, n, errno(err))
	case 1:
		n, err := f.WriteAt(pattern(r, size), off)
		return fmt.Sprintf("writeat %s: %d %v", call, n, errno(err) != nil)
	case 2:
		b := make([]byte, size)
		n, err := f.ReadAt(b, off)
		return fmt.Sprintf("readat %s: %q %v", call, b[:n], errno(err))
	case 3:
		b := make([]byte, size)
		n, err := f.Read(b)
		return fmt.Sprintf("read %s: %q %v", call, b[:n], errno(err))
	case 4:
		return fmt.Sprintf("truncate %s: %v", call, errno(f.Truncate(off)))
	case 5:
		info, err := f.Stat()
		if info.Mode.IsDir() {
			info.Size, info.Links = 0, 0
		}
		return fmt.Sprintf("fstat %s: %v %v %v %v", call, info.Size, info.Mode, info.Links, errno(err))
	default:
		ok, err := f.TryLock()
		if r.IntN(2) == 0 {
			err = errors.Join(err, f.Unlock())
		}
		return fmt.Sprintf("lock %s: %v %v", call, ok, errno(err))
	}
}

func pattern(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(r.IntN(26))
	}
	return b
}

// errno is what both must agree on; the text in front of it differs.
func errno(err error) error {
	var e syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, io.EOF):
		return io.EOF
	case errors.Is(err, fs.ErrClosed):
		return fs.ErrClosed
	}
	return err
}
