//go:build !linux

package lock

import "os"

// lockOwner is unknown: only Linux lists the locks of others.
func lockOwner(string) int { return 0 }

// startOf cannot tell a process from its successor here.
func startOf(int) string { return "" }

func commandOf(int) string { return "" }

func describe(pid int) *Holder { return &Holder{PID: pid} }

// heldByAncestor knows the parent only, and only by its own record.
func heldByAncestor(_, target string) bool {
	return isAncestor(leaseHolder(target)) || isAncestor(readRecord(target, noteName(nil)))
}

func isAncestor(h *Holder) bool { return h != nil && h.PID == os.Getppid() }
