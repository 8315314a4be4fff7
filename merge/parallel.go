package merge

import (
	"runtime"
	"sync"
)

// inParallel calls f for ranges that are all of 0 to n together, each of at least some, on as many processors as there
// are.
func inParallel(n, some int, f func(from, to int)) {
	workers := min(runtime.GOMAXPROCS(0), n/max(1, some))
	if workers <= 1 {
		f(0, n)
		return
	}
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { f(n*w/workers, n*(w+1)/workers) })
	}
	all.Wait()
}

// together calls both, at the same time where that is worth it.
func together(worth bool, f, g func()) {
	if !worth {
		f()
		g()
		return
	}
	var other sync.WaitGroup
	other.Go(g)
	f()
	other.Wait()
}
