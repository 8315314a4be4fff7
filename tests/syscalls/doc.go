// Package syscalls stops the real command at its system calls, on real files: a kill -9 at the entry of each call that
// changes something, a second one in the recovery of the first, and an error in place of the call. strace does it
// (-e inject). Afterwards the next use of the file must find every change once, and nothing in the way.
//
//	go test ./tests/syscalls -run TestKillPoints -single 0 -double 0
//	go test ./tests/syscalls -run TestErrors -errors 0
//	go test ./tests/syscalls -run 'TestShortWrites|TestRealFaults'
//
// 0 is every one of them. strace counts the calls of each thread for itself; so the command is built with one more file,
// which keeps its main goroutine on one thread, and otherwise is what it is. The files are in memory where that can
// be had: what a kill leaves does not depend on the disk.
package syscalls
