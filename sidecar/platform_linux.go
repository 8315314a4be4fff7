package sidecar

import (
	"bytes"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// bootID tells one boot of the machine from another (proc_sys_kernel(5), random/boot_id). Package os would have the file polled,
// and make the runtime's poller for it.
var bootID = sync.OnceValue(func() string {
	fd, err := unix.Open("/proc/sys/kernel/random/boot_id", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	id := make([]byte, 64)
	n, err := unix.Read(fd, id)
	if err != nil {
		return ""
	}
	return string(bytes.TrimSpace(id[:n]))
})

// monotonic is the time since boot in ns; it never jumps, and all processes of a boot read the same clock.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // fails for an unknown clock only
	return ts.Nano()
}

// isMountPoint: a single file may be one, and cannot be replaced by rename then. Before Linux 5.8 nobody tells.
func isMountPoint(path string) bool {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, 0, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0
}

// umask is read from /proc, because umask(2) can only be read by changing it for every thread.
func umask() fs.FileMode {
	status, _ := os.ReadFile("/proc/self/status")
	if _, rest, ok := bytes.Cut(status, []byte("\nUmask:\t")); ok {
		text, _, _ := bytes.Cut(rest, []byte("\n"))
		if v, err := strconv.ParseUint(string(text), 8, 32); err == nil {
			return fs.FileMode(v)
		}
	}
	return 0o022
}

// setTimes sets when a file was read and written last.
func setTimes(f *os.File, at time.Time) error {
	return os.Chtimes("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), at, at)
}

func timesOf(f *os.File) (accessed, written time.Time, err error) {
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	return time.Unix(st.Atim.Unix()), time.Unix(st.Mtim.Unix()), err
}

// leaveTimes has what is read through f leave no trace, where we may (fcntl(2)): as its owner, or as root.
func leaveTimes(f *os.File) {
	if f == nil {
		return
	}
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err == nil {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETFL, flags|unix.O_NOATIME)
	}
}
