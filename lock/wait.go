package lock

import (
	"context"
	"time"
)

// maxBlocked is how many threads of this process wait in the kernel for locks at any time. Each wait there costs a
// thread, also one that was given up, until it is served; Go ends a program with 10,000 of them.
const maxBlocked = 64

var blocked = make(chan struct{}, maxBlocked)

// WaitInKernel is how this package waits, for those who lock a file of their own: it calls block, which waits for a lock
// and cannot be interrupted, until it is served or ctx ends, which is an error: its cause. A wait
// that was given up goes on in its thread: when it gets the lock, it lets go of it at once by calling abandon. That
// costs the next in line a moment, and makes somebody who only tries in this moment think that the lock is held.
// Where too many threads wait already, it looks again and again with try, which is not fair, but ends.
//
// After an error, abandon was or will be called.
func WaitInKernel(ctx context.Context, try func() (bool, error), block, abandon func() error) error {
	select {
	case blocked <- struct{}{}:
	default:
		return poll(ctx, try, abandon)
	}
	got := make(chan error, 1)
	go func() {
		err := block()
		<-blocked
		got <- err
	}()
	select {
	case err := <-got:
		if err != nil {
			_ = abandon()
		}
		return err
	case <-ctx.Done():
		go func() {
			<-got
			_ = abandon()
		}()
		return context.Cause(ctx)
	}
}

const pollInterval = 10 * time.Millisecond

func poll(ctx context.Context, try func() (bool, error), abandon func() error) error {
	for {
		select {
		case <-ctx.Done():
			_ = abandon()
			return context.Cause(ctx)
		case <-time.After(pollInterval):
		}
		ok, err := try()
		if err != nil {
			_ = abandon()
		}
		if ok || err != nil {
			return err
		}
	}
}
