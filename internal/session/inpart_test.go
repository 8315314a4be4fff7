//go:build linux

package session

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// linesIn is the target of a file of lines, with a session.
func linesIn(t *testing.T, content string) (x *target, path string) {
	path = filepath.Join(t.TempDir(), "a.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	tree := New(Options{Dir: filepath.Dir(path), Files: []string{path}})
	x = targetAt(t, tree, path)
	x.mu.Lock()
	err := x.need()
	x.unlock()
	if err != nil {
		t.Skipf("SKIPPED: no session here: %v", err)
	}
	t.Cleanup(func() { tree.Close(t.Context()) })
	return x, path
}

// Who is given lines to write over, or gets the lock on them, is not given a part of one that another is appending.
func TestLinesThatAreWholeBehindAFold(t *testing.T) {
	x, path := linesIn(t, "1\n\"in pa")
	folds, err := os.OpenFile(filepath.Join(sidecar.GuardDir(path), "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(folds.Fd()), unix.LOCK_EX))
	looks := 0
	look := func() (*version, error) {
		if looks++; looks == 1 { // the fold comes to its end behind it
			go func() {
				f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
				if err == nil {
					_, err = f.WriteString("rt\"\n")
					_ = f.Close()
				}
				if err != nil {
					t.Error(err)
				}
				_ = folds.Close()
			}()
		}
		return x.onDisk(), nil
	}
	x.mu.Lock()
	v, err := x.withWholeLines(look)
	require.NoError(t, err)
	content, err := v.read()
	require.NoError(t, err)
	x.unlock()
	require.Equal(t, "1\n\"in part\"\n", string(content))
	require.Equal(t, 2, looks)
}

// What is there stays what it is where it is nobody's append, and is looked at no more than twice.
func TestLinesThatStayInPart(t *testing.T) {
	x, _ := linesIn(t, "1\n\"in pa")
	looks := 0
	x.mu.Lock()
	defer x.unlock()
	v, err := x.withWholeLines(func() (*version, error) { looks++; return x.onDisk(), nil })
	require.NoError(t, err)
	content, err := v.read()
	require.NoError(t, err)
	require.Equal(t, "1\n\"in pa", string(content))
	require.Equal(t, 2, looks)
}

func TestWholeLines(t *testing.T) {
	for content, whole := range map[string]string{
		"": "", "1\n": "1\n", "1\n2": "1\n2", "1\n\"a": "1\n", "{": "", "1\n{\"a\":1}": "1\n{\"a\":1}", "1\n\n": "1\n\n", "1\n ": "1\n ",
	} {
		require.Equal(t, whole, string(wholeLines([]byte(content))), "%q", content)
	}
	require.NotNil(t, wholeLines([]byte("{")), "an empty file is not a missing one")
	require.Nil(t, wholeLines(nil))
}

// A guessed file that another supervisor replaces between the look at it and its opening is looked into from its beginning.
func TestAGuessedFileThatIsReplacedWhileItIsLookedAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	require.NoError(t, os.WriteFile(path, []byte("1\n"), 0o644))
	tree := New(Options{Dir: filepath.Dir(path)})
	x := targetAt(t, tree, path)
	dir, err := os.Open(filepath.Dir(path))
	require.NoError(t, err)
	defer dir.Close()
	before := func() {}
	program := &caller{as: func(open func() error) error { before(); return open() }}
	place := &intercept.Place{Dir: dir, Name: filepath.Base(path), Object: dir}
	x.mu.Lock()
	defer x.unlock()
	pass, err := x.passes(program, place)
	require.NoError(t, err)
	require.False(t, pass)
	require.NoError(t, os.WriteFile(path, []byte("1\n2\n"), 0o644))
	before = func() {
		require.NoError(t, os.WriteFile(path+".new", []byte("\"one line\"\n"), 0o644))
		require.NoError(t, os.Rename(path+".new", path))
	}
	pass, err = x.passes(program, place)
	require.NoError(t, err)
	require.False(t, pass)
}
