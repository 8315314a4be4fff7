//go:build !race

package merge_test

const instrumented = false
