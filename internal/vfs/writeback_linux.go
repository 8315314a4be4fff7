package vfs

import "golang.org/x/sys/unix"

// StartWriteback begins to put a range of a file on disk, which a Sync later waits for less. It promises nothing, and
// where it cannot be done nothing happens (sync_file_range(2): SYNC_FILE_RANGE_WRITE only starts; errors of the writes are
// reported by the Sync).
func StartWriteback(f File, off, size int64) {
	real := realFile(f)
	if real == nil {
		return
	}
	if conn, err := real.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _ = unix.SyncFileRange(int(fd), off, size, unix.SYNC_FILE_RANGE_WRITE) })
	}
}
