package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

// What a supervisor holds are a few large documents, cheap to look through: the program has a use for the rest of the
// memory. But a percentage alone has a small heap looked through after each few hundred kilobytes, which was half of what a
// write of a small document cost.
const (
	heapPercent  = 15      // of what lives may be garbage
	heapRoom     = 4 << 20 // bytes; that much in any case
	heapSmall    = 4 << 20 // up to here there may be
	smallPercent = 200     // of it
)

// boundHeap has the heap collected early where it is large, unless GOGC says otherwise, until stop.
func boundHeap() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	before := debug.SetGCPercent(smallPercent)
	var stopped atomic.Bool
	var follow func(percent int)
	follow = func(percent int) { // runs after each collection
		if stopped.Load() {
			return
		}
		now := percentFor(liveHeap(percent))
		if now != percent {
			debug.SetGCPercent(now)
		}
		runtime.AddCleanup(new(*int), follow, now) // nothing refers to it: the next collection finds that
	}
	runtime.AddCleanup(new(*int), follow, smallPercent)
	return func() {
		stopped.Store(true)
		debug.SetGCPercent(before)
	}
}

func percentFor(live uint64) int {
	if live <= heapSmall {
		return smallPercent
	}
	return max(heapPercent, int(heapRoom*100/live))
}

// liveHeap is about what the last collection left, in bytes: percent of it may be garbage until the next one. Package
// runtime/metrics says it outright, and makes a table of all that it can say each time that a program starts.
func liveHeap(percent int) uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NextGC * 100 / uint64(100+percent)
}
