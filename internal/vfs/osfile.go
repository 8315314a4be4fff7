package vfs

import "os"

// OSFile is the open file of the system behind f, to be given to a child process; nil where there is none.
func OSFile(f File) *os.File {
	if real := realFile(f); real != nil {
		return real.File
	}
	return nil
}

func realFile(f File) *osFile {
	switch f := f.(type) {
	case *osFile:
		return f
	case *flocklessFile:
		return realFile(f.File)
	}
	return nil
}
