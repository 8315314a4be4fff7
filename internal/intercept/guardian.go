//go:build linux && (amd64 || arm64)

package intercept

import (
	"bytes"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A guardian outlives a supervisor that is killed, and kills its tree. Without it the kernel would answer ENOSYS to
// every trapped call of the tree from then on, and what is open would stay open and be written.
//
// It is a fork of the supervisor that waits for the other end of a pipe to close, holding the listener: as long as it
// does, a trapped call waits instead of failing, so nothing of the tree gets past the supervisor's death. Then it
// executes this program anew, in the role of kill: it finds the tree by the mark in the processes' environment and
// by descent, by the calls that were under way (inFlight), and whoever is left (a daemon with an empty environment) when it
// makes its next call.
//
// Not a control group: only root may make one where it would be needed, and the tree would leave the one that its
// service manager has put it into.
type guardian struct {
	pid   int
	alive int    // our end of the pipe
	text  uint64 // address in its memory of its argv[0]
	heap  uint64 // the arena that it has not, but for its stack
}

// guardianName is argv[0] of a program in the role of a guardian.
const guardianName = "jsonguard: guardian"

// The guardian's descriptors.
const (
	guardianPipe     = 3
	guardianListener = 4
	guardianCalls    = 5
)

func init() {
	if len(os.Args) == 2 && os.Args[0] == guardianName {
		guard(os.Args[1])
		os.Exit(0)
	}
}

func newGuardian(l listener, calls *inFlight, mark string) (*guardian, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	defer unix.Close(pipe[0])
	f, free, err := newForked(mark)
	if err != nil {
		unix.Close(pipe[1])
		return nil, err
	}
	defer free()
	f.pipe, f.listener, f.calls = pipe[0], l.fd, calls.fd
	pid, err := fork(f)
	if err != nil {
		unix.Close(pipe[1])
		return nil, os.NewSyscallError("fork", err)
	}
	return &guardian{pid: pid, alive: pipe[1], text: uint64(uintptr(unsafe.Pointer(f.argv[0]))), heap: uint64(f.heap)}, nil
}

func (g *guardian) kill() { _ = unix.Kill(g.pid, unix.SIGKILL) }

// dismiss ends the guardian: the tree has ended by itself.
func (g *guardian) dismiss() {
	g.kill()
	reap(g.pid)
	unix.Close(g.alive)
}

// forked is what the child of fork needs, laid out before. It lies outside of the heap, which the child does not get.
type forked struct {
	pipe, listener int
	calls          int
	path, name     *byte
	argv           [3]*byte
	env            [1]*byte
	page           uintptr // size
	heap           uintptr // the arena that it is forked without
}

const arenaSize = 64 << 20 // of Go's heap, and aligned to that; a stack lies in one

func newForked(mark string) (f *forked, free func(), err error) {
	memory, err := unix.Mmap(-1, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	rest := memory[unsafe.Sizeof(forked{}):]
	text := func(s string) *byte {
		at := &rest[0]
		rest = rest[copy(rest, s)+1:]
		return at
	}
	f = (*forked)(unsafe.Pointer(&memory[0]))
	f.path, f.name, f.page = text("/proc/self/exe"), text("tree-guardian"), uintptr(os.Getpagesize())
	f.argv = [3]*byte{text(guardianName), text(mark), nil}
	return f, func() { _ = unix.Munmap(memory) }, nil
}

// fork makes a guardian. The child runs without the Go runtime, as the one of package syscall does before execve: no
// allocation, no growing stack, no signal handler.
func fork(f *forked) (int, error) {
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = math.MaxUint64
	}
	syscall.ForkLock.Lock() // nobody else forks while descriptors are in the making
	defer syscall.ForkLock.Unlock()
	return forkBlocked(f, &all, &old)
}

//go:norace
//go:noinline
func forkBlocked(f *forked, all, old *unix.Sigset_t) (int, error) {
	const size = 8 // of the kernel's sigset_t
	// The child gets nothing of the heap but the stack that we are on. What both had would be copied page by page as soon as
	// we write it, and each copy interrupts the other processors: together that takes longer than everything else in
	// a start.
	var here byte
	stack := uintptr(unsafe.Pointer(&here)) &^ (f.page - 1)
	f.heap = stack &^ (arenaSize - 1)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(all)), uintptr(unsafe.Pointer(old)), size, 0, 0)
	syscall.RawSyscall(unix.SYS_MADVISE, f.heap, arenaSize, unix.MADV_DONTFORK)
	syscall.RawSyscall(unix.SYS_MADVISE, stack-f.page, 3*f.page, unix.MADV_DOFORK)
	pid, _, e := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if e == 0 && pid == 0 {
		beGuardian(f)
	}
	syscall.RawSyscall(unix.SYS_MADVISE, f.heap, arenaSize, unix.MADV_DOFORK)
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK, uintptr(unsafe.Pointer(old)), 0, size, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(pid), nil
}

