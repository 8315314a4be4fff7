//go:build !linux

package vfs

// StartWriteback begins to put a range of a file on disk, where the platform has a call for that.
func StartWriteback(_ File, _, _ int64) {}
