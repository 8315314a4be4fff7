// Package model is an explicit-state model checker for the fold: the order of system calls by which pending changes
// reach the target exactly once. It visits every state that a few processes, killed and cut off from power at any
// moment, can bring the disk into, and asks of each one: is every acknowledged change still there, and none twice?
//
// It promises nothing about the code. It says that the order of steps in protocol.go is right under the assumptions in
// disk.go, and, for each variant, that an order without that step is wrong. The code follows the
// model by hand: whoever changes the fold changes protocol.go first, sees it hold, and then changes package sidecar.
//
// What is not in it: the contents of documents (a change is a letter, a version the count of each letter), the
// redo journal of a bind-mounted file, views of exec, the making of the guard directory, versions that are kept (no step
// depends on them: see docs/fold.md), and time.
//
//	protocol.go   the steps: what each system call is, and what it does
//	disk.go       what a disk may forget
//	state.go      what a state consists of
//	search.go     the search, the invariants, the trace
//	worlds.go     in which the protocol holds, as data
//	variants.go   the weakened protocols, as data
//	append.go     the same for JSON Lines, which are appended in place
package model
