//go:build unix && !linux

package vfs

func inodeAt(dir int, name string) (uint64, error) { return statInode(dir, name) }
