package sidecar

import (
	"runtime"
	"time"
)

// yield has the runtime schedule this goroutine anew, now and then. One that goes from one system call to the next is never
// scheduled, and after 10 ms counts as one that does not stop: the runtime's monitor interrupts it, takes its processor away, and
// looks every 20 µs thereafter whether it has to again. That was more context switches than the changes themselves needed.
func (g *Guard) yield() {
	const often = 4 * time.Millisecond // the monitor comes every 10 ms, at the latest
	now := int64(time.Since(processBegan))
	if last := g.yielded.Load(); now-last > int64(often) && g.yielded.CompareAndSwap(last, now) {
		runtime.Gosched()
	}
}

var processBegan = time.Now()
