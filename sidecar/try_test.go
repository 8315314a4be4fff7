package sidecar

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// releasing is a target's lock that tells when it is given back.
type releasing struct {
	targetLock
	before func()
}

func (l releasing) Release() error {
	l.before()
	return l.targetLock.Release()
}

// A fold takes two locks, and gives back two. Whoever waits for no program waits for it all the same, wherever it is.
func TestTryIsNotMisledByAFoldBetweenItsLocks(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a := s.session(Options{})
	other, err := Open(s.target, Options{})
	require.NoError(t, err)

	first, goOn := make(chan struct{}), make(chan struct{})
	take := other.seams.lockTarget
	other.seams.lockTarget = func(ctx context.Context, name string, wait time.Duration) (targetLock, error) {
		l, err := take(ctx, name, wait)
		close(first)
		<-goOn // it has one lock, and does not get a processor
		return releasing{l, func() {
			f, err := a.store.openGuardLock()
			if err == nil {
				defer f.Close()
			}
			if free, ferr := f.TryLock(); err != nil || ferr != nil || free {
				t.Error("who waits for the end of a fold finds the target's lock still held", err, ferr)
			}
		}}, err
	}
	s.write(a, `{"a":1}`, `{}`)
	folded := make(chan error)
	go func() {
		_, err := other.Flush(context.Background())
		folded <- err
	}()
	<-first

	attempts := 0
	try := a.reader.seams.lockTarget
	a.reader.seams.lockTarget = func(ctx context.Context, name string, wait time.Duration) (targetLock, error) {
		if attempts++; attempts == 6 {
			close(goOn)
			require.NoError(t, <-folded)
		}
		return try(ctx, name, wait)
	}
	s.tryFolds(a, true)
}

// tryFolds: Try is not kept from folding what s holds.
func (t *sessionTest) tryFolds(s *Session, patient bool) {
	done, _, err := s.Try(context.Background(), Closed{}, patient)
	require.NoError(t, err)
	require.True(t, done)
	require.JSONEq(t, `{"a":1}`, t.content())
}

func TestTryGivesUpWhereAProgramHasTheLock(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a := s.session(Options{})
	g, err := Open(s.target, Options{})
	require.NoError(t, err)
	held, err := g.lockAll(context.Background(), false, g.deadline())
	require.NoError(t, err)
	s.releaseGuardLock(held)
	s.write(a, `{"a":1}`, `{}`)
	for _, patient := range []bool{true, false} {
		done, _, err := a.Try(context.Background(), Closed{}, patient)
		require.NoError(t, err)
		require.False(t, done)
		require.JSONEq(t, `{}`, s.content())
	}
	held.release()
	s.tryFolds(a, false)
}

// A fold of this session that has nothing to wait for is one that Try waits for, and not one that it meets at the locks.
func TestTryWaitsForAFoldOfItsOwnSession(t *testing.T) {
	s := newSessionTest(t, "a.json", `{}`)
	a := s.session(Options{})
	a.g.seams.lockTarget = func(context.Context, string, time.Duration) (targetLock, error) {
		t.Error("it went for the locks beside those that may not wait")
		return heldByTree{}, nil
	}
	s.write(a, `{"a":1}`, `{}`)
	require.Equal(t, 1, s.fold(a).Folded)
	require.JSONEq(t, `{"a":1}`, s.content())
}
