package command

import (
	"os"
	"syscall"
)

// WriteExecutable writes a program that is to be run. Meanwhile this process starts no other: one that is started would have the
// file open for writing until it executes, and until then the program could not be run (ETXTBSY, https://go.dev/issue/22315).
func WriteExecutable(path string, content []byte, mode os.FileMode) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, mode)
}

// CopyExecutable copies one.
func CopyExecutable(from, to string, mode os.FileMode) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return WriteExecutable(to, content, mode)
}
