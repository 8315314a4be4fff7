package sidecar

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/lock"
	"jsonguard/merge"
)

// losing is a lock that turns out to be lost at the given checks, counted over all locks of the guard from 1.
type losing struct {
	targetLock
	checks *int
	lost   func(n int) bool
}

func (l losing) Check() error {
	*l.checks++
	if l.lost(*l.checks) {
		return lock.ErrLost
	}
	return l.targetLock.Check()
}

// A fold that finds its lock lost publishes nothing under it, and is done again under the next one; wherever it finds
// out, the change is there once.
func TestALostLock(t *testing.T) {
	for _, guarded := range []bool{false, true} {
		for _, c := range []struct {
			name string
			lost func(n int) bool
			err  error
		}{
			{"first check", func(n int) bool { return n == 1 }, nil},
			{"second check", func(n int) bool { return n == 2 }, nil},
			{"the first three", func(n int) bool { return n <= 3 }, nil},
			{"always", func(int) bool { return true }, lock.ErrLost},
		} {
			t.Run(c.name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "doc.json")
				require.NoError(t, os.WriteFile(path, []byte(`{"n":0}`), 0o644))
				g, err := Open(path, Options{Timeout: time.Minute})
				require.NoError(t, err)
				defer g.Close()
				if guarded { // a commit record comes before the rename
					require.NoError(t, g.Journal(context.Background(), merge.Op{Kind: "incr", At: "/m", Value: []byte("1")}))
				}
				before, err := g.Status(context.Background())
				require.NoError(t, err)
				checks := 0
				take := g.seams.lockTarget
				g.seams.lockTarget = func(ctx context.Context, name string, wait time.Duration) (targetLock, error) {
					l, err := take(ctx, name, wait)
					return losing{l, &checks, c.lost}, err
				}
				_, err = g.Update(context.Background(), func(d *merge.Document) error {
					return d.Do(merge.Op{Kind: "incr", At: "/n", Value: []byte("1")})
				})
				content, readErr := os.ReadFile(path)
				require.NoError(t, readErr)
				if c.err != nil {
					require.ErrorIs(t, err, c.err)
					require.Equal(t, `{"n":0}`, string(content))
					after, err := g.Status(context.Background())
					require.NoError(t, err)
					require.Equal(t, before.Generation, after.Generation, "no record over those of the new holder")
					return
				}
				require.NoError(t, err)
				if guarded {
					require.JSONEq(t, `{"n":1,"m":1}`, string(content))
				} else {
					require.JSONEq(t, `{"n":1}`, string(content))
				}
			})
		}
	}
}
