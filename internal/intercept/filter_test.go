//go:build linux && (amd64 || arm64)

package intercept

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// verdict interprets a filter as the kernel does (kernel/seccomp.c, bpf_check_classic in net/core/filter.c): what it does with a
// call. The instructions are those that filters are made of here; another one is an error, as is a jump out of the program.
func verdict(program []unix.SockFilter, d seccompData) (uint32, error) {
	var raw bytes.Buffer
	for _, v := range []any{d.number, d.arch, d.pointer, d.args} {
		if err := binary.Write(&raw, binary.LittleEndian, v); err != nil {
			return 0, err
		}
	}
	data, a := raw.Bytes(), uint32(0)
	for at := 0; at < len(program); at++ {
		i := program[at]
		jump := func(yes bool) {
			if yes {
				at += int(i.Jt)
			} else {
				at += int(i.Jf)
			}
		}
		switch i.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			if i.K%4 != 0 || int(i.K)+4 > len(data) {
				return 0, fmt.Errorf("%d: load from %d", at, i.K)
			}
			a = binary.LittleEndian.Uint32(data[i.K:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= i.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == i.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= i.K)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump(a&i.K != 0)
		case unix.BPF_RET | unix.BPF_K:
			return i.K, nil
		default:
			return 0, fmt.Errorf("%d: %#x", at, i.Code)
		}
	}
	return 0, fmt.Errorf("the end is reached")
}

// What becomes of a call.
const (
	told    = unix.SECCOMP_RET_USER_NOTIF
	allowed = unix.SECCOMP_RET_ALLOW
	refused = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// filtered is a call and what becomes of it.
type filtered struct {
	name string
	want uint32
	nr   int32
	args [6]uint64
}

// Calls that both architectures have. nativeFiltered and foreignFiltered are each one's own.
var filteredCalls = []filtered{
	{"openat to read", told, unix.SYS_OPENAT, [6]uint64{2: unix.O_RDONLY | unix.O_CLOEXEC}},
	{"openat to write", told, unix.SYS_OPENAT, [6]uint64{2: unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC}},
	{"openat of a directory", told, unix.SYS_OPENAT, [6]uint64{2: unix.O_DIRECTORY}},
	{"openat with O_PATH", allowed, unix.SYS_OPENAT, [6]uint64{2: unix.O_PATH}},
	{"openat with O_TMPFILE", allowed, unix.SYS_OPENAT, [6]uint64{2: unix.O_TMPFILE | unix.O_RDWR}},
	{"openat, the flags' upper half", told, unix.SYS_OPENAT, [6]uint64{2: unix.O_PATH << 32}},
	{"openat2", told, unix.SYS_OPENAT2, [6]uint64{}},
	{"renameat2", told, unix.SYS_RENAMEAT2, [6]uint64{}},
	{"renameat", told, unix.SYS_RENAMEAT, [6]uint64{}},
	{"unlinkat", told, unix.SYS_UNLINKAT, [6]uint64{}},
	{"linkat", told, unix.SYS_LINKAT, [6]uint64{}},
	{"symlinkat", told, unix.SYS_SYMLINKAT, [6]uint64{}},
	{"truncate", told, unix.SYS_TRUNCATE, [6]uint64{}},
	{"ftruncate", allowed, unix.SYS_FTRUNCATE, [6]uint64{}},
	{"flock", told, unix.SYS_FLOCK, [6]uint64{}},
	{"fsync", told, unix.SYS_FSYNC, [6]uint64{}},
	{"fdatasync", told, unix.SYS_FDATASYNC, [6]uint64{}},
	{"fcntl F_SETLK", told, unix.SYS_FCNTL, [6]uint64{1: unix.F_SETLK}},
	{"fcntl F_SETLKW", told, unix.SYS_FCNTL, [6]uint64{1: unix.F_SETLKW}},
	{"fcntl F_OFD_SETLK", told, unix.SYS_FCNTL, [6]uint64{1: unix.F_OFD_SETLK}},
	{"fcntl F_OFD_SETLKW", told, unix.SYS_FCNTL, [6]uint64{1: unix.F_OFD_SETLKW}},
	{"fcntl F_GETFL", allowed, unix.SYS_FCNTL, [6]uint64{1: unix.F_GETFL}},
	{"fcntl F_DUPFD_CLOEXEC", allowed, unix.SYS_FCNTL, [6]uint64{1: unix.F_DUPFD_CLOEXEC}},
	{"fchmodat", told, unix.SYS_FCHMODAT, [6]uint64{}},
	{"fchmod", allowed, unix.SYS_FCHMOD, [6]uint64{}},
	{"fchownat", told, unix.SYS_FCHOWNAT, [6]uint64{}},
	{"utimensat", told, unix.SYS_UTIMENSAT, [6]uint64{}},
	{"setxattr", told, unix.SYS_SETXATTR, [6]uint64{}},
	{"removexattr", told, unix.SYS_REMOVEXATTR, [6]uint64{}},
	{"fstat", told, unix.SYS_FSTAT, [6]uint64{}},
	{"statx", told, unix.SYS_STATX, [6]uint64{}},
	{"statx of a symlink itself", allowed, unix.SYS_STATX, [6]uint64{2: unix.AT_SYMLINK_NOFOLLOW}},
	{"statx of a descriptor", told, unix.SYS_STATX, [6]uint64{2: unix.AT_EMPTY_PATH}},
	{"faccessat", told, unix.SYS_FACCESSAT, [6]uint64{}},
	{"faccessat2", told, unix.SYS_FACCESSAT2, [6]uint64{}},
	{"faccessat2 of a symlink itself", allowed, unix.SYS_FACCESSAT2, [6]uint64{3: unix.AT_SYMLINK_NOFOLLOW}},
	{"chroot", told, unix.SYS_CHROOT, [6]uint64{}},
	{"pivot_root", told, unix.SYS_PIVOT_ROOT, [6]uint64{}},
	{"unshare", told, unix.SYS_UNSHARE, [6]uint64{}},
	{"setns", told, unix.SYS_SETNS, [6]uint64{}},
	{"clone", allowed, unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD)}},
	{"clone of a thread", allowed, unix.SYS_CLONE, [6]uint64{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND}},
	{"clone with a mount namespace", told, unix.SYS_CLONE, [6]uint64{unix.CLONE_NEWNS}},
	{"io_uring_setup", refused, unix.SYS_IO_URING_SETUP, [6]uint64{}},
	{"read", allowed, unix.SYS_READ, [6]uint64{}},
	{"write", allowed, unix.SYS_WRITE, [6]uint64{}},
	{"close", allowed, unix.SYS_CLOSE, [6]uint64{}},
	{"execve", allowed, unix.SYS_EXECVE, [6]uint64{}},
	{"mmap", allowed, unix.SYS_MMAP, [6]uint64{}},
	{"exit_group", allowed, unix.SYS_EXIT_GROUP, [6]uint64{}},
	{"a call of the future", allowed, 4000, [6]uint64{}},
}

