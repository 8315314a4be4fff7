package sidecar

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

func openFor(t *testing.T, path string) *Guard {
	t.Helper()
	g, err := Open(path, Options{Timeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func setOp(at string, value any) merge.Op {
	return merge.Op{Kind: merge.OpSet, At: at, Value: merge.Raw(fmt.Sprint(value))}
}

// apart runs a worker for each of n Guards at once, as n processes would.
func apart(t *testing.T, path string, n int, work func(g *Guard, worker int) error) {
	t.Helper()
	var workers sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		g := openFor(t, path)
		workers.Go(func() { errs[i] = work(g, i) })
	}
	workers.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

func hasBoard(t *testing.T, path string) *board {
	t.Helper()
	g := openFor(t, path)
	s, err := g.openedStore(true)
	require.NoError(t, err)
	if s.board == nil {
		t.Skip("SKIPPED: processes share no memory on this system")
	}
	return s.board
}

func TestOneFoldServesMany(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, []byte("{\"n\": 0}\n"), 0o644))
	hasBoard(t, path)
	const writers, each = 16, 40
	apart(t, path, writers, func(g *Guard, worker int) error {
		for i := range each {
			if _, err := g.Apply(context.Background(), setOp(fmt.Sprintf("/w%d-%d", worker, i), i), merge.Op{Kind: merge.OpIncr, At: "/n", Value: merge.Raw("1")}); err != nil {
				return err
			}
		}
		return nil
	})
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(content), fmt.Sprintf(`"n": %d`, writers*each))
	for worker := range writers {
		require.Contains(t, string(content), fmt.Sprintf(`"w%d-%d"`, worker, each-1))
	}
	st, err := openFor(t, path).Status(t.Context())
	require.NoError(t, err)
	require.Less(t, st.Generation, uint64(writers*each/2), "folds for %d changes", writers*each)
}

// A board that says that somebody folds, who does not: a folder that was killed leaves that.
func TestFolderThatIsNoMore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, []byte("{}\n"), 0o644))
	b := hasBoard(t, path)
	b.page[4*foldingWord] = 1
	b.checkFolder()
	require.False(t, b.folding())
	b.page[4*foldingWord] = 1
	g, err := Open(path, Options{Timeout: time.Minute})
	require.NoError(t, err)
	defer g.Close()
	_, err = g.openedStore(true)
	require.NoError(t, err)
	require.True(t, g.someoneFolds())
	_, err = g.Apply(t.Context(), setOp("/a", 1))
	require.NoError(t, err)
	require.False(t, b.folding())
}

// Who may write the target may cut the board's file under everybody's mapping.
func TestBoardCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, []byte("{}\n"), 0o644))
	hasBoard(t, path)
	apart(t, path, 4, func(g *Guard, worker int) error {
		for i := range 20 {
			if i == 5 && worker == 0 {
				if err := os.Truncate(filepath.Join(g.GuardDir(), boardName), 0); err != nil {
					return err
				}
			}
			if _, err := g.Apply(context.Background(), setOp(fmt.Sprintf("/w%d-%d", worker, i), i)); err != nil {
				return err
			}
		}
		return nil
	})
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 80, strings.Count(string(content), `"w`))
}

// What a Guard remembers of its last fold is not believed when somebody else wrote since.
func TestRememberedVersionIsChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, []byte("{\"a\": 1}\n"), 0o644))
	g := openFor(t, path)
	_, err := g.Apply(t.Context(), setOp("/b", 2))
	require.NoError(t, err)
	require.NotNil(t, g.remembered.doc)

	require.NoError(t, os.WriteFile(path, []byte("{\"outside\": true}\n"), 0o644))
	_, err = g.Apply(t.Context(), setOp("/c", 3))
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "{\"outside\": true, \"c\": 3}\n", string(content))

	// A change that is refused leaves nothing of itself in what is remembered.
	_, err = g.Apply(t.Context(), setOp("/d", 4), merge.Op{Kind: merge.OpAppend, At: "/c", Value: merge.Raw("5")})
	require.ErrorIs(t, err, merge.ErrType)
	_, err = g.Apply(t.Context(), setOp("/e", 6))
	require.NoError(t, err)
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "{\"outside\": true, \"c\": 3, \"e\": 6}\n", string(content))
}

