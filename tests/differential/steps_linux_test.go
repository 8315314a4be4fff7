package differential

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// step makes one call, or a few that belong together.
func (p *program) step() {
	type kind struct {
		weight int
		make   func()
	}
	kinds := []kind{
		{24, p.open}, {30, p.use}, {14, p.close}, {12, p.stat}, {4, p.access}, {5, p.save}, {5, p.replace},
		{4, p.rename}, {3, p.unlink}, {2, p.link}, {2, p.symlink}, {3, p.truncate}, {3, p.chmod}, {2, p.times}, {2, p.mkdir}, {1, p.rmdir},
		{2, p.list}, {2, p.open2}, {1, p.reopen}, {1, p.limit}, {1, p.xattr},
	}
	if p.named {
		kinds = append(kinds, kind{20, p.saveDocument})
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	n := p.IntN(total)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			k.make()
			return
		}
	}
}

// flags draws what open(2) is asked for.
func (p *program) flags() int {
	flags := one(p, unix.O_RDONLY, unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR)
	if flags != unix.O_RDONLY && p.chance(60) || p.chance(5) {
		flags |= unix.O_CREAT
	}
	if flags != unix.O_RDONLY && p.chance(45) || p.chance(2) {
		flags |= unix.O_TRUNC
	}
	for _, f := range []struct{ flag, percent int }{{unix.O_EXCL, 7}, {unix.O_APPEND, 12}, {unix.O_NOFOLLOW, 6}, {unix.O_DIRECTORY, 3},
		{unix.O_PATH, 2}, {unix.O_CLOEXEC, 50}, {unix.O_SYNC, 3}, {unix.O_DSYNC, 3}, {unix.O_NOATIME, 3}, {unix.O_ASYNC, 2}} {
		if p.chance(f.percent) {
			flags |= f.flag
		}
	}
	if p.chance(1) {
		flags = one(p, unix.O_TMPFILE|unix.O_RDWR, unix.O_TMPFILE|unix.O_RDONLY, 3, -1, 1<<30)
	}
	return flags | unix.O_NONBLOCK // a FIFO would wait for another
}

func (p *program) open() {
	path, flags, mode := p.path(), p.flags(), one(p, 0o644, 0o600, 0o666, 0o755, 0o444)
	dir, from := p.dir()
	p.opened(dir, path, flags, func() int {
		return p.do(fmt.Sprintf("openat(%s%s, %#x, %#o)", from, path, flags, mode), unix.SYS_OPENAT, dir, p.text(dir, path), uintptr(flags), uintptr(mode))
	})
}

// opened keeps a descriptor that make returns, and sees to it that nothing else is open then that would be admitted to differ.
func (p *program) opened(dir uintptr, path string, flags int, make func() int) {
	is := p.guarded(dir, path) || strings.Contains(path, "/proc/") || path == ""
	write := flags&unix.O_ACCMODE != unix.O_RDONLY || flags&unix.O_TRUNC != 0
	if is && (write || p.writing()) {
		p.quiet()
	}
	if len(p.files) > 12 {
		p.closeAll(func(*open) bool { return true })
	}
	if fd := make(); fd >= 0 {
		p.files = append(p.files, &open{fd: fd, guarded: is, write: write})
	}
}

func (p *program) open2() {
	path, flags := p.path(), p.flags()
	how := unix.OpenHow{Flags: uint64(uint32(flags)), Resolve: one(p, 0, unix.RESOLVE_BENEATH, unix.RESOLVE_IN_ROOT, unix.RESOLVE_NO_SYMLINKS, unix.RESOLVE_NO_XDEV, unix.RESOLVE_NO_MAGICLINKS, uint64(1<<40))}
	if flags&unix.O_CREAT != 0 || p.chance(3) {
		how.Mode = 0o640
	}
	if p.chance(3) {
		how.Flags |= 1 << 33
	}
	dir, from := p.dir()
	size := one(p, unsafe.Sizeof(how), unsafe.Sizeof(how), unsafe.Sizeof(how), unsafe.Sizeof(how)-8)
	p.opened(dir, path, flags, func() int {
		return p.do(fmt.Sprintf("openat2(%s%s, %#x, %#o, resolve %#x)", from, path, how.Flags, how.Mode, how.Resolve),
			unix.SYS_OPENAT2, dir, p.text(dir, path), uintptr(unsafe.Pointer(&how)), size)
	})
}

