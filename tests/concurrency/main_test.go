//go:build unix

// Package concurrency starts many real processes on one file, through every door (library, verbs, exec), kills them at
// will, and then asks whether anything was lost or applied twice.
//
//	go test ./tests/concurrency -procs 64 -updates 200 -kill
//	go test ./tests/concurrency -run TestProgramsOfEveryKind -updates 80 -programs 5 -kill
//
// The second are programs under exec that know nothing of jsonguard, each kind of them beside all others (programs_test.go has the
// table); -doors chooses: -doors r+,mmap,apply.
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
	procs    = flag.Int("procs", 17, "processes at work at any time")
	programs = flag.Int("programs", 2, "programs of one kind under each exec")
	chosen   = flag.String("doors", "", "of the programs test: the doors, separated by commas; all if empty")
	some     = flag.Int("some", 0, "of the programs test: so many of the doors, by chance; 0: all")
	updates  = flag.Int("updates", 12, "operations for each process")
	kill     = flag.Bool("kill", false, "kill -9 processes at random and start others")
	place    = flag.String("dir", "", "where the shared file is; a new temporary directory if empty")
	partial  = flag.Bool("partial-reads", false, "a reader may see a part of a version (a file that is a mount point)")
	seed     = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of all random choices")
)

// roles are what this executable does as a process of a test: its arguments, and its exit status.
var roles = map[string]func(args []string) int{"library": libraryWorker, "fair": fairWorker, "naive": naiveWorker}

// binary is the real command, built once.
var binary string

func TestMain(m *testing.M) {
	if role := roles[os.Getenv("CONCURRENCY_ROLE")]; role != nil {
		os.Exit(role(os.Args[1:]))
	}
	flag.Parse()
	os.Exit(command.Run(m, &binary))
}
