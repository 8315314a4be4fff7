package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// Map shows the first size bytes of the file in memory, shared with every process that maps it, until unmap. Bytes
// behind the end of the file fault with SIGBUS (mmap(2)).
func (f *osFile) Map(size int) (page []byte, unmap func(), err error) {
	page, err = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, &os.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	return page, func() { _ = unix.Munmap(page) }, nil
}