// An edit in place of the same length, with the old time: within one tick of the filesystem's clock, each has that.
func TestRememberedVersionIsComparedByContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, []byte("{\"a\": 1}\n"), 0o644))
	g := openFor(t, path)
	_, err := g.Apply(t.Context(), setOp("/b", 2))
	require.NoError(t, err)
	require.NotNil(t, g.remembered.doc)

	info, err := os.Stat(path)
	require.NoError(t, err)
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte("9"), int64(len(`{"a": `)))
	require.NoError(t, err)
	require.NoError(t, file.Close())
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))

	_, err = g.Apply(t.Context(), setOp("/c", 3))
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "{\"a\": 9, \"b\": 2, \"c\": 3}\n", string(content))
}

// A sidecar that its owner cut back and filled again is read from its beginning, also when it has the very same size.
func TestSidecarCutBackIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, []byte("{}\n"), 0o644))
	owner, folder := openFor(t, path), openFor(t, path)
	long := strings.Repeat("x", journalLimit/4)
	write := func(round string) {
		for i := range 6 {
			_, err := owner.keepPending([]merge.Op{setOp(fmt.Sprintf("/%s%d", round, i), `"`+long+`"`)}, false)
			require.NoError(t, err)
		}
	}
	write("a")
	_, err := folder.Flush(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, folder.remembered.sidecars)
	size := owner.journal.size

	_, err = owner.Flush(t.Context()) // cuts it back
	require.NoError(t, err)
	require.Less(t, owner.journal.size, size)
	write("b")
	_, err = folder.Flush(t.Context())
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 6, bytes.Count(content, []byte(`"b`)), "changes that were written over old ones")
	require.Equal(t, 6, bytes.Count(content, []byte(`"a`)))
}

// Who folds for everybody keeps sidecars open, as long as their names lead to them and their owners live.
func TestSidecarsKeptOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, []byte("{}\n"), 0o644))
	b, folder, owner := hasBoard(t, path), openFor(t, path), openFor(t, path)
	write := func(g *Guard, at string) {
		_, err := g.keepPending([]merge.Op{setOp(at, 1)}, false)
		require.NoError(t, err)
	}
	fold := func() map[string]*readSoFar {
		_, err := folder.Flush(t.Context())
		require.NoError(t, err)
		return folder.remembered.sidecars
	}
	write(owner, "/a")
	name := owner.journal.id
	require.Nil(t, fold()[name].file, "it does not fold for everybody")

	served, err := folder.openedStore(false)
	require.NoError(t, err)
	require.True(t, served.board.becomeFolder())
	require.False(t, b.becomeFolder())
	kept := fold()[name].file
	require.NotNil(t, kept)
	write(owner, "/b")
	require.True(t, kept == fold()[name].file)

	// Somebody puts a copy in its place, to which the owner's next change is added.
	pending := filepath.Join(folder.GuardDir(), pendingName, name)
	write(owner, "/c")
	content, err := os.ReadFile(pending)
	require.NoError(t, err)
	require.NoError(t, os.Rename(pending, pending+".away"))
	require.NoError(t, os.WriteFile(pending, content, 0o644))
	require.NoError(t, os.Remove(pending+".away"))
	require.False(t, kept == fold()[name].file)
	require.NoFileExists(t, pending, "nobody holds its lock: it was folded and removed")
	require.Empty(t, fold(), "what is kept open of a sidecar that is gone")

	target, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, member := range []string{"a", "b", "c"} {
		require.Contains(t, string(target), fmt.Sprintf("%q: 1", member))
	}
	served.board.resign()
}

// Of those who wait for a lock that a program has, one waits for all: they do not queue for it one behind the other.
func TestOneOfManyLeads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, []byte("{}\n"), 0o644))
	b := hasBoard(t, path)
	program := openFor(t, path)
	held, err := program.lockAll(t.Context(), false, program.deadline())
	require.NoError(t, err)
	release := sync.OnceFunc(held.release)
	defer release()
	const writers = 12
	var workers sync.WaitGroup
	errs := make([]error, writers)
	for i := range writers {
		g := openFor(t, path)
		workers.Go(func() { _, errs[i] = g.Apply(context.Background(), setOp(fmt.Sprintf("/w%d", i), i)) })
	}
	for b.asked() < writers-1 {
		time.Sleep(time.Millisecond)
	}
	require.False(t, b.becomeFolder(), "nobody leads")
	release()
	workers.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	st, err := openFor(t, path).Status(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, st.Generation, uint64(3), "folds for %d changes that were all there", writers)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, writers, strings.Count(string(content), `"w`))
}
