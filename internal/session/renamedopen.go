//go:build linux

package session

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/intercept"
)

// renameOpen is for a program that renames what it has not finished, and goes on writing through the descriptor that it has:
// with open(t, "w") as f: json.dump(d, f); os.replace(t, "data.json"), whose end is in a buffer until f is closed. The file becomes a
// scratch file as it is, so that nothing which another thread writes meanwhile can miss it, and its last close ends it.
// alone: with nobody to merge with, the mode of it is the target's.
// done is false where the file cannot be taken; then nothing has happened to it.
func (t *target) renameOpen(c *caller, from, to *intercept.Place, temp *privateTemp, isNew, alone bool) (done bool, err error) {
	if from.Dir == nil || from.Object == nil || from.Links != 1 || idOf(from, temp) != from.ID {
		return false, nil
	}
	held, err := os.Open(procPath(from.Object))
	if err != nil {
		return false, nil
	}
	if unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		_ = held.Close()
		return false, nil // the program's own lock on it must not be taken away, and says nothing about the version
	}
	if err := t.need(); err != nil {
		_ = held.Close()
		return false, t.refuse(err)
	}
	w := &writer{t: t, process: c.process, tid: c.tid, held: held, opened: time.Now()}
	w.bases = []*version{missing}
	if !isNew {
		w.bases, w.likely = t.basesFor(w)
	}
	bases, err := w.openBases()
	if err == nil {
		w.file, err = os.Open(procPath(from.Object))
	}
	if err != nil {
		_ = held.Close()
		return false, err
	}
	if w.made, _ = attributesOf(w.file); alone {
		w.made.mode = to.Mode & 0o7777
	}
	t.tree.knowScratch(w.id(), w)
	if err = t.tree.watch(w.file, w); err == nil {
		w.scratch, err = t.session.Adopt(w.who(), bases, func(path string) error { return moveTo(from, path) })
	}
	if err != nil {
		t.tree.note("%s: %s stays where it is: %v", t.path, from.Name, err)
		t.drop(w)
		return false, nil
	}
	t.writers = append(t.writers, w)
	if open, err := intercept.HasWriters(w.file); err == nil && !open {
		t.lookAgain(w) // it was closed before it was watched
	}
	return true, nil
}

// idOf is that of what the caller renames: its own file, also where another process's has its name by now.
func idOf(from *intercept.Place, temp *privateTemp) intercept.ID {
	if temp != nil {
		return temp.id
	}
	return from.ID
}

// moveTo moves the file itself, not what may have its name by now.
func moveTo(from *intercept.Place, path string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(int(from.Dir.Fd()), from.Name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if (intercept.ID{Dev: st.Dev, Ino: st.Ino}) != from.ID {
		return unix.ESTALE
	}
	return unix.Renameat(int(from.Dir.Fd()), from.Name, unix.AT_FDCWD, path)
}

// writesTo says whether a process has a file open for writing.
func writesTo(pid int, id intercept.ID) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	names, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, name := range names {
		var st unix.Stat_t
		if unix.Stat(dir+"/"+name.Name(), &st) != nil || (intercept.ID{Dev: st.Dev, Ino: st.Ino}) != id {
			continue
		}
		if info, err := os.Lstat(dir + "/" + name.Name()); err == nil && info.Mode().Perm()&0o200 != 0 {
			return true // the mode of the link is that of the descriptor (proc_pid_fd(5))
		}
	}
	return false
}
