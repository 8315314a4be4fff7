//go:build unix && !linux

package main

import "syscall"

// restoreDefault does nothing: signal.Reset did what can be done; for SEGV and its like the status is 128+n.
func restoreDefault(s syscall.Signal) {}