// reopen opens a descriptor by its name in procfs.
func (p *program) reopen() {
	if len(p.files) == 0 {
		return
	}
	f := one(p, p.files...)
	path := one(p, descriptorNames(f.fd)...)
	flags := one(p, unix.O_RDONLY, unix.O_RDWR, unix.O_WRONLY|unix.O_TRUNC) | unix.O_NONBLOCK
	if f.guarded && (f.write || flags&unix.O_ACCMODE != unix.O_RDONLY) {
		return // two descriptors of one file, one of which writes
	}
	if fd := p.do(fmt.Sprintf("open(%q, %#x)", path, flags), unix.SYS_OPENAT, here, p.text(here, path), uintptr(flags)); fd >= 0 {
		p.files = append(p.files, &open{fd: fd, guarded: f.guarded})
	}
}

func (p *program) close() {
	if len(p.files) == 0 || p.chance(3) {
		p.do("close(1000)", unix.SYS_CLOSE, 1000)
		return
	}
	f := one(p, p.files...)
	p.closeAll(func(x *open) bool { return x == f })
}

// content draws what is written. What is JSON is in one style: a version that is held open for long on a busy machine is taken in parts, and
// whitespace is not.
func (p *program) content() []byte {
	n := p.IntN(1000)
	switch p.IntN(9) {
	case 0:
		return []byte{}
	case 1:
		return fmt.Appendf(nil, "{ // %d\n}", n)
	case 2:
		return fmt.Appendf(nil, "[%d, 1.10, \"\\u00e9\", {}]\n", n)
	case 3:
		return fmt.Appendf(nil, "{\"a\": %d}\n{\"b\": 2}\n", n)
	case 4:
		return []byte(strings.Repeat("x", p.IntN(5000)))
	case 5:
		return fmt.Appendf(nil, "{\"big\": \"%s\"}\n", strings.Repeat("y", p.IntN(20000)))
	}
	return fmt.Appendf(nil, "{\"n\": %d, \"l\": [%d, 2.50]}\n", n, n%7)
}

