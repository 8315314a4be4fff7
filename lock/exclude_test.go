package lock

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each process reads a number, adds one and replaces the file: every addition that is lost is a lock that did not hold.
func TestProcessesExcludeEachOther(t *testing.T) {
	const procs, each = 12, 60
	path := target(t, "0")
	var all []*process
	for range procs {
		all = append(all, start(t, "count", []string{strconv.Itoa(each), path}))
	}
	for _, p := range all {
		p.end()
	}
	requireCount(t, path, procs*each)
}

func requireCount(t *testing.T, path string, want int) {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(want), string(raw))
}

// The counter has no other protection: the race detector sees it too.
func TestGoroutinesOfOneProcessExcludeEachOther(t *testing.T) {
	const goroutines, each = 16, 50
	path := target(t, "{}")
	count := 0
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for range each {
				l, err := Acquire(context.Background(), path)
				if err != nil {
					t.Error(err)
					return
				}
				count++
				if err := l.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	require.Equal(t, goroutines*each, count)
}

// One file by two names is one lock, for goroutines (whose queue goes by name) as for processes.
func TestTheSameFileByAnotherPath(t *testing.T) {
	path := target(t, "{}")
	t.Chdir(t.TempDir())
	require.NoError(t, os.Symlink(filepath.Dir(path), "link"))
	l, err := Acquire(context.Background(), path)
	require.NoError(t, err)
	require.True(t, busy(t, "link/results.json"))
	require.True(t, acquire(t, "link/results.json", []string{"timeout=0"}).Timeout)
	require.NoError(t, l.Release())
	require.False(t, busy(t, "link/results.json"))
}

func TestSharedAndExclusive(t *testing.T) {
	for _, c := range []struct {
		name   string
		holder []string
		wants  []string
		gets   bool
	}{
		{"exclusive keeps exclusive out", nil, nil, false},
		{"exclusive keeps shared out", nil, []string{"shared"}, false},
		{"shared keeps exclusive out", []string{"shared"}, nil, false},
		{"shared lets shared in", []string{"shared"}, []string{"shared"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := target(t, "{}")
			p := hold(t, path, c.holder...)
			_, opts := parseOptions(append([]string{path}, c.wants...))
			require.Equal(t, c.gets, !busy(t, path, opts...), "another process")
			p.end()
			_, holder := parseOptions(append([]string{path}, c.holder...))
			l, err := Acquire(context.Background(), path, holder...)
			require.NoError(t, err)
			require.Equal(t, c.gets, !busy(t, path, opts...), "another goroutine")
			require.NoError(t, l.Release())
			require.False(t, busy(t, path))
		})
	}
}

// A stream of readers does not keep a writer out for ever.
func TestReadersDoNotStarveAWriter(t *testing.T) {
	path := target(t, "{}")
	stop := make(chan struct{})
	var readers sync.WaitGroup
	defer readers.Wait()
	defer close(stop)
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				l, err := Acquire(context.Background(), path, Shared())
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
				_ = l.Release()
			}
		})
	}
	for range 20 {
		l, err := Acquire(context.Background(), path, Timeout(2*time.Minute))
		require.NoError(t, err)
		require.NoError(t, l.Release())
	}
}

func TestTimeoutZeroDoesNotWait(t *testing.T) {
	path := target(t, "{}")
	hold(t, path)
	start := time.Now()
	_, err := Acquire(context.Background(), path, Timeout(0))
	require.ErrorIs(t, err, ErrTimeout)
	l, ok, err := Try(path)
	require.NoError(t, err)
	require.False(t, ok)
	require.Nil(t, l)
	require.Less(t, time.Since(start), DefaultTimeout, "it waited all the same")
}

func TestTimeout(t *testing.T) {
	path := target(t, "{}")
	hold(t, path)
	start := time.Now()
	_, err := Acquire(context.Background(), path, Timeout(100*time.Millisecond))
	require.ErrorIs(t, err, ErrTimeout)
	require.NotErrorIs(t, err, context.DeadlineExceeded, "the timeout is ours, the caller's context goes on")
	require.GreaterOrEqual(t, time.Since(start), 100*time.Millisecond)
}

