package sidecar

import (
	"bytes"
	"runtime"
	"sync"

	"jsonguard/merge"
)

// An Update inside the fn of an Update of the same file would wait for itself until the timeout. Go does not say which
// goroutine runs, but in the head of its stack; the cost is a microsecond, and only while an fn runs.
var updating struct {
	sync.Mutex
	by map[updater]bool
}

type updater struct{ goroutine, target string }

func thisGoroutine() string {
	var head [64]byte
	_, rest, _ := bytes.Cut(head[:runtime.Stack(head[:], false)], []byte("goroutine "))
	id, _, _ := bytes.Cut(rest, []byte(" "))
	return string(id)
}

// update runs fn, known as this goroutine's update of the target.
func (g *Guard) update(d *merge.Document, fn func(*merge.Document) error) error {
	me := updater{thisGoroutine(), g.Target()}
	updating.Lock()
	if updating.by == nil {
		updating.by = map[updater]bool{}
	}
	updating.by[me] = true
	updating.Unlock()
	defer func() { // also when fn panics
		updating.Lock()
		delete(updating.by, me)
		updating.Unlock()
	}()
	return fn(d)
}

// checkReentry refuses what would wait for the fn that calls it.
func (g *Guard) checkReentry() error {
	updating.Lock()
	defer updating.Unlock()
	if len(updating.by) == 0 || !updating.by[updater{thisGoroutine(), g.Target()}] {
		return nil
	}
	return g.fail("lock", ErrReentry, "it would wait for itself: change the document that the function was given")
}
