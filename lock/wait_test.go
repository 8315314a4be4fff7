package lock

import (
	"context"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func threads() int { return pprof.Lookup("threadcreate").Count() }

// A wait that was given up stays in the kernel until it is served. Neither does it keep the lock then, nor do a thousand
// of them cost a thread each (Go ends a program with 10,000).
func TestWaitsThatWereGivenUp(t *testing.T) {
	for _, pointer := range []string{"file", "pointer"} {
		t.Run(pointer, func(t *testing.T) {
			path := target(t, "{}")
			var opts []Option
			var other []string
			if pointer == "pointer" {
				opts, other = []Option{At("/a")}, []string{"at=/a"}
			}
			p := hold(t, path, other...)
			before := threads()
			for range 300 {
				_, err := Acquire(context.Background(), path, append(opts, Timeout(time.Millisecond))...)
				require.ErrorIs(t, err, ErrTimeout)
			}
			require.Less(t, threads()-before, maxBlocked+20)
			require.Len(t, blocked, maxBlocked)

			// A waiter that found no thread left still gets it, by looking again and again.
			got := acquireAndRelease(path, opts...)
			p.end()
			require.NoError(t, <-got)
			eventually(t, func() bool { return len(blocked) == 0 }, "those that were given up end when they are served")
			require.False(t, busy(t, path, opts...))
			require.False(t, acquire(t, path, append(other, "timeout=0")).Timeout, "another process gets it")
		})
	}
}

// A process that gave up is no obstacle to the next: not to its own, not to others.
func TestTheNextAfterOneGaveUp(t *testing.T) {
	path := target(t, "{}")
	for range 20 {
		p := hold(t, path)
		_, err := Acquire(context.Background(), path, Timeout(time.Millisecond))
		require.ErrorIs(t, err, ErrTimeout)
		p.end()
		l, err := Acquire(context.Background(), path)
		require.NoError(t, err)
		require.True(t, acquire(t, path, []string{"timeout=0"}).Timeout, "the late service of the first takes nothing from the second")
		require.NoError(t, l.Check())
		require.NoError(t, l.Release())
	}
}
