//go:build !linux || !(amd64 || arm64)

package sigorigin

import "syscall"

// Watch does nothing here.
func Watch(syscall.Signal) error { return nil }

// FromTerminal does not know here.
func FromTerminal(syscall.Signal) (typed, known bool) { return false, false }
