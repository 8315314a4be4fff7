//go:build !linux

package lock

import (
	"os"
	"strconv"
	"strings"
)

// lockOwner is unknown: only Linux lists the locks of others.
func lockOwner(string) int { return 0 }

// startOf cannot tell a process from its successor here.
func startOf(int) string { return "" }

func describe(pid int) *Holder { return &Holder{PID: pid} }

// heldByAncestor knows the parent only, and only by its own record.
func heldByAncestor(path string) bool {
	target := strings.TrimSuffix(path, ".lock")
	h := readRecord(recordPath(target, ""))
	return h != nil && strconv.Itoa(h.PID) == strconv.Itoa(os.Getppid())
}
