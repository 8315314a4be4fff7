//go:build race

package merge_test

// instrumented: the race detector allocates, too.
const instrumented = true
