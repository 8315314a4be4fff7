//go:build linux

package session

import (
	"os"

	"golang.org/x/sys/unix"
)

// attributes are what a program can change of a file by a descriptor, beside its content.
type attributes struct{ mode, uid, gid uint32 }

func attributesOf(f *os.File) (attributes, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return attributes{st.Mode & 0o7777, st.Uid, st.Gid}, err
}

// takeAttributes does to the target what the program did to its descriptor, which is one of the scratch file: fchmod and fchown, as by
// cp -p and by who keeps a file to itself. Folds keep what the target has.
func (t *target) takeAttributes(w *writer) {
	now, err := attributesOf(w.file)
	if err != nil || now == w.made || w.made == (attributes{}) {
		return
	}
	t.giveAttributes(w.made, now, func(err error) {
		t.tree.warn("%s: mode or owner as process %d (%s) set them: %v", t.path, w.process.PID, w.process.Command, err)
	})
	w.made = now
}

// giveAttributes is setAttributes, and again where a fold under way makes a file that has what there was. Who may write no more what the
// program has written through a descriptor that it had may not fold it either, so that this waits until it is folded.
func (t *target) giveAttributes(before, now attributes, failed func(error)) {
	set := func() {
		if err := t.setAttributes(before, now); err != nil {
			failed(err)
		}
	}
	const write = 0o200
	if before.mode&write != 0 && now.mode&write == 0 {
		t.once = append(t.once, set)
		return
	}
	set()
	if t.folding {
		t.again = append(t.again, set)
	}
}

// setAttributes gives the target what differs, where the maker of a scratch file that had what was before may do so: as its owner,
// or as root.
func (t *target) setAttributes(before, now attributes) error {
	fd, err := unix.Open(t.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return ignoreMissing(err)
	}
	f := os.NewFile(uintptr(fd), t.path)
	defer f.Close()
	there, err := attributesOf(f)
	switch {
	case err != nil:
		return err
	case before.uid != 0 && before.uid != there.uid:
		return unix.EPERM
	}
	uid, gid := -1, -1 // as they are
	if now.uid != before.uid {
		uid = int(now.uid)
	}
	if now.gid != before.gid {
		gid = int(now.gid)
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Chown(procPath(f), uid, gid); err != nil {
			return err
		}
	}
	if now.mode != before.mode {
		return unix.Chmod(procPath(f), now.mode)
	}
	return nil
}
