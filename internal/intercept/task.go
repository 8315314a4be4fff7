//go:build linux && (amd64 || arm64)

package intercept

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// task is what /proc/<tid>/status says of the calling thread.
type task struct {
	tid, tgid   int
	state       byte
	inner       int // the process's id in its own pid namespace
	innerTID    int
	slots       int // for descriptors: as many as it had open at once, or more
	credentials Credentials
	pending     uint64 // signals: for the thread or its process
	blocked     uint64
	ignored     uint64
	caught      uint64
}

// capabilities that decide about files: CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD,
// MAC_OVERRIDE, LEASE; the numbers of linux/capability.h.
const fileCapabilities = 1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<9 | 1<<27 | 1<<28 | 1<<32

// readProc is os.ReadFile for procfs, in a third of the calls: nothing there has a size, or can be waited for.
func readProc(path string) ([]byte, error) {
	fd := -1
	err := retrying(func() (err error) {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	content := make([]byte, 0, 2048)
	for {
		n := 0
		err := retrying(func() (err error) {
			n, err = unix.Read(fd, content[len(content):cap(content)])
			return err
		})
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return content, nil
		}
		if content = content[:len(content)+n]; len(content) == cap(content) {
			content = slices.Grow(content, cap(content))
		}
	}
}

func readTask(tid int) (*task, error) {
	raw, err := readProc(procPath(tid, "status"))
	if err != nil {
		return nil, err
	}
	t := &task{tid: tid}
	for line := range strings.Lines(string(raw)) {
		key, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		last := fields[len(fields)-1]
		switch key {
		case "State":
			t.state = fields[0][0]
		case "Umask":
			n, _ := strconv.ParseUint(last, 8, 32)
			t.credentials.Umask = uint32(n)
		case "Tgid":
			t.tgid, _ = strconv.Atoi(last)
		case "NStgid":
			t.inner, _ = strconv.Atoi(last)
		case "NSpid":
			t.innerTID, _ = strconv.Atoi(last)
		case "FDSize":
			t.slots, _ = strconv.Atoi(last)
		case "Uid": // real, effective, saved, filesystem
			t.credentials.UID, _ = strconv.Atoi(last)
		case "Gid":
			t.credentials.GID, _ = strconv.Atoi(last)
		case "Groups":
			for _, f := range fields {
				g, err := strconv.Atoi(f)
				if err == nil {
					t.credentials.Groups = append(t.credentials.Groups, g)
				}
			}
		case "CapEff":
			t.credentials.capabilities, _ = strconv.ParseUint(last, 16, 64)
			t.credentials.capabilities &= fileCapabilities
		case "SigPnd", "ShdPnd":
			n, _ := strconv.ParseUint(last, 16, 64)
			t.pending |= n
		case "SigBlk":
			t.blocked, _ = strconv.ParseUint(last, 16, 64)
		case "SigIgn":
			t.ignored, _ = strconv.ParseUint(last, 16, 64)
		case "SigCgt":
			t.caught, _ = strconv.ParseUint(last, 16, 64)
		}
	}
	return t, nil
}

// interrupted says whether a signal is waiting that the kernel would interrupt a sleeping call for. Those that kill
// without a core the kernel delivers by itself.
func (t *task) interrupted() bool {
	bit := func(s unix.Signal) uint64 { return 1 << (uint(s) - 1) }
	nothing := (bit(unix.SIGCHLD) | bit(unix.SIGURG) | bit(unix.SIGWINCH) | bit(unix.SIGCONT)) &^ t.caught
	return t.pending&^t.blocked&^t.ignored&^nothing != 0
}

// open gives the caller's root, working directory or a descriptor of its, O_PATH.
func (t *task) open(what string) (int, error) {
	return openPath(unix.AT_FDCWD, procPath(t.tid, what), 0)
}

func (t *task) start(dir int) (int, error) {
	if dir == unix.AT_FDCWD {
		return t.open("cwd")
	}
	return t.open("fd/" + strconv.Itoa(dir))
}

// pidIn is the caller's number in the procfs that dir lies in: that of our own pid namespace or of its.
func (t *task) pidIn(dir int) int { return t.numberIn(dir, t.tgid, t.inner) }
func (t *task) tidIn(dir int) int { return t.numberIn(dir, t.tid, t.innerTID) }

func (t *task) numberIn(dir, ours, inner int) int {
	if inner == 0 || inner == ours {
		return ours
	}
	var here, own unix.Stat_t
	if unix.Fstat(dir, &here) == nil && unix.Stat("/proc", &own) == nil && here.Dev == own.Dev {
		return ours
	}
	return inner
}

// userNamespace in which a process's capabilities count.
func userNamespace(tid int) (ID, error) {
	var st unix.Stat_t
	err := unix.Stat(procPath(tid, "ns/user"), &st)
	return idOf(&st), err
}

// isFull says that the caller's limit lets it have no further descriptor.
func (t *task) isFull() (bool, error) {
	var limit unix.Rlimit
	if err := unix.Prlimit(t.tgid, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		return false, nil // we may not ask: the kernel says it when it is given one
	}
	if uint64(t.slots) < limit.Cur {
		return false, nil
	}
	entries, err := os.ReadDir(procPath(t.tid, "fd"))
	if err != nil {
		return false, err
	}
	taken := uint64(0)
	for _, e := range entries {
		if fd, err := strconv.ParseUint(e.Name(), 10, 64); err == nil && fd < limit.Cur {
			taken++
		}
	}
	return taken >= limit.Cur, nil
}

// closesOnExec is the flag of a descriptor of the caller.
func (t *task) closesOnExec(fd int) bool {
	flags, err := t.info(fd, "flags", 8)
	return err == nil && flags&unix.O_CLOEXEC != 0
}

// offset is where a descriptor of the caller reads and writes next.
func (t *task) offset(fd int) (int64, error) { return t.info(fd, "pos", 10) }

func (t *task) info(fd int, key string, base int) (int64, error) {
	raw, err := readProc(procPath(t.tid, "fdinfo/"+strconv.Itoa(fd)))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, key+":"); ok {
			return strconv.ParseInt(strings.TrimSpace(value), base, 64)
		}
	}
	return 0, unix.EBADF
}