func TestDefaultTimeoutIs30Seconds(t *testing.T) {
	require.Equal(t, 30*time.Second, DefaultTimeout)
	if !*long {
		t.Skip("SKIPPED: waiting for it takes half a minute; run with -long")
	}
	path := target(t, "{}")
	hold(t, path)
	start := time.Now()
	_, err := Acquire(context.Background(), path)
	require.ErrorIs(t, err, ErrTimeout)
	require.GreaterOrEqual(t, time.Since(start), DefaultTimeout)
}

func TestContextEndsTheWait(t *testing.T) {
	path := target(t, "{}")
	for name, hold := range map[string]func() (release func()){
		"held by another process": func() func() { return hold(t, path).end },
		"held by this process": func() func() {
			l, err := Acquire(context.Background(), path)
			require.NoError(t, err)
			return func() { require.NoError(t, l.Release()) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			release := hold()
			ctx, cancel := context.WithCancel(context.Background())
			got := make(chan error)
			go func() {
				_, err := Acquire(ctx, path)
				got <- err
			}()
			time.Sleep(20 * time.Millisecond)
			cancel()
			require.ErrorIs(t, <-got, context.Canceled)

			var e *Error
			for wait := 20 * time.Millisecond; e == nil || e.Holder == nil; wait *= 4 { // it may be over before it is waited for
				require.Less(t, wait, time.Minute, "the context's deadline names the holder, too: %v", e)
				ctx, cancel = context.WithTimeout(context.Background(), wait)
				_, err := Acquire(ctx, path)
				cancel()
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.ErrorAs(t, err, &e)
			}
			release()
			eventually(t, func() bool { return !busy(t, path) }, "whoever gave up does not keep it")
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Acquire(ctx, path)
	require.ErrorIs(t, err, context.Canceled, "a context that is over gets no lock, though it is free")
}

func TestReleaseTwice(t *testing.T) {
	path := target(t, "{}")
	l, err := Acquire(context.Background(), path)
	require.NoError(t, err)
	require.NoError(t, l.Release())
	next, err := Acquire(context.Background(), path)
	require.NoError(t, err)
	require.NoError(t, l.Release())
	require.True(t, busy(t, path), "the second release must not let go what another goroutine holds")
	require.NoError(t, next.Release())
}

// acquireAndRelease waits in a goroutine for the lock, and gives it up at once.
func acquireAndRelease(path string, opts ...Option) <-chan error {
	got := make(chan error)
	go func() {
		l, err := Acquire(context.Background(), path, opts...)
		if err == nil {
			err = l.Release()
		}
		got <- err
	}()
	return got
}

func TestADeadHolderBlocksNobody(t *testing.T) {
	path := target(t, "{}")
	for range 5 {
		p := hold(t, path)
		require.True(t, busy(t, path))
		got := acquireAndRelease(path) // waits already when the holder dies
		p.kill()
		require.NoError(t, <-got)
	}
}

// Waiting takes its turn in the order of asking, among goroutines.
func TestGoroutinesAreServedInOrder(t *testing.T) {
	path := target(t, "{}")
	l, err := Acquire(context.Background(), path)
	require.NoError(t, err)
	q := queueFor(LockPath(path))
	var order []int
	var all sync.WaitGroup
	for i := range 5 {
		all.Go(func() {
			l, err := Acquire(context.Background(), path)
			if err != nil {
				t.Error(err)
				return
			}
			order = append(order, i)
			_ = l.Release()
		})
		eventually(t, func() bool {
			q.mu.Lock()
			defer q.mu.Unlock()
			return len(q.waiting) == i+1
		}, "in the queue")
	}
	require.NoError(t, l.Release())
	all.Wait()
	require.Equal(t, []int{0, 1, 2, 3, 4}, order)
}
