package sidecar

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var opens = flag.Int("opens", 90, "Guards that TestGuardsLeaveNothingOpen opens and closes")

func emptyObject(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "a.json")
	require.NoError(t, os.WriteFile(path, []byte("{}\n"), 0o644))
	return path
}

// The flock of an open file does not exclude other goroutines that have it open.
func TestOneFolderInAGuard(t *testing.T) {
	path := emptyObject(t)
	b, other := hasBoard(t, path), hasBoard(t, path)
	require.True(t, b.becomeFolder())
	require.False(t, b.becomeFolder(), "a second goroutine of the same Guard")
	b.checkFolder()
	require.True(t, b.folding(), "a waiter of the folder's own process took it for dead")
	require.False(t, other.becomeFolder())
	b.resign()
	require.True(t, other.becomeFolder())
	other.resign()
}

// appliesSoon makes a change through another Guard, which sees the board first.
func appliesSoon(t *testing.T, path string) *Guard {
	g := openFor(t, path)
	_, err := g.openedStore(true)
	require.NoError(t, err)
	began := time.Now()
	_, err = g.Apply(t.Context(), setOp("/a", 1))
	require.NoError(t, err)
	require.Less(t, time.Since(began), 30*time.Second, "the timeout is a minute")
	return g
}

// A folder that was stopped between two folds holds no lock: nobody waits for it for long.
func TestFolderThatWasStopped(t *testing.T) {
	path := emptyObject(t)
	stopped := hasBoard(t, path)
	require.True(t, stopped.becomeFolder())
	g := appliesSoon(t, path)
	require.False(t, g.someoneFolds(), "the next change would wait again")

	stopped.announce() // it goes on
	require.True(t, g.someoneFolds())
	stopped.resign()
}

// A folder that cannot see a change folds on and on without it: who brought it does so itself.
func TestFolderThatCannotSeeAChange(t *testing.T) {
	path := emptyObject(t)
	blind := hasBoard(t, path)
	require.True(t, blind.becomeFolder())
	ctx, stop := context.WithCancel(t.Context())
	var folder sync.WaitGroup
	folder.Go(func() {
		for ctx.Err() == nil {
			blind.nextTurn()
			time.Sleep(time.Millisecond)
		}
	})
	appliesSoon(t, path)
	stop()
	folder.Wait()
	blind.resign()
}

// Close takes the memory away under goroutines that wait on it.
func TestBoardClosedUnderWaiters(t *testing.T) {
	g, err := Open(emptyObject(t), Options{})
	require.NoError(t, err)
	s, err := g.openedStore(true)
	require.NoError(t, err)
	if s.board == nil {
		t.Skip("SKIPPED: processes share no memory on this system")
	}
	var waiters sync.WaitGroup
	for range 4 {
		waiters.Go(func() {
			for range 200 {
				s.board.ask()
				s.board.awaitTurn(s.board.turn(), time.Millisecond)
				s.board.nextTurn()
			}
		})
	}
	require.NoError(t, g.Close())
	waiters.Wait()
	require.Zero(t, s.board.asked())
}

// A Guard leaves nothing of itself behind, however often one is opened.
func TestGuardsLeaveNothingOpen(t *testing.T) {
	path := emptyObject(t)
	use := func(n int) {
		for i := range n {
			g, err := Open(path, Options{})
			require.NoError(t, err)
			switch i % 3 {
			case 0:
				require.NoError(t, g.Journal(t.Context(), setOp("/j", i)))
			case 1:
				_, err = g.openedStore(true)
				require.NoError(t, err)
				g.serve()
			default:
				_, err = g.Apply(t.Context(), setOp("/a", i))
				require.NoError(t, err)
			}
			require.NoError(t, g.Close())
		}
	}
	use(9)
	files, mappings := openFiles(t), boardMappings(t)
	goroutines := runtime.NumGoroutine()
	use(*opens)
	require.LessOrEqual(t, openFiles(t), files)
	require.LessOrEqual(t, boardMappings(t), mappings)
	for range 1000 { // not require.Eventually, which has goroutines of its own
		if runtime.NumGoroutine() <= goroutines {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
}
