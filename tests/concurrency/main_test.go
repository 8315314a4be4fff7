//go:build unix

// Package concurrency starts many real processes on one file, through every door (library, verbs, exec), kills them at
// will, and then asks whether anything was lost or applied twice.
//
//	go test ./tests/concurrency -procs 64 -updates 200 -kill
//
// Every operation carries an id that is used once. A worker reports an id on its standard output when its operation is
// acknowledged, and the id it is about to try before. At the end each acknowledged id is in the file exactly once, each
// other one at most once, counters equal the number of their increments, and a reader outside never saw a torn file.
// The seed is printed: the same -seed makes the same choices, though not the same interleaving.

package concurrency

import (
	"flag"
	"os"
	"testing"
	"time"

	"jsonguard/tests/command"
)

var (
	procs   = flag.Int("procs", 17, "processes at work at any time")
	updates = flag.Int("updates", 12, "operations for each process")
	kill    = flag.Bool("kill", false, "kill -9 processes at random and start others")
	place   = flag.String("dir", "", "where the shared file is; a new temporary directory if empty")
	partial = flag.Bool("partial-reads", false, "a reader may see a part of a version (a file that is a mount point)")
	seed    = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of all random choices")
)

// binary is the real command, built once.
var binary string

func TestMain(m *testing.M) {
	switch os.Getenv("CONCURRENCY_ROLE") {
	case "library":
		os.Exit(libraryWorker(os.Args[1:]))
	case "fair":
		os.Exit(fairWorker(os.Args[1:]))
	case "naive":
		os.Exit(naiveWorker(os.Args[1:]))
	}
	flag.Parse()
	os.Exit(command.Run(m, &binary))
}
