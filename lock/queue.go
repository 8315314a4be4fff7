package lock

import (
	"context"
	"path/filepath"
	"sync"
)

// queue excludes the goroutines of this process, first come first served: one flock for each would be served by the
// kernel too, but would cost a thread for each waiter, and the race detector would not see that one follows another.
type queue struct {
	mu      sync.Mutex
	readers int
	writer  bool
	waiting []*waiter
}

type waiter struct {
	shared bool
	turn   chan struct{}
}

var (
	queuesMu sync.Mutex
	queues   = map[string]*queue{} // one for each lock file ever used; their number is that of the files
)

func queueFor(path string) *queue {
	key := path
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		key = filepath.Join(dir, filepath.Base(path))
	}
	key = absolute(key)
	queuesMu.Lock()
	defer queuesMu.Unlock()
	q := queues[key]
	if q == nil {
		q = &queue{}
		queues[key] = q
	}
	return q
}

func (q *queue) enter(ctx context.Context, shared, once bool) (leave func(), err error) {
	q.mu.Lock()
	if len(q.waiting) == 0 && q.free(shared) {
		q.take(shared)
		q.mu.Unlock()
		return func() { q.leave(shared) }, nil
	}
	if once {
		q.mu.Unlock()
		return nil, ErrTimeout
	}
	w := &waiter{shared, make(chan struct{})}
	q.waiting = append(q.waiting, w)
	q.mu.Unlock()
	select {
	case <-w.turn:
		return func() { q.leave(shared) }, nil
	case <-ctx.Done():
		q.giveUp(w)
		return nil, context.Cause(ctx)
	}
}

func (q *queue) free(shared bool) bool { return !q.writer && (shared || q.readers == 0) }

func (q *queue) take(shared bool) {
	if shared {
		q.readers++
	} else {
		q.writer = true
	}
}

func (q *queue) leave(shared bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if shared {
		q.readers--
	} else {
		q.writer = false
	}
	q.serve()
}

// serve gives the turn to those in front.
func (q *queue) serve() {
	for len(q.waiting) > 0 && q.free(q.waiting[0].shared) {
		w := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.take(w.shared)
		close(w.turn)
	}
}

// giveUp takes w out of the line, or hands on the turn that it was given in this very moment.
func (q *queue) giveUp(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, other := range q.waiting {
		if other == w {
			q.waiting = append(q.waiting[:i:i], q.waiting[i+1:]...)
			q.serve()
			return
		}
	}
	if w.shared {
		q.readers--
	} else {
		q.writer = false
	}
	q.serve()
}
