package main

import (
	"errors"
	"io"

	"golang.org/x/sys/windows"
)

func isBrokenPipe(err error) bool {
	return errors.Is(err, windows.ERROR_BROKEN_PIPE) || errors.Is(err, windows.ERROR_NO_DATA)
}

// readerGone cannot be asked here: the next line tells.
func readerGone(io.Writer) bool { return false }
