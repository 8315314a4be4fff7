package vfs

import "os"

// OSFile is the open file of the system behind f, to be given to a child process; nil where there is none.
func OSFile(f File) *os.File {
	if real, ok := f.(*osFile); ok {
		return real.File
	}
	return nil
}
