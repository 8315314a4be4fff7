//go:build linux && (amd64 || arm64)

package intercept

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// The filter decides in the kernel which calls we hear of. What it lets through costs nothing worth naming; so it
// looks at arguments where they tell: an O_PATH open reads no content, fcntl matters only for locks.

// Offsets into struct seccomp_data. Both architectures are little-endian: the low word of an argument comes first.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// fcntl commands that lock. The *64 ones exist in 32-bit programs only.
const (
	setLk64  = 13
	setLkW64 = 14
)

// assembler builds a BPF program with forward jumps to named places.
type assembler struct {
	code   []unix.SockFilter
	labels map[string]int
	jumps  []jump
}

type jump struct {
	at      int
	yes, no string // "": the next instruction
}

func (a *assembler) load(offset uint32) {
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
}

func (a *assembler) and(mask uint32) {
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: mask})
}

func (a *assembler) branch(op uint16, k uint32, yes, no string) {
	a.jumps = append(a.jumps, jump{len(a.code), yes, no})
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, K: k})
}

func (a *assembler) equal(k uint32, yes, no string)  { a.branch(unix.BPF_JEQ, k, yes, no) }
func (a *assembler) anyBit(k uint32, yes, no string) { a.branch(unix.BPF_JSET, k, yes, no) }

// among jumps to where a number leads, or to otherwise. By halves: the kernel tries a filter with each number that there is when it
// is installed, to know which of them always pass (kernel/seccomp.c, seccomp_cache_prepare).
func (a *assembler) among(places map[uint32]string, otherwise string) {
	a.halve(places, slices.Sorted(maps.Keys(places)), otherwise)
}

func (a *assembler) halve(places map[uint32]string, numbers []uint32, otherwise string) {
	if len(numbers) == 1 {
		a.equal(numbers[0], places[numbers[0]], otherwise)
		return
	}
	middle := len(numbers) / 2
	upper := fmt.Sprintf("upper half at %d", len(a.code))
	a.branch(unix.BPF_JGE, numbers[middle], upper, "")
	a.halve(places, numbers[:middle], otherwise)
	a.label(upper)
	a.halve(places, numbers[middle:], otherwise)
}

func (a *assembler) label(name string) { a.labels[name] = len(a.code) }

func (a *assembler) answer(name string, k uint32) {
	a.label(name)
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k})
}

func (a *assembler) link() []unix.SockFilter {
	distance := func(at int, name string) uint8 {
		if name == "" {
			return 0
		}
		to, ok := a.labels[name]
		if d := to - at - 1; ok && d >= 0 && d <= 255 {
			return uint8(d)
		}
		panic(fmt.Sprintf("intercept: filter: jump from %d to %q", at, name))
	}
	for _, j := range a.jumps {
		a.code[j.at].Jt, a.code[j.at].Jf = distance(j.at, j.yes), distance(j.at, j.no)
	}
	return a.code
}

// filter is the program for this architecture.
func filter() []unix.SockFilter {
	a := &assembler{labels: map[string]int{}}
	a.load(offArch)
	a.equal(nativeArch, "", "foreign")
	a.load(offNumber)
	if x32Bit != 0 {
		a.anyBit(x32Bit, "x32", "")
	}
	places := map[uint32]string{
		unix.SYS_FCNTL: "fcntl",
		unix.SYS_CLONE: "clone",
		// An io_uring opens files from a kernel thread, where no filter sees it. Everything that uses it can do without.
		unix.SYS_IO_URING_SETUP: "nosys",
	}
	for _, nr := range trappedAlways {
		places[nr] = "notify"
	}
	for _, call := range slices.Concat(trappedOpens, trappedStats) {
		places[call.number] = call.name
	}
	a.among(places, "allow")

	for _, o := range trappedOpens {
		a.label(o.name)
		a.load(offArgs + 8*o.flags)
		// A file without a name is nobody's yet. O_TMPFILE has the bit of O_DIRECTORY in it.
		a.anyBit(unix.O_PATH|unix.O_TMPFILE&^unix.O_DIRECTORY, "allow", "notify")
	}
	for _, s := range trappedStats {
		a.label(s.name)
		a.load(offArgs + 8*s.flags)
		a.anyBit(unix.AT_SYMLINK_NOFOLLOW, "allow", "notify")
	}
	a.label("fcntl")
	a.load(offArgs + 8*1)
	for _, cmd := range []uint32{unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_SETLK} {
		a.equal(cmd, "notify", "")
	}
	a.equal(unix.F_OFD_SETLKW, "notify", "allow")
	a.label("clone")
	a.load(offArgs)
	a.anyBit(unix.CLONE_NEWNS, "notify", "allow")
	a.answer("allow", unix.SECCOMP_RET_ALLOW)
	a.answer("notify", unix.SECCOMP_RET_USER_NOTIF)
	a.answer("nosys", noSuchCall)

	// Calls of other kinds, with answers of their own: a jump reaches 255 instructions far.
	if x32Bit != 0 {
		a.label("x32")
		a.and(^uint32(x32Bit))
		refused := map[uint32]string{unix.SYS_IO_URING_SETUP: "refuse"}
		for _, nr := range trappedAlways {
			refused[nr] = "refuse"
		}
		for _, o := range trappedOpens {
			refused[o.number] = "refuse"
		}
		a.among(refused, "pass")
	}
	a.label("foreign")
	a.equal(foreignArch, "", "pass")
	a.load(offNumber)
	refused := map[uint32]string{foreignFcntl: "foreign fcntl", foreignFcntl64: "foreign fcntl"}
	for _, nr := range foreignNumbers {
		refused[nr] = "refuse"
	}
	a.among(refused, "pass")
	a.label("foreign fcntl")
	a.load(offArgs + 8*1)
	for _, cmd := range []uint32{6, 7, setLk64, setLkW64, unix.F_OFD_SETLK} {
		a.equal(cmd, "refuse", "")
	}
	a.equal(unix.F_OFD_SETLKW, "refuse", "pass")
	a.answer("pass", unix.SECCOMP_RET_ALLOW)
	a.answer("refuse", noSuchCall)
	return a.link()
}

const noSuchCall = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)

// trappedFlags is a call that its flags decide about, which are in a register.
type trappedFlags struct {
	name   string
	number uint32
	flags  uint32 // index of the argument
}