// use does something with a descriptor.
func (p *program) use() {
	if len(p.files) == 0 {
		return
	}
	f := one(p, p.files...)
	fd := uintptr(f.fd)
	if p.chance(2) {
		fd = 999
	}
	switch p.IntN(16) {
	case 0, 1, 2:
		buf := make([]byte, one(p, 7, 100, 30000))
		r, said := call(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
		p.say("read(%d, %d) = %s %s", fd, len(buf), said, sum(buf[:max(r, 0)]))
	case 3, 4, 5:
		if b := p.content(); len(b) > 0 {
			p.do(fmt.Sprintf("write(%d, %d)", fd, len(b)), unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		}
	case 6:
		buf := make([]byte, 50)
		at := one(p, 0, 3, 1000)
		r, said := call(unix.SYS_PREAD64, fd, uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), uintptr(at))
		p.say("pread(%d, %d) = %s %s", fd, at, said, sum(buf[:max(r, 0)]))
	case 7:
		b, at := []byte("[]\n"), one(p, 0, 3, 1000)
		p.do(fmt.Sprintf("pwrite(%d, 3, %d)", fd, at), unix.SYS_PWRITE64, fd, uintptr(unsafe.Pointer(&b[0])), 3, uintptr(at))
	case 8:
		off, whence := one(p, 0, 0, 5, 5000), p.IntN(3)
		p.do(fmt.Sprintf("lseek(%d, %d, %d)", fd, off, whence), unix.SYS_LSEEK, fd, uintptr(off), uintptr(whence))
	case 9:
		n := one(p, 0, 0, 4, 100)
		p.do(fmt.Sprintf("ftruncate(%d, %d)", fd, n), unix.SYS_FTRUNCATE, fd, uintptr(n))
	case 10, 11:
		p.fstat(fd, f.guarded)
	case 12:
		if !f.guarded {
			p.do(fmt.Sprintf("fcntl(%d, F_GETFL)", fd), unix.SYS_FCNTL, fd, unix.F_GETFL)
		}
		p.do(fmt.Sprintf("fcntl(%d, F_GETFD)", fd), unix.SYS_FCNTL, fd, unix.F_GETFD)
	case 13:
		if nr := p.do(fmt.Sprintf("fcntl(%d, F_DUPFD)", fd), unix.SYS_FCNTL, fd, unix.F_DUPFD, uintptr(one(p, 0, 30))); nr >= 0 {
			p.files = append(p.files, &open{fd: nr, guarded: f.guarded, write: f.write})
		}
	case 14:
		switch p.IntN(4) {
		case 0:
			if f.guarded && f.write {
				return // what is complete is taken then, and keeps the whitespace of what was there
			}
			p.do(fmt.Sprintf("fsync(%d)", fd), unix.SYS_FSYNC, fd)
		case 1:
			how := one(p, unix.LOCK_EX, unix.LOCK_SH, unix.LOCK_UN)
			p.do(fmt.Sprintf("flock(%d, %d)", fd, how), unix.SYS_FLOCK, fd, uintptr(how|unix.LOCK_NB))
		case 2:
			l := unix.Flock_t{Type: int16(one(p, unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK)), Start: 0, Len: int64(one(p, 0, 10))}
			cmd := one(p, unix.F_SETLK, unix.F_OFD_SETLK)
			p.do(fmt.Sprintf("fcntl(%d, %d, %d)", fd, cmd, l.Type), unix.SYS_FCNTL, fd, uintptr(cmd), uintptr(unsafe.Pointer(&l)))
		case 3:
			p.do(fmt.Sprintf("fallocate(%d, 10)", fd), unix.SYS_FALLOCATE, fd, 0, 0, uintptr(one(p, 0, 10)))
		}
	case 15:
		mode := one(p, 0o644, 0o600, 0o440, 0o666)
		if isDir(p.start(fd)) {
			return // it would end there
		}
		p.do(fmt.Sprintf("fchmod(%d, %#o)", fd, mode), unix.SYS_FCHMOD, fd, uintptr(mode))
	}
}

// describe tells what is the same bare and under exec: of a snapshot that was opened the number of its names is not.
func describe(st *unix.Stat_t, snapshot bool) string {
	if snapshot {
		st.Nlink = 1
	}
	size := st.Size
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0 // the filesystem's own
	}
	text := fmt.Sprintf("mode %#o links %d owner %d:%d size %d", st.Mode, st.Nlink, st.Uid, st.Gid, size)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return fmt.Sprintf("mode %#o", st.Mode) // a fold changes its time
	}
	if st.Mtim.Sec < 2e9 && st.Mtim.Sec > 1.7e9 || st.Size == 0 { // to empty an empty file changes nothing
		return text
	}
	return text + fmt.Sprintf(" mtime %d", st.Mtim.Sec) // it was set
}

func (p *program) fstat(fd uintptr, guarded bool) {
	var st unix.Stat_t
	r, said := call(unix.SYS_FSTAT, fd, uintptr(unsafe.Pointer(&st)))
	if r == 0 {
		said = describe(&st, guarded)
	}
	p.say("fstat(%d) = %s", fd, said)
}

func (p *program) stat() {
	path := p.path()
	if p.writing() {
		p.quiet()
	}
	dir, from := p.dir()
	if p.chance(30) {
		var st unix.Statx_t
		flags := one(p, 0, unix.AT_STATX_DONT_SYNC, unix.AT_STATX_FORCE_SYNC, unix.AT_NO_AUTOMOUNT)
		r, said := call(unix.SYS_STATX, dir, p.text(dir, path), uintptr(flags), uintptr(one(p, unix.STATX_BASIC_STATS, unix.STATX_SIZE|unix.STATX_TYPE)), uintptr(unsafe.Pointer(&st)))
		if r == 0 {
			said = fmt.Sprintf("mode %#o", st.Mode)
			if st.Mode&unix.S_IFMT == unix.S_IFREG {
				said += fmt.Sprintf(" size %d", st.Size)
			}
		}
		p.say("statx(%s%s, %#x) = %s", from, path, flags, said)
		return
	}
	var st unix.Stat_t
	r, said := call(unix.SYS_NEWFSTATAT, dir, p.text(dir, path), uintptr(unsafe.Pointer(&st)), 0)
	if r == 0 {
		said = describe(&st, false)
	}
	p.say("stat(%s%s) = %s", from, path, said)
}

