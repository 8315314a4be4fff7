package atomicjson

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/lock"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	return path
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

func addOne(path string) error {
	return Update(context.Background(), path, func(d *Document) error { return d.Add("/n", 1) })
}

func TestRead(t *testing.T) {
	path := writeFile(t, "doc.json", `{"n": 1.10}`)
	d, err := Read(context.Background(), path)
	require.NoError(t, err)
	require.Equal(t, `{"n": 1.10}`, string(d.Bytes()))
	require.NoFileExists(t, lock.LockPath(path), "reading leaves nothing behind")
	_, err = Read(context.Background(), path+".missing")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, path+".missing")
	_, err = ReadAs[map[string]int](context.Background(), path)
	require.ErrorContains(t, err, "read "+path)
	empty := writeFile(t, "empty.json", "")
	d, err = Read(context.Background(), empty)
	require.NoError(t, err)
	_, err = d.Raw("")
	require.ErrorIs(t, err, merge.ErrNotFound)
	n, err := ReadAs[int](context.Background(), empty)
	require.NoError(t, err)
	require.Zero(t, n)
}

// Errors say what was tried, on which file, why not, and what to do.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, path string
		content    string
		is         error
		says       []string
	}{
		{"no JSON", "bad.json", "{\n  \"a\": tru\n}", nil, []string{"fold ", "bad.json", "line 2", "repair it by hand"}},
		{"no directory", "missing/doc.json", "", fs.ErrNotExist, []string{"open ", "missing/doc.json"}},
		{"a directory", ".", "", sidecar.ErrTarget, []string{"it is a directory", "name a regular file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, c.path)
			if c.content != "" {
				require.NoError(t, os.WriteFile(path, []byte(c.content), 0o644))
			}
			err := addOne(path)
			require.Error(t, err)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			for _, says := range c.says {
				require.ErrorContains(t, err, says)
			}
			if c.content != "" {
				require.Equal(t, c.content, readFile(t, path), "it was left alone")
			}
		})
	}
}

func TestUpdateThatFailsChangesNothing(t *testing.T) {
	path := writeFile(t, "doc.json", `{"n": 1}`)
	own := errors.New("own")
	err := Update(context.Background(), path, func(d *Document) error {
		require.NoError(t, d.Set("/n", 2))
		return own
	})
	require.Same(t, own, err)
	require.Equal(t, `{"n": 1}`, readFile(t, path))
	require.Panics(t, func() {
		_ = Update(context.Background(), path, func(d *Document) error { panic("own") })
	})
	require.NoError(t, addOne(path), "a panic leaves no lock behind")
	require.Equal(t, `{"n": 2}`, readFile(t, path))
}

// What changes nothing writes nothing: no new file, no new time.
func TestUpdateThatChangesNothing(t *testing.T) {
	path := writeFile(t, "doc.json", `{"n": 1.0}`)
	before, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, Update(context.Background(), path, func(d *Document) error { return d.Set("/n", 1) }))
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after))
	require.Equal(t, before.ModTime(), after.ModTime())
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.json")
	for _, content := range []string{"{\"a\": 1}\n", "{ \"a\":1 }", "[1.0]", "[1]", "\ufeff{}\r\n", "NaN"} {
		require.NoError(t, WriteFile(context.Background(), path, []byte(content)))
		require.Equal(t, content, readFile(t, path), "byte for byte")
	}
	err := WriteFile(context.Background(), path, []byte("{"))
	var syntax *merge.SyntaxError
	require.ErrorAs(t, err, &syntax)
	require.ErrorContains(t, err, "write "+path)
	require.Equal(t, "NaN", readFile(t, path))
	lines := filepath.Join(t.TempDir(), "log.jsonl")
	require.NoError(t, WriteFile(context.Background(), lines, []byte("1\n2\n")))
	require.Equal(t, "1\n2\n", readFile(t, lines))
}

func TestLines(t *testing.T) {
	path := writeFile(t, "log.jsonl", "{\"a\": 1}\n")
	require.NoError(t, Update(context.Background(), path, func(d *Document) error { return d.Append("", map[string]int{"a": 2}) }))
	require.NoError(t, Update(context.Background(), path, func(d *Document) error { return d.Set("/0/b", 3) }))
	require.Equal(t, "{\"a\": 1, \"b\": 3}\n{\"a\": 2}\n", readFile(t, path))
}

func TestContext(t *testing.T) {
	path := writeFile(t, "doc.json", `{"n": 1}`)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ran := false
	err := Update(ctx, path, func(d *Document) error { ran = true; return d.Add("/n", 1) })
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, ran)

	l, err := lock.Acquire(context.Background(), path)
	require.NoError(t, err)
	ctx, cancel = context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	err = Update(ctx, path, func(d *Document) error { return d.Add("/n", 1) })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, path)
	require.NoError(t, l.Release())
	require.Equal(t, `{"n": 1}`, readFile(t, path))
	require.NoError(t, addOne(path))
}

// Said at once, by whatever name the file is called; another file, and another goroutine's turn, are no re-entry.
func TestUpdateInsideAnUpdate(t *testing.T) {
	path := writeFile(t, "doc.json", `{"n": 1}`)
	link := filepath.Join(t.TempDir(), "link.json")
	require.NoError(t, os.Symlink(path, link))
	other := writeFile(t, "other.json", `{"n": 1}`)
	began := time.Now()
	require.NoError(t, Update(context.Background(), path, func(d *Document) error {
		for _, name := range []string{path, link} {
			err := addOne(name)
			require.ErrorIs(t, err, sidecar.ErrReentry)
			require.ErrorContains(t, err, "change the document that the function was given")
			require.ErrorIs(t, WriteFile(context.Background(), name, []byte("{}")), sidecar.ErrReentry)
			require.ErrorIs(t, UpdateAs(context.Background(), name, func(*any) error { return nil }), sidecar.ErrReentry)
			g, err := sidecar.Open(name, sidecar.Options{})
			require.NoError(t, err)
			_, err = g.Apply(context.Background(), merge.Op{Kind: merge.OpIncr, At: "/n", Value: merge.Raw("1")})
			require.ErrorIs(t, err, sidecar.ErrReentry)
			_, err = g.Flush(context.Background())
			require.ErrorIs(t, err, sidecar.ErrReentry)
			require.NoError(t, g.Close())
		}
		_, err := Read(context.Background(), path)
		require.NoError(t, err, "reading waits for nobody")
		require.NoError(t, addOne(other))
		return d.Add("/n", 1)
	}))
	require.Less(t, time.Since(began), lock.DefaultTimeout)
	require.Equal(t, `{"n": 2}`, readFile(t, path))
	require.Equal(t, `{"n": 2}`, readFile(t, other))
	require.NoError(t, addOne(path), "afterwards it is forgotten")

	inside, done := make(chan bool), make(chan error)
	go func() {
		<-inside
		done <- addOne(path)
	}()
	require.NoError(t, Update(context.Background(), path, func(d *Document) error {
		close(inside)
		time.Sleep(50 * time.Millisecond)
		return nil
	}))
	require.NoError(t, <-done, "another goroutine waits for its turn")
}

func TestGoroutinesSumUp(t *testing.T) {
	path := writeFile(t, "doc.json", `{"n": 0}`)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 5 {
				if err := addOne(path); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.Equal(t, `{"n": 80}`, readFile(t, path))
	names, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	for _, n := range names {
		require.False(t, strings.HasSuffix(n.Name(), "-tmp"), n.Name())
	}
}
