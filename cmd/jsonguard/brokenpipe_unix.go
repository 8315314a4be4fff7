//go:build unix

package main

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func isBrokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }

// readerGone says whether nobody can read any more what is written to out: a pipe whose other end is closed (poll(2): POLLERR).
func readerGone(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	_ = conn.Control(func(fd uintptr) {
		poll := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(poll, 0)
		gone = err == nil && n == 1 && poll[0].Revents&unix.POLLERR != 0
	})
	return gone
}
