package sidecar

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// A program closes its file, and another process folds it, between the moment in which its supervisor has read what it
// holds and the one in which that has the lock to take this as a part: it is in the target already.
func TestAPartOfWhatWasFoldedMeanwhile(test *testing.T) {
	for _, folder := range []string{"folds", "is killed before it removes the file", "has not folded yet"} {
		test.Run("lines appended, another "+folder, func(test *testing.T) {
			t := newSessionTest(test, "a.jsonl", "1\n")
			s, other := t.session(Options{}), t.session(Options{})
			x, f := t.createAppended(s, "1\n", "2\n")
			require.NoError(t, f.Close())
			t.foldUpTo(folder, s, other, x)
			require.ErrorIs(t, x.Appended(context.Background(), Writer{}, []byte("2\n")), ErrClosed)
			t.fold(other)
			t.fold(other)
			require.Equal(t, "1\n2\n", t.content())
		})
		for _, additions := range []bool{true, false} {
			test.Run("a version, another "+folder, func(test *testing.T) {
				t := newSessionTest(test, "a.json", `{"m":{},"l":[]}`)
				o := Options{Policy: &merge.Policy{Rules: []merge.Rule{{At: "/m/*/n", Merge: merge.Sum}}}}
				s, other := t.session(o), t.session(o)
				const base, ours = `{"m":{},"l":[]}`, `{"m":{"x":{"n":1}},"l":["x"]}`
				x, f := t.create(s, ours, base)
				require.NoError(t, f.Close())
				t.foldUpTo(folder, s, other, x)
				_, _, err := x.Submit(context.Background(), Writer{}, []byte(ours), Bases{Versions: [][]byte{[]byte(base)}}, additions)
				require.ErrorIs(t, err, ErrClosed)
				t.fold(other)
				t.fold(other)
				require.Equal(t, ours, t.content())
			})
		}
	}
}

// What cannot be noted (a full disk) is not taken: neither lost nor there twice.
func TestAPartThatCannotBeNoted(test *testing.T) {
	t := newSessionTest(test, "a.jsonl", "1\n")
	s := t.session(Options{})
	x, f := t.createAppended(s, "1\n", "2\n")
	inTheWay := s.path + "/" + x.n + aboutSuffix + unbornSuffix
	require.NoError(t, os.MkdirAll(inTheWay+"/full", 0o700))
	require.Error(t, x.Appended(context.Background(), Writer{}, []byte("2\n")))
	require.NoError(t, os.RemoveAll(inTheWay))
	t.fold(s)
	require.Equal(t, "1\n", t.content())
	require.NoError(t, x.Appended(context.Background(), Writer{}, []byte("2\n")))
	_, err := f.WriteString("3\n")
	require.NoError(t, err)
	before := time.Now().Add(-time.Second) // the clock of a filesystem is behind, by up to a tick
	require.NoError(t, os.Chtimes(s.path+"/"+x.n+scratchSuffix, before, before))
	require.NoError(t, f.Close())
	t.fold(s)
	require.Equal(t, "1\n2\n3\n", t.content())
}

// foldUpTo has another process fold x, of s, or a part of that.
func (t *sessionTest) foldUpTo(folder string, s, other *Session, x *Scratch) {
	if folder == "has not folded yet" {
		return
	}
	kept := t.TempDir()
	names, err := s.dir.Names()
	require.NoError(t, err)
	for _, name := range names {
		require.NoError(t, os.Link(s.path+"/"+name, kept+"/"+name))
	}
	require.Equal(t, 1, t.fold(other).Folded)
	if folder == "folds" {
		return
	}
	for _, name := range names {
		if name != ownerName {
			require.NoError(t, os.Rename(kept+"/"+name, s.path+"/"+name))
		}
	}
}