// beGuardian never returns.
//
//go:nosplit
//go:norace
func beGuardian(f *forked) {
	// Everything else that is open here is closed: a lock that we kept, a pipe's end, would outlive the supervisor.
	high := uintptr(f.pipe)
	if uintptr(f.listener) > high {
		high = uintptr(f.listener)
	}
	if uintptr(f.calls) > high {
		high = uintptr(f.calls)
	}
	if high < guardianCalls {
		high = guardianCalls
	}
	high++
	syscall.RawSyscall(unix.SYS_DUP3, uintptr(f.pipe), high, 0)
	syscall.RawSyscall(unix.SYS_DUP3, uintptr(f.listener), high+1, 0)
	syscall.RawSyscall(unix.SYS_DUP3, uintptr(f.calls), high+2, 0)
	syscall.RawSyscall(unix.SYS_DUP3, high, guardianPipe, 0)
	syscall.RawSyscall(unix.SYS_DUP3, high+1, guardianListener, 0)
	syscall.RawSyscall(unix.SYS_DUP3, high+2, guardianCalls, 0)
	syscall.RawSyscall(unix.SYS_CLOSE_RANGE, 0, guardianPipe-1, 0)
	syscall.RawSyscall(unix.SYS_CLOSE_RANGE, guardianCalls+1, uintptr(math.MaxUint32), 0)
	// Not the terminal's: ^C is for the others. And who kills us all by name shall not kill it.
	syscall.RawSyscall(unix.SYS_SETSID, 0, 0, 0)
	syscall.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_NAME, uintptr(unsafe.Pointer(f.name)), 0)
	var b [1]byte
	for {
		_, _, e := syscall.RawSyscall(unix.SYS_READ, guardianPipe, uintptr(unsafe.Pointer(&b[0])), 1)
		if e != unix.EINTR {
			break
		}
	}
	syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(f.path)), uintptr(unsafe.Pointer(&f.argv)), uintptr(unsafe.Pointer(&f.env)))
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 1, 0, 0)
	}
}

// guard kills the tree with this mark, whoever waits for the dead, and whoever still calls.
func guard(mark string) {
	l := listener{guardianListener}
	_ = killTree(mark)
	for _, n := range readInFlight(guardianCalls) {
		l.killCaller(&n)
	}
	for {
		p := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, -1); err != nil && err != unix.EINTR {
			return
		}
		if p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0 {
			return // nobody is left
		}
		if p[0].Revents&unix.POLLIN == 0 {
			continue
		}
		var n seccompNotif
		if e := l.receive(&n); e == 0 {
			l.killCaller(&n)
		}
	}
}

// killCaller kills the process of a call that waits.
func (l listener) killCaller(n *seccompNotif) {
	if t, err := readTask(int(n.pid)); err == nil && l.valid(n.id) {
		_ = unix.Kill(t.tgid, unix.SIGKILL)
	}
}

// killTree kills the processes that carry the mark, and all that descend from them, until none is found.
func killTree(mark string) error {
	const (
		rounds = 100
		pause  = 2 * time.Millisecond
	)
	needle := needleOf(mark)
	var failure error
	for range rounds {
		tree := treeOf(needle)
		if len(tree) == 0 {
			return nil
		}
		if err := signalAll(tree, unix.SIGKILL); err != nil {
			failure = err
		}
		time.Sleep(pause)
	}
	return failure
}

func signalAll(tree map[int]stat, sig syscall.Signal) (failure error) {
	for pid, st := range tree {
		if err := signalProcess(pid, st.start, sig); err != nil {
			failure = os.NewSyscallError("kill", err)
		}
	}
	return failure
}

// signalProcess reaches this one, and not one that got its number since.
func signalProcess(pid int, start uint64, sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		defer unix.Close(fd)
		if st, e := readStat(pid); e != nil || st.start != start {
			return nil
		}
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
	if err == unix.ESRCH {
		return nil
	}
	return err
}

// treeOf finds the live processes of a tree, but this one.
func treeOf(needle []byte) map[int]stat {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	tree, all := map[int]stat{}, map[int]stat{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		st, err := readStat(pid)
		if err != nil || strings.IndexByte("ZXx", st.state) >= 0 {
			continue
		}
		all[pid] = st
		env, _ := os.ReadFile(procPath(pid, "environ"))
		if bytes.HasPrefix(env, needle) || bytes.Contains(env, append([]byte{0}, needle...)) {
			tree[pid] = st
		}
	}
	for grown := true; grown; {
		grown = false
		for pid, st := range all {
			_, in := tree[pid]
			if _, parent := tree[st.parent]; parent && !in {
				tree[pid], grown = st, true
			}
		}
	}
	return tree
}

// needleOf is what stands in the environment of a tree's processes.
func needleOf(mark string) []byte { return []byte(markName + "=" + mark + "\x00") }

// tree is what can be found of the tree: by its mark, by descent, and whoever was told of to the handler.
func (s *supervisor) tree() map[int]stat {
	tree := treeOf(needleOf(s.mark))
	s.processes.mu.Lock()
	defer s.processes.mu.Unlock()
	for pid, e := range s.processes.byPID {
		if _, in := tree[pid]; in {
			continue
		}
		if st, err := readStat(pid); err == nil && st.start == e.Start && st.state != 'Z' {
			tree[pid] = st
		}
	}
	return tree
}

func (s *supervisor) living() []*Process {
	var all []*Process
	for pid, st := range s.tree() {
		all = append(all, &Process{PID: pid, Start: st.start, Command: st.command})
	}
	slices.SortFunc(all, func(a, b *Process) int { return a.PID - b.PID })
	return all
}

func (s *supervisor) signal(sig syscall.Signal) error { return signalAll(s.tree(), sig) }
