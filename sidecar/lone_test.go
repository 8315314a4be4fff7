package sidecar

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/lock"
	"jsonguard/merge"
)

// A lone change under <target>.lock has looked for a guard directory and found none. Then a session comes that leaves that lock
// alone, makes one, and folds. Neither loses what the other wrote.
func TestALoneChangeBesideASessionThatMakesNoLockFile(t *testing.T) {
	s := newSessionTest(t, "a.json", `{"n": 1}`)
	lone, err := Open(s.target, Options{})
	require.NoError(t, err)
	var session *Session
	_, err = lone.Update(context.Background(), func(d *merge.Document) error {
		if session == nil {
			require.NoDirExists(t, GuardDir(s.target), "it takes itself for alone")
			session = s.session(Options{LockInside: true})
			s.write(session, `{"n": 1, "session": 1}`, `{"n": 1}`)
			done := make(chan Result)
			go func() { done <- s.fold(session) }()
			require.Equal(t, 1, (<-done).Folded, "it waits for nobody")
		}
		return d.Do(merge.Op{Kind: merge.OpSet, At: "/lone", Value: merge.Raw("1")})
	})
	require.NoError(t, err)
	s.fold(session)
	require.JSONEq(t, `{"n":1,"lone":1,"session":1}`, s.content())
	require.FileExists(t, lock.LockPath(s.target), "of the lone change")
	require.NoError(t, session.Close(true))
	require.NoError(t, lone.Close())
}
