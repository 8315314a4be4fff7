//go:build linux

package session

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/intercept"
)

// What a program closed is in the file before another one that starts goes on, and before itself, or who comes before it, opens
// something else for writing: lstat(2), which is not trapped, finds it there. Nothing is folded behind anybody's back here.
func TestBehindAWrite(t *testing.T) {
	parent := &intercept.Process{PID: os.Getppid()}
	wrote := &intercept.Process{PID: os.Getpid(), Parent: parent}
	other := &intercept.Process{PID: 1}
	for name, c := range map[string]struct {
		by     *intercept.Process
		begins bool
		waits  bool
	}{
		"who starts":          {other, true, true},
		"a child that starts": {&intercept.Process{PID: 2, Parent: wrote}, true, true},
		"who wrote it, before it writes something else":    {wrote, false, true},
		"whose child wrote it":                             {parent, false, true},
		"who has nothing to do with it and does not start": {other, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.json")
			require.NoError(t, os.WriteFile(path, []byte(`{"n":0}`), 0o644))
			tree := New(Options{Dir: filepath.Dir(path), Files: []string{path}})
			x := targetAt(t, tree, path)
			x.wake = make(chan struct{}, 1) // nobody folds as it is asked to
			w, f := opened(t, x, wrote)
			_, err := f.WriteString(`{"n":1}`)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			x.events.closed = append(x.events.closed, w)

			tree.behind(c.by, c.begins)
			content, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, map[bool]string{true: `{"n":1}`, false: `{"n":0}`}[c.waits], string(content))
			tree.Close(t.Context())
		})
	}
}

// opened is a target that a program has opened for writing, with the file that it has got for that.
func opened(t *testing.T, x *target, process *intercept.Process) (*writer, *os.File) {
	x.mu.Lock()
	defer x.unlock()
	if err := x.need(); err != nil {
		t.Skipf("SKIPPED: no session here: %v", err)
	}
	x.starting(process)
	w := &writer{t: x, process: process, tid: process.PID}
	w.bases, w.likely = x.basesFor(w)
	bases, err := w.openBases()
	require.NoError(t, err)
	var f *os.File
	w.scratch, f, err = x.session.Create(w.who(), os.O_RDWR, 0o600, nil, bases, 0)
	require.NoError(t, err)
	w.file, err = w.scratch.Open()
	require.NoError(t, err)
	x.tree.knowScratch(w.id(), w)
	x.writers = append(x.writers, w)
	return w, f
}