func (p *program) access() {
	path, mode, flags := p.path(), p.IntN(8), one(p, 0, unix.AT_EACCESS)
	if p.writing() {
		p.quiet()
	}
	dir, from := p.dir()
	p.do(fmt.Sprintf("faccessat2(%s%s, %d)", from, path, mode), unix.SYS_FACCESSAT2, dir, p.text(dir, path), uintptr(mode), uintptr(flags))
}

// save writes a file as most programs do.
func (p *program) save() {
	p.quiet()
	path := p.path()
	content := p.content()
	dir, from := p.dir()
	fd := p.do(fmt.Sprintf("openat(%s%s, w)", from, path), unix.SYS_OPENAT, dir, p.text(dir, path), unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NONBLOCK, 0o644)
	if fd < 0 {
		return
	}
	if len(content) > 0 {
		p.do(fmt.Sprintf("write(%d, %d)", fd, len(content)), unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&content[0])), uintptr(len(content)))
	}
	if p.chance(20) {
		p.fstat(uintptr(fd), p.guarded(dir, path))
	}
	if p.chance(20) {
		p.do("fchmod", unix.SYS_FCHMOD, uintptr(fd), uintptr(one(p, 0o600, 0o640)))
	}
	if p.chance(20) && !p.guarded(dir, path) { // cp -p
		ts := [2]unix.Timespec{{Sec: 1e9}, {Sec: int64(1e9 + p.IntN(1000))}}
		p.do("futimens", unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0)
	}
	p.do(fmt.Sprintf("close(%d)", fd), unix.SYS_CLOSE, uintptr(fd))
	p.read(path)
}

// read looks at a file whole.
func (p *program) read(path string) {
	fd := p.do(fmt.Sprintf("open(%s)", path), unix.SYS_OPENAT, here, p.text(here, path), unix.O_RDONLY|unix.O_NONBLOCK)
	if fd < 0 {
		return
	}
	p.fstat(uintptr(fd), p.guarded(here, path))
	buf := make([]byte, 30000)
	r, said := call(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
	p.say("read(%d) = %s %s", fd, said, sum(buf[:max(r, 0)]))
	p.do(fmt.Sprintf("close(%d)", fd), unix.SYS_CLOSE, uintptr(fd))
}

// replace writes a new file and renames it over another.
func (p *program) replace() {
	p.quiet()
	path := one(p, dirs...) + one(p, bases...)
	if lines := strings.HasSuffix(path, ".jsonl") || strings.HasSuffix(path, ".ndjson"); lines {
		return // what was not read, and is replaced
	}
	temp := path + one(p, ".tmp", ".new", "~", ".XXXX")
	content := p.content()
	if len(content) == 0 {
		content = []byte("[]\n")
	}
	fd := p.do(fmt.Sprintf("open(%q, wx)", temp), unix.SYS_OPENAT, here, p.text(here, temp), uintptr(unix.O_WRONLY|unix.O_CREAT|one(p, unix.O_EXCL, unix.O_TRUNC)), uintptr(one(p, 0o644, 0o600)))
	if fd >= 0 {
		p.do(fmt.Sprintf("write(%d, %d)", fd, len(content)), unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&content[0])), uintptr(len(content)))
		if p.chance(30) {
			p.do("fsync", unix.SYS_FSYNC, uintptr(fd))
		}
		p.do(fmt.Sprintf("close(%d)", fd), unix.SYS_CLOSE, uintptr(fd))
	}
	p.do(fmt.Sprintf("rename(%q, %q)", temp, path), unix.SYS_RENAMEAT2, here, p.text(here, temp), here, p.text(here, path), 0)
	p.read(path)
}

func (p *program) rename() {
	p.quiet()
	from, to := p.path(), p.path()
	flags := one(p, 0, 0, 0, unix.RENAME_NOREPLACE, 1<<10)
	if strings.HasPrefix(from, "/proc") || strings.HasPrefix(to, "/proc") {
		return // which of several errors it is differs
	}
	d1, n1 := p.dir()
	d2, n2 := p.dir()
	p.do(fmt.Sprintf("renameat2(%s%s, %s%s, %d)", n1, from, n2, to, flags), unix.SYS_RENAMEAT2, d1, p.text(d1, from), d2, p.text(d2, to), uintptr(flags))
}