func TestFilter(t *testing.T) {
	program := filter()
	const most = 4096 // BPF_MAXINSNS
	require.Less(t, len(program), most)
	check := func(arch uint32, calls []filtered) {
		for _, c := range calls {
			got, err := verdict(program, seccompData{number: c.nr, arch: arch, args: c.args})
			require.NoError(t, err, c.name)
			require.Equal(t, c.want, got, c.name)
		}
	}
	check(nativeArch, filteredCalls)
	check(nativeArch, nativeFiltered)
	check(foreignArch, foreignFiltered)
	check(unix.AUDIT_ARCH_PPC64LE, []filtered{{"of a machine that this is not", allowed, unix.SYS_OPENAT, [6]uint64{}}})
	// Whatever is trapped has a meaning, and no number is beside the program.
	for nr := range int32(600) {
		got, err := verdict(program, seccompData{number: nr, arch: nativeArch})
		require.NoError(t, err)
		if got == told {
			require.NotEqual(t, opOther, numberMeans(nr).op, "%d", nr)
		}
		_, err = verdict(program, seccompData{number: nr, arch: foreignArch})
		require.NoError(t, err)
	}
}

// Each number that there is, of each kind of call, gets the answer that the lists say.
func TestFilterAnswersAsItsListsSay(t *testing.T) {
	const numbers = 1024
	program := filter()
	for nr := range uint32(numbers) {
		trapped := slices.Contains(trappedAlways, nr)
		opens := slices.ContainsFunc(trappedOpens, func(c trappedFlags) bool { return c.number == nr })
		stats := slices.ContainsFunc(trappedStats, func(c trappedFlags) bool { return c.number == nr })
		for _, kind := range []struct {
			name      string
			arch, bit uint32
		}{{"native", nativeArch, 0}, {"x32", nativeArch, x32Bit}, {"32 bits", foreignArch, 0}} {
			want := uint32(allowed)
			switch {
			case kind.arch == foreignArch:
				if slices.Contains(foreignNumbers, nr) {
					want = refused
				}
			case nr == unix.SYS_IO_URING_SETUP, kind.bit != 0 && (trapped || opens):
				want = refused
			case kind.bit == 0 && (trapped || opens || stats): // without flags
				want = told
			}
			got, err := verdict(program, seccompData{number: int32(nr | kind.bit), arch: kind.arch})
			require.NoError(t, err)
			require.Equal(t, want, got, "number %d, %s", nr, kind.name)
		}
	}
}
