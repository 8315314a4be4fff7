package sidecar

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// board skips where processes cannot share memory.
func (t *sessionTest) board(s *Session) *board {
	b := s.board()
	if b == nil {
		t.Skip("SKIPPED: no memory is shared between processes here")
	}
	return b
}

// locksNothing has a session fail that goes for the target's lock.
func (t *sessionTest) locksNothing(s *Session) {
	for _, g := range []*Guard{s.g, s.reader} {
		g.seams.lockTarget = func(context.Context, string, time.Duration) (targetLock, error) {
			t.Error("it folds by itself")
			return nil, errors.ErrUnsupported
		}
	}
}

// Who asks for a fold while another session folds is served by that one.
func TestWhoAsksWhileAnotherFoldsIsServed(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a, b := s.session(Options{}), s.session(Options{})
	s.board(a).patience = time.Minute
	require.True(t, s.board(b).becomeFolder())
	s.locksNothing(a)

	x := s.write(a, `{"a":1}`, `{}`)
	served := make(chan error)
	go func() {
		done, _, err := a.Try(context.Background(), Closed{Files: []*Scratch{x}}, true)
		if err == nil && !done {
			err = errors.New("not done")
		}
		served <- err
	}()
	for i := 0; ; i++ { // the first of them may have begun before a asked
		s.write(b, fmt.Sprintf(`{"b%d":1}`, i), `{}`)
		_, _, err := b.foldNow(context.Background(), Closed{})
		require.NoError(t, err)
		select {
		case err := <-served:
			require.NoError(t, err)
			require.Contains(t, s.content(), `"a"`)
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// A fold that began before serves nobody who asked since.
func TestAFoldThatBeganBeforeServesNobody(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a := s.session(Options{})
	b := s.board(a)
	number := b.begin()
	asked := b.begun()
	b.end(number, true)
	require.False(t, b.wholeSince(asked))
	number = b.begin()
	require.False(t, b.wholeSince(asked))
	b.end(number, false)
	require.False(t, b.wholeSince(asked), "it failed")
	b.end(b.begin(), true)
	require.True(t, b.wholeSince(asked))
}

// What is on the board is a hint: whatever it says, what a program closed is folded.
func TestABoardThatLiesLosesNothing(t *testing.T) {
	for _, whole := range []uint32{0, 1, 7, 1 << 31, 1<<32 - 1} {
		s := newSessionTest(t, "a.json", `{}`)
		a := s.session(Options{})
		s.board(a)
		f, err := os.OpenFile(filepath.Join(a.g.GuardDir(), boardName), os.O_RDWR, 0)
		require.NoError(t, err)
		words := make([]byte, 4*(newsWord+1))
		for n, v := range []uint32{turnWord: 9, askedWord: 9, foldingWord: 1, begunWord: 5, endedWord: 3, wholeWord: whole, newsWord: 2} {
			binary.NativeEndian.PutUint32(words[4*n:], v)
		}
		_, err = f.WriteAt(words, 0)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		for i := range 3 {
			x := s.write(a, fmt.Sprintf(`{"a":%d}`, i+1), s.content())
			_, overlay, _, err := a.Current(context.Background(), Closed{Files: []*Scratch{x}})
			require.NoError(t, err)
			require.False(t, overlay)
			require.JSONEq(t, fmt.Sprintf(`{"a":%d}`, i+1), s.content())
		}
	}
}

// A scratch file that is still there was not served, whatever is said.
func TestWhatIsStillThereIsFolded(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a := s.session(Options{})
	b := s.board(a)
	x := s.write(a, `{"a":1}`, `{}`)
	lied := false
	// A fold that brings nothing in, and says that it does, between the question and the look.
	ctx := askedContext{context.Background(), func() { b.end(b.begin(), true); lied = true }}
	done, _, err := a.Try(ctx, Closed{Files: []*Scratch{x}}, true)
	require.NoError(t, err)
	require.True(t, lied)
	require.True(t, done)
	require.JSONEq(t, `{"a":1}`, s.content())
}

// askedContext does something whenever it is asked whether it is over.
type askedContext struct {
	context.Context
	asked func()
}

func (c askedContext) Err() error {
	c.asked()
	return c.Context.Err()
}

// A session whose change another one folded learns that it was refused.
func TestVerdictOfAFoldByAnother(t *testing.T) {
	s := newSessionTest(t, "a.json", ``)
	a, b := s.session(Options{}), s.session(Options{})
	s.fold(a)
	x := s.write(a, `{"a":1,"b":1}`, `{"a":1}`) // nothing is there any more
	require.Len(t, s.fold(b).Rejected, 1)
	require.True(t, a.gone([]*Scratch{x}))
	r := a.verdicts([]*Scratch{x})
	require.Len(t, r.Rejected, 1)
	require.Equal(t, x.Sidecar(), r.Rejected[0].Sidecar)
	require.FileExists(t, filepath.Join(a.g.GuardDir(), quarantineName, r.Rejected[0].File))
}

// A session that was ended folds nothing any more: its target may have been left alone.
func TestAnEndedSessionMakesNothing(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a := s.session(Options{})
	require.NoError(t, a.Close(true))
	names := func() (all []string) {
		entries, err := os.ReadDir(filepath.Dir(s.target))
		require.NoError(t, err)
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return all
	}
	before := names()
	_, err := a.Fold(context.Background(), Closed{})
	require.NoError(t, err)
	require.Equal(t, before, names())
}