func (p *program) unlink() {
	p.quiet()
	path, flags := p.path(), one(p, 0, 0, 0, unix.AT_REMOVEDIR, 1)
	dir, from := p.dir()
	p.do(fmt.Sprintf("unlinkat(%s%s, %#x)", from, path, flags), unix.SYS_UNLINKAT, dir, p.text(dir, path), uintptr(flags))
}

func (p *program) link() {
	p.quiet()
	from, to := p.path(), p.path()
	flags := one(p, 0, unix.AT_SYMLINK_FOLLOW, 1<<3)
	d1, n1 := p.dir()
	if at, _ := p.inside(p.start(d1), from); p.named && strings.HasSuffix(at, document) {
		return // a copy
	}
	p.do(fmt.Sprintf("linkat(%s%s, %s, %#x)", n1, from, to, flags), unix.SYS_LINKAT, d1, p.text(d1, from), here, p.text(here, to), uintptr(flags))
}

func (p *program) symlink() {
	p.quiet()
	text, path := p.path(), p.path()
	if strings.HasPrefix(text, "/") || strings.HasSuffix(text, "/") {
		text = "a.json"
	}
	p.do(fmt.Sprintf("symlinkat(%s, %s)", text, path), unix.SYS_SYMLINKAT, p.put(text), here, p.text(here, path))
}

func (p *program) truncate() {
	p.quiet()
	path, size := p.path(), one(p, 0, 0, 3, 5, 40, 4000, -1, 1<<62)
	p.do(fmt.Sprintf("truncate(%s, %d)", path, size), unix.SYS_TRUNCATE, p.text(here, path), uintptr(size))
	p.read(path)
}

func (p *program) chmod() {
	p.quiet()
	path, mode := p.path(), one(p, 0o644, 0o600, 0o444, 0o755, 0o640)
	dir, from := p.dir()
	if at, is := p.inside(p.start(dir), path); !is || isDir(at) {
		return // it would end there
	}
	p.do(fmt.Sprintf("fchmodat(%s%s, %#o)", from, path, mode), unix.SYS_FCHMODAT, dir, p.text(dir, path), uintptr(mode))
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

func (p *program) times() {
	p.quiet()
	path := p.path()
	ts := [2]unix.Timespec{{Sec: 1e9}, {Sec: int64(1e9 + p.IntN(1000))}}
	flags := one(p, 0, 0, unix.AT_SYMLINK_NOFOLLOW)
	dir, from := p.dir()
	p.do(fmt.Sprintf("utimensat(%s%s, %d, %#x)", from, path, ts[1].Sec, flags), unix.SYS_UTIMENSAT, dir, p.text(dir, path), uintptr(unsafe.Pointer(&ts)), uintptr(flags))
}

func (p *program) mkdir() {
	p.quiet()
	path := one(p, "d", "d/e", "node_modules", ".dot", "d.json", p.path())
	p.do(fmt.Sprintf("mkdirat(%s)", path), unix.SYS_MKDIRAT, here, p.text(here, path), 0o755)
}

func (p *program) rmdir() {
	p.quiet()
	path := one(p, "d", "d/e", "d.json", p.path())
	p.do(fmt.Sprintf("rmdir(%s)", path), unix.SYS_UNLINKAT, here, p.text(here, path), unix.AT_REMOVEDIR)
}

// list reads a directory.
func (p *program) list() {
	p.quiet()
	path := one(p, ".", "d", "d/e", "d.json")
	fd := p.do(fmt.Sprintf("open(%q, directory)", path), unix.SYS_OPENAT, here, p.text(here, path), uintptr(one(p, unix.O_DIRECTORY, 0)|unix.O_CLOEXEC))
	if fd < 0 {
		return
	}
	buf := make([]byte, 16384)
	var names []string
	for {
		r, said := call(unix.SYS_GETDENTS64, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
		if r <= 0 {
			p.say("getdents(%q) = %s %s", path, said, strings.Join(listed(names), " "))
			break
		}
		_, _, names = unix.ParseDirent(buf[:r], -1, names)
	}
	p.do(fmt.Sprintf("close(%d)", fd), unix.SYS_CLOSE, uintptr(fd))
}

// limit has an open fail because there is no descriptor left, or a write because a file may not be that long.
func (p *program) limit() {
	p.quiet()
	if p.chance(50) {
		next, err := unix.Dup(0)
		if err != nil {
			return
		}
		_ = unix.Close(next)
		var was unix.Rlimit
		_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &was)
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(next), Max: was.Max})
		path, flags := p.path(), p.flags()
		p.do(fmt.Sprintf("openat(%s, %#x) without a descriptor left", path, flags), unix.SYS_OPENAT, here, p.text(here, path), uintptr(flags), 0o644)
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
		p.read(path)
		return
	}
	var was unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_FSIZE, &was)
	_ = unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1000, Max: was.Max})
	path := p.path()
	if fd := p.do(fmt.Sprintf("openat(%s, a) within a limit", path), unix.SYS_OPENAT, here, p.text(here, path), unix.O_WRONLY|unix.O_APPEND|unix.O_NONBLOCK); fd >= 0 {
		b := make([]byte, 1500)
		for i := range b {
			b[i] = 'x'
		}
		p.do(fmt.Sprintf("write(%d, 1500)", fd), unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		p.do(fmt.Sprintf("close(%d)", fd), unix.SYS_CLOSE, uintptr(fd))
	}
	if !p.guarded(here, path) {
		p.do(fmt.Sprintf("truncate(%s, 2000) within a limit", path), unix.SYS_TRUNCATE, p.text(here, path), 2000)
	}
	_ = unix.Setrlimit(unix.RLIMIT_FSIZE, &was)
	p.read(path)
}

