//go:build linux

package session

import (
	"os"

	"golang.org/x/sys/unix"
)

// A fold makes a new file, with a time of its own. Where it publishes one program's version as it is, the file has the time of
// modification that this program gave its own, as bare: by futimens(2), as cp -p and touch do, or by renaming or linking a file, which keeps
// it, as rsync does.

// modified is the time of modification of an open file; zero if it cannot be had.
func modified(f *os.File) unix.Timespec {
	var st unix.Stat_t
	if f == nil || unix.Fstat(int(f.Fd()), &st) != nil {
		return unix.Timespec{}
	}
	return st.Mtim
}

// timeSet is the time that a program has set for the scratch file that it closed, as one that may do so to the target; zero: none. A
// write sets the time of the last change as well, and the same.
func (w *writer) timeSet() unix.Timespec {
	w.t.events.Lock()
	touched := w.quiet == nil && w.initial != nil // if anything was done to it
	w.t.events.Unlock()
	var st, target unix.Stat_t
	switch {
	case unix.Fstat(int(w.file.Fd()), &st) != nil, st.Mtim == st.Ctim && !(touched && st.Mtim != w.began), w.marked && st.Mtim == w.began:
		return unix.Timespec{}
	case st.Uid != 0 && (unix.Lstat(w.t.path, &target) != nil || target.Uid != st.Uid):
		return unix.Timespec{}
	}
	return st.Mtim
}

// setTime gives the target a time of modification, where v is all that it holds.
func (t *target) setTime(time unix.Timespec, v *version) {
	if time == (unix.Timespec{}) {
		return
	}
	f, err := os.OpenFile(t.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mtim == time {
		return
	}
	now := &version{file: f, stamp: stampOf(&st)}
	if !v.is(now.stamp) && (v.size() != now.size() || !sameText(v.text(), now.text())) {
		return // others have changed it, too
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, time}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, procPath(f), times, 0); err != nil {
		t.tree.note("%s: time of modification as a program set it: %v", t.path, err)
		return
	}
	if v.as == now.stamp {
		v.as = stamp{} // a time that is set says nothing: the next file with this inode, of the same size, may get the same
	}
}
