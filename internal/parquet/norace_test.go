//go:build !race

package parquet

const instrumented = false
