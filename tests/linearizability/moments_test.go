//go:build unix

package linearizability

import (
	"cmp"
	"slices"
)

// moment is when something was asked for, or when it was answered.
type moment[T any] struct {
	at      int64 // CLOCK_MONOTONIC, ns
	of      T
	returns bool
}

// sortByTime leaves, at one moment, what was asked for before what was answered: nothing is known of their order.
func sortByTime[T any](moments []moment[T]) {
	slices.SortFunc(moments, func(a, b moment[T]) int {
		switch {
		case a.at != b.at || a.returns == b.returns:
			return cmp.Compare(a.at, b.at)
		case a.returns:
			return 1
		}
		return -1
	})
}