func (p *program) xattr() {
	p.quiet()
	path, name, value := p.path(), []byte("user.a\x00"), []byte("v")
	p.do(fmt.Sprintf("setxattr(%s)", path), unix.SYS_SETXATTR, p.text(here, path), uintptr(unsafe.Pointer(&name[0])), uintptr(unsafe.Pointer(&value[0])), 1, 0)
	p.do(fmt.Sprintf("getxattr(%s)", path), unix.SYS_GETXATTR, p.text(here, path), uintptr(unsafe.Pointer(&name[0])), 0, 0)
}

// saveDocument writes a whole document into the file that was named, in one of the ways in which programs do.
func (p *program) saveDocument() {
	p.quiet()
	content := fmt.Appendf(nil, "{\"n\": %d, \"l\": [%d, 2.50]}\n", p.IntN(1000), p.IntN(9))
	text := func(s string) uintptr { return p.text(here, s) }
	write := func(fd int) {
		p.do("write", unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&content[0])), uintptr(len(content)))
		if p.chance(30) {
			p.fstat(uintptr(fd), true)
		}
	}
	switch p.IntN(6) {
	case 0, 1:
		if fd := p.do("open(document, w)", unix.SYS_OPENAT, here, text(document), uintptr(unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|one(p, 0, unix.O_NOFOLLOW, unix.O_SYNC)), 0o644); fd >= 0 {
			write(fd)
			p.do("close", unix.SYS_CLOSE, uintptr(fd))
		}
	case 2:
		if fd := p.do("open(document, r+)", unix.SYS_OPENAT, here, text(document), unix.O_RDWR); fd >= 0 {
			buf := make([]byte, 100)
			r, said := call(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)))
			p.say("read = %s %s", said, sum(buf[:max(r, 0)]))
			p.do("lseek", unix.SYS_LSEEK, uintptr(fd), 0, 0)
			write(fd)
			p.do("ftruncate", unix.SYS_FTRUNCATE, uintptr(fd), uintptr(len(content)))
			p.do("close", unix.SYS_CLOSE, uintptr(fd))
		}
	case 3, 4:
		temp := one(p, document+".tmp", ".document.json.x1", "document.new")
		if fd := p.do("open(temporary, w)", unix.SYS_OPENAT, here, text(temp), uintptr(unix.O_WRONLY|unix.O_CREAT|one(p, unix.O_EXCL, unix.O_TRUNC)), 0o644); fd >= 0 {
			write(fd)
			p.do("close", unix.SYS_CLOSE, uintptr(fd))
			p.do("rename", unix.SYS_RENAMEAT2, here, text(temp), here, text(document), 0)
		}
	case 5:
		if p.chance(50) {
			p.do("unlink", unix.SYS_UNLINKAT, here, text(document), 0)
		}
	}
	p.read(document)
	if p.chance(30) {
		p.list()
	}
}
