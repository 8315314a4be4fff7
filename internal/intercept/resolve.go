//go:build linux && (amd64 || arm64)

package intercept

import (
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// walker resolves a path as the kernel does for the caller: from its root, its working directory or its descriptor,
// component by component, because to us /proc/self and an absolute symlink in a chroot mean something else.
type walker struct {
	task    *task
	root    int // O_PATH
	rootID  root
	start   int
	follow  bool // a symlink at the end
	links   int
	opened  []int // to be closed
	via     []string
	magicAt int // the object that the last component led to through /proc/…/fd, or -1
}

const maxLinks = 40 // as the kernel's MAXSYMLINKS

// resolve follows a path to its place. On an error the kernel would most likely fail in the same way, and is the one
// to tell the caller. The walk is made with the credentials that the thread has.
func (t *task) resolve(root, start int, path string, follow bool) (*Place, error) {
	w := &walker{task: t, root: root, start: start, follow: follow, magicAt: -1}
	defer w.close()
	if path == "" {
		return nil, unix.ENOENT
	}
	var st unix.Statx_t
	if err := unix.Statx(root, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, rootMask, &st); err != nil {
		return nil, err
	}
	w.rootID = rootOf(&st)
	if filepath.IsAbs(path) {
		w.start = root
	}
	dir, name, err := w.walk(w.start, path, true)
	if err != nil {
		return nil, err
	}
	p, err := w.place(dir, name)
	if err != nil {
		return nil, err
	}
	p.Given = path
	if p.Object != nil && strings.HasSuffix(path, "/") && p.Mode&unix.S_IFMT != unix.S_IFDIR {
		p.close()
		return nil, unix.ENOTDIR
	}
	return p, nil
}

func (w *walker) close() {
	for _, fd := range w.opened {
		unix.Close(fd)
	}
}

func (w *walker) open(dir int, name string, flags int) (int, error) {
	fd, err := openPath(dir, name, flags)
	if err == nil {
		w.opened = append(w.opened, fd)
	}
	return fd, err
}

// walk returns the directory and the name of the last component, which is "" when the path led to an object by
// itself: a root, "..", or a magic link (magicAt). last: this is the end of the caller's path, not of a symlink in
// the middle of it.
func (w *walker) walk(dir int, path string, last bool) (int, string, error) {
	parts := strings.Split(path, "/")
	if parts[0] == "" {
		dir = w.root
	}
	final := len(parts) - 1
	for final > 0 && parts[final] == "" { // slashes at the end
		final--
	}
	for i := 0; i <= final; i++ {
		name := parts[i]
		end := i == final
		switch name {
		case "", ".":
			if end {
				return dir, "", nil
			}
			continue
		case "..":
			up, err := w.parent(dir)
			if err != nil {
				return 0, "", err
			}
			if dir = up; end {
				return dir, "", nil
			}
			continue
		}
		if end && last && !w.follow && final == len(parts)-1 {
			return dir, name, nil
		}
		next, err := w.open(dir, name, unix.O_NOFOLLOW)
		if err == unix.ENOENT && end && last {
			return dir, name, nil // to be made
		}
		if err != nil {
			return 0, "", err
		}
		var st unix.Stat_t
		if err := unix.Fstat(next, &st); err != nil {
			return 0, "", err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			if end {
				return dir, name, nil
			}
			if st.Mode&unix.S_IFMT != unix.S_IFDIR {
				return 0, "", unix.ENOTDIR
			}
			dir = next
			continue
		}
		if w.links++; w.links > maxLinks {
			return 0, "", unix.ELOOP
		}
		to, text, err := w.link(dir, next, name)
		if err != nil {
			return 0, "", err
		}
		if to >= 0 { // magic
			if end {
				if last {
					w.magicAt = to
				}
				return to, "", nil
			}
			dir = to
			continue
		}
		if last && end {
			w.via = append(w.via, filepath.Join(pathOf(dir), name))
		}
		at, rest, err := w.walk(dir, text, last && end)
		if err != nil {
			return 0, "", err
		}
		if end {
			return at, rest, nil
		}
		if rest == "" {
			dir = at
			continue
		}
		if dir, err = w.open(at, rest, unix.O_NOFOLLOW|unix.O_DIRECTORY); err != nil {
			return 0, "", err
		}
	}
	return dir, "", nil
}

// link reads the symlink name in dir, open as fd. A magic link of procfs has no text to follow: it leads to an object.
func (w *walker) link(dir, fd int, name string) (object int, text string, err error) {
	buf := make([]byte, pathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return -1, "", err
	}
	text = string(buf[:n])
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil {
		return -1, "", err
	}
	if fs.Type != unix.PROC_SUPER_MAGIC {
		return -1, text, nil
	}
	switch name {
	case "self":
		return -1, strconv.Itoa(w.task.pidIn(dir)), nil
	case "thread-self":
		return -1, strconv.Itoa(w.task.pidIn(dir)) + "/task/" + strconv.Itoa(w.task.tidIn(dir)), nil
	}
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if plain, err := unix.Openat2(dir, name, &how); err == nil {
		unix.Close(plain)
		return -1, text, nil // like /proc/mounts
	} else if err != unix.ELOOP {
		return -1, text, nil
	}
	object, err = w.open(dir, name, 0)
	return object, "", err
}

func (w *walker) parent(dir int) (int, error) {
	var st unix.Statx_t
	if err := unix.Statx(dir, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, rootMask, &st); err != nil {
		return 0, err
	}
	if rootOf(&st) == w.rootID {
		return dir, nil
	}
	return w.open(dir, "..", unix.O_DIRECTORY)
}

// place describes where the walk ended.
func (w *walker) place(dir int, name string) (*Place, error) {
	p := &Place{Magic: w.magicAt >= 0, Via: w.via}
	object := -1
	if name == "" {
		// The object itself is known, its name is to be found.
		var err error
		if object, err = unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return nil, err
		}
		at := pathOf(dir)
		dir = -1
		if strings.HasPrefix(at, "/") && at != "/" {
			// As we see it, or as somebody with the caller's root does.
			for _, parent := range []string{filepath.Dir(at), "." + filepath.Dir(at)} {
				fd, err := w.open(w.root, parent, unix.O_DIRECTORY)
				if err == nil && sameObject(fd, filepath.Base(at), object) {
					dir, name = fd, filepath.Base(at)
					break
				}
			}
		}
		p.Path = at
	} else {
		var err error
		object, err = openPath(dir, name, unix.O_NOFOLLOW)
		if err != nil && err != unix.ENOENT {
			return nil, err
		}
		if err != nil {
			object = -1
		}
		p.Path = filepath.Join(pathOf(dir), name)
	}
	p.Name = name
	if object >= 0 {
		p.Object = fileOf(object, p.Path)
		var st unix.Stat_t
		if err := unix.Fstat(object, &st); err != nil {
			p.close()
			return nil, err
		}
		p.ID, p.Mode, p.Links = idOf(&st), st.Mode, uint64(st.Nlink)
	}
	if dir >= 0 {
		var st unix.Stat_t
		own, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			p.Dir = fileOf(own, filepath.Dir(p.Path))
			err = unix.Fstat(own, &st)
		}
		if err != nil {
			p.close()
			return nil, err
		}
		p.DirID = idOf(&st)
	}
	return p, nil
}

func (p *Place) close() {
	if p == nil {
		return
	}
	if p.Dir != nil {
		p.Dir.Close()
	}
	if p.Object != nil {
		p.Object.Close()
	}
}

func idOf(st *unix.Stat_t) ID { return ID{Dev: uint64(st.Dev), Ino: st.Ino} }

// pathOf is the name by which an open file is known now.
func pathOf(fd int) string {
	buf := make([]byte, pathMax)
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(fd), buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func sameObject(dir int, name string, object int) bool {
	var a, b unix.Stat_t
	return unix.Fstatat(dir, name, &a, unix.AT_SYMLINK_NOFOLLOW) == nil && unix.Fstat(object, &b) == nil && idOf(&a) == idOf(&b)
}
