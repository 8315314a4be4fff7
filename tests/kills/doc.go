// Package kills kills processes with kill -9, thousands of them, each in a part that it is known to play at that moment:
// the holder of the lock, a waiter for it, a process that folds, one that recovers, the wrapper of a program
// (jsonguard exec), the program itself, and both at once. Every change has an id that is used once; what was
// acknowledged is in the file exactly once afterwards, everything else at most once.
//
//	go test ./tests/kills -kills 20000 -stopped 10s
//
// A holder that is stopped (SIGSTOP) instead is no dead one: who waits is told who holds the lock, or goes on when it does.
package kills
