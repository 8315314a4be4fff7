//go:build race

package parquet

// instrumented: on some damaged files the library ends a process that checks its pointers (go build -d=checkptr), which -race
// makes it do.
const instrumented = true
