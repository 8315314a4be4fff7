//go:build linux

package session

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
	"jsonguard/sidecar"
)

// A program is killed while its call waits to be carried out, and its end is told first. Nobody is left to say how what that call makes
// came to its end: a file that it has opened, and emptied by that, would count as emptied by a program that meant it.
func TestACallOfWhoHasEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	const before = `{"n":0}`
	require.NoError(t, os.WriteFile(path, []byte(before), 0o644))
	require.NoError(t, os.WriteFile(path+".new", []byte(`{"n":1}`), 0o644))
	tree := New(Options{Dir: filepath.Dir(path), Files: []string{path}})
	x := targetAt(t, tree, path)
	x.mu.Lock()
	err := x.need()
	x.unlock()
	if err != nil {
		t.Skipf("SKIPPED: no session here: %v", err)
	}
	defer tree.Close(t.Context())
	at := func(path string) *intercept.Place {
		var st, parent unix.Stat_t
		dir, err := os.Open(filepath.Dir(path))
		require.NoError(t, err)
		object, err := os.Open(path)
		require.NoError(t, err)
		t.Cleanup(func() { dir.Close(); object.Close() })
		require.NoError(t, unix.Fstat(int(object.Fd()), &st))
		require.NoError(t, unix.Fstat(int(dir.Fd()), &parent))
		return &intercept.Place{
			Dir: dir, DirID: intercept.ID{Dev: parent.Dev, Ino: parent.Ino}, Name: filepath.Base(path), Path: path,
			Object: object, ID: intercept.ID{Dev: st.Dev, Ino: st.Ino}, Mode: st.Mode, Links: 1,
		}
	}
	gone := &caller{
		process: &intercept.Process{PID: os.Getpid()}, tid: os.Getpid(), ended: func() bool { return true },
		as: func(act func() error) error { return act() }, ctx: func() context.Context { return context.Background() },
	}
	f, err := tree.open(gone, at(path), intercept.OpenHow{Flags: unix.O_WRONLY | unix.O_TRUNC})
	require.Nil(t, f)
	require.ErrorIs(t, err, unix.EINTR)
	require.ErrorIs(t, tree.rename(gone, at(path+".new"), at(path), 0), unix.EINTR)
	require.ErrorIs(t, tree.unlink(gone, at(path)), unix.EINTR)
	require.ErrorIs(t, tree.rename(gone, at(path), &intercept.Place{Dir: at(path).Dir, DirID: at(path).DirID, Name: "away"}, 0), unix.EINTR)
	require.ErrorIs(t, tree.truncate(gone, at(path), 0), unix.EINTR)
	descriptor := intercept.Descriptor{ID: at(path).ID, Path: path}
	tree.know(descriptor.ID, x)
	require.ErrorIs(t, tree.lock(gone, descriptor, intercept.LockRequest{Kind: intercept.Flock, Exclusive: true}), unix.EINTR)

	require.Empty(t, x.writers)
	require.False(t, x.gone)
	left, err := filepath.Glob(filepath.Join(sidecar.GuardDir(path), "views", "*", "*"))
	require.NoError(t, err)
	require.Len(t, left, 1, "the session's owner: %q", left)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, string(content))
}

// A program ends with the file open, and nothing tells whether it was killed. What it opened for itself and left in part, or empty, does not
// count then; what a shell opened for it does, and what is whole.
func TestAnEndThatNobodyTells(t *testing.T) {
	const unknown, document, lines = intercept.UnknownEnd, `{"n":0}`, "1\n2\n"
	for name, c := range map[string]struct {
		file, before string
		itsOwn       bool
		left         string
		end          syscall.Signal
		want         string
		torn         int
	}{
		"emptied":             {"a.json", document, true, "", unknown, document, 0},
		"in part":             {"a.json", document, true, `{"n":`, unknown, document, 1},
		"whole":               {"a.json", document, true, `{"n":1}`, unknown, `{"n":1}`, 0},
		"emptied by a shell":  {"a.json", document, false, "", unknown, "", 0},
		"emptied, and ended":  {"a.json", document, true, "", 0, "", 0},
		"emptied, and killed": {"a.json", document, false, "", unix.SIGKILL, document, 0},
		"no line":             {"a.jsonl", lines, true, "", unknown, lines, 0},
		"no line by a shell":  {"a.jsonl", lines, false, "", unknown, "", 0},
		"a line in part":      {"a.jsonl", lines, true, "1\n{", unknown, lines, 1},
		"whole lines":         {"a.jsonl", lines, true, "1\n", unknown, "1\n", 0},
		"lines of the killed": {"a.jsonl", lines, true, "1\n", unix.SIGKILL, lines, 0},
	} {
		for _, named := range []bool{true, false} {
			t.Run(fmt.Sprint(name, ", named ", named), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), c.file)
				require.NoError(t, os.WriteFile(path, []byte(c.before), 0o644))
				options := Options{Dir: filepath.Dir(path)}
				if named {
					options.Files = []string{path}
				}
				tree := New(options)
				x := targetAt(t, tree, path)
				process := &intercept.Process{PID: os.Getpid()}
				x.mu.Lock()
				if err := x.need(); err != nil {
					x.unlock()
					t.Skipf("SKIPPED: no session here: %v", err)
				}
				x.starting(process)
				w := &writer{t: x, process: process, tid: process.PID, itsOwn: c.itsOwn}
				w.bases, w.likely = x.basesFor(w)
				bases, err := w.openBases()
				require.NoError(t, err)
				var f *os.File
				w.scratch, f, err = x.session.Create(w.who(), os.O_WRONLY, 0o600, nil, bases, 0)
				require.NoError(t, err)
				w.file, err = w.scratch.Open()
				require.NoError(t, err)
				tree.knowScratch(w.id(), w)
				x.writers = append(x.writers, w)
				x.unlock()
				_, err = f.WriteString(c.left)
				require.NoError(t, err)
				require.NoError(t, f.Close())
				tree.Changed(w, intercept.Closed)
				tree.Exited(process, c.end)
				tree.Close(t.Context())
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, c.want, string(content))
				require.Len(t, x.stats.Torn, c.torn)
			})
		}
	}
}
