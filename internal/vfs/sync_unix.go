//go:build unix && !darwin && !linux

package vfs

import "os"

func syncFile(f *os.File) error { return f.Sync() }

func syncData(f *os.File) error { return f.Sync() }
