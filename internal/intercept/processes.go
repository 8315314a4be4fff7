//go:build linux && (amd64 || arm64)

package intercept

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// processes are those of the tree that made a call of interest, their ancestors in the tree, and the children that
// they had then. fork itself is not trapped: a call that waits for a supervisor can be interrupted by a signal before
// it was received, and programs do not expect that of fork (dash gives up: "Cannot fork"). Instead, before a call of
// interest is answered, the children that its process has by then are told: they were born before it.
type processes struct {
	s         *supervisor
	mu        sync.Mutex
	byPID     map[int]*entry
	dead      map[int]*Process // by pid, as parents of orphans
	ancestors map[int]bool     // of the supervisor, itself included: who adopts orphans; nil until somebody asks
	first     int              // the command
}

type entry struct {
	*Process
	pidfd int
}

// maxDead bounds what is remembered of the dead.
const maxDead = 1024

func newProcesses(s *supervisor) *processes {
	return &processes{s: s, byPID: map[int]*entry{}, dead: map[int]*Process{}}
}

// above says whether a process is an ancestor of the supervisor, or itself. One that ends later leaves us to another of them.
func (p *processes) above(pid int) bool {
	if p.ancestors == nil {
		p.ancestors = map[int]bool{0: true, 1: true}
		for pid := os.Getpid(); pid > 1 && !p.ancestors[pid]; {
			p.ancestors[pid] = true
			st, err := readStat(pid)
			if err != nil {
				break
			}
			pid = st.parent
		}
	}
	return p.ancestors[pid]
}

func (p *processes) setFirst(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first = pid
}

// before returns the caller's process, ready for a call to be answered.
func (p *processes) before(t *task) (*Process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, err := p.ensure(t.tgid)
	if err != nil {
		return nil, err
	}
	born, err := children(t.tgid)
	if err != nil {
		return nil, err
	}
	for _, child := range born {
		if _, err := p.ensure(child); scarce(err) {
			return nil, err
		}
	}
	return e.Process, nil
}

// find returns the caller's process, which may be unknown to the handler; never nil.
func (p *processes) find(t *task) *Process {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, err := p.ensure(t.tgid); err == nil {
		return e.Process
	}
	return &Process{PID: t.tgid}
}

// ensure registers a process, its parents first. It fails when the process has ended, or for want of descriptors.
func (p *processes) ensure(pid int) (*entry, error) {
	st, err := readStat(pid)
	if err != nil {
		return nil, err
	}
	if known := p.byPID[pid]; known != nil {
		if known.Start == st.start {
			return known, nil
		}
		p.bury(known) // its number was given away before we heard of its end
	}
	e := &entry{Process: &Process{PID: pid, Start: st.start, Command: st.command}}
	switch {
	case pid == p.first:
	case p.above(st.parent):
		e.Parent, e.Orphan = p.adopter(st), true
	default:
		parent, err := p.ensure(st.parent)
		if scarce(err) {
			return nil, err
		}
		if err == nil {
			e.Parent = parent.Process
		}
	}
	if e.pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
		return nil, err
	}
	p.byPID[pid] = e
	p.s.handler.Forked(e.Parent, e.Process)
	p.s.events.addProcess(e)
	return e, nil
}

// adopter is the likeliest parent of an orphan: the leader of its process group or session. Nothing better is to be
// had when the parent of a process has ended without ever being noticed.
func (p *processes) adopter(st stat) *Process {
	for _, leader := range []int{st.group, st.session} {
		if leader == st.pid {
			continue
		}
		if e := p.byPID[leader]; e != nil && e.Start <= st.start {
			return e.Process
		}
		if d := p.dead[leader]; d != nil && d.Start <= st.start {
			return d
		}
	}
	return nil
}

// ended is called when a pidfd says so.
func (p *processes) ended(e *entry) {
	p.s.drain()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byPID[e.PID] == e {
		p.bury(e)
	}
}

func (p *processes) bury(e *entry) {
	delete(p.byPID, e.PID)
	if len(p.dead) >= maxDead {
		clear(p.dead)
	}
	p.dead[e.PID] = e.Process
	e.Process.ended.Store(ticks())
	signal := p.killer(e)
	if p.s.adopts && p.first != 0 && e.PID != p.first {
		_, _ = unix.Wait4(e.PID, nil, unix.WNOHANG, nil)
	}
	p.s.events.remove(e.pidfd)
	unix.Close(e.pidfd)
	p.s.handler.Exited(e.Process, signal)
}

// ticks is the time as /proc/<pid>/stat tells of births: clock ticks after boot.
func ticks() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) // cannot fail: Linux 2.6.39
	return uint64(now.Nano() / int64(Tick))
}

// buryAll is for the end of the tree.
func (p *processes) buryAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.byPID {
		p.bury(e)
	}
}

// killer is the signal that ended a process, 0, or UnknownEnd.
func (p *processes) killer(e *entry) syscall.Signal {
	if e.PID == p.first {
		status, err := p.s.wait()
		if err != nil {
			return UnknownEnd
		}
		return status.Signal
	}
	// Its parent may have waited for it already: then only newer kernels tell.
	if st, err := readStat(e.PID); err == nil && st.start == e.Start {
		return signalOf(syscall.WaitStatus(st.exit))
	}
	const infoExit = 1 << 3 // PIDFD_INFO_EXIT, Linux 6.15
	info := unix.PidfdInfo{Mask: infoExit}
	if err := unix.IoctlPidfdInfo(e.pidfd, &info); err == nil && info.Mask&infoExit != 0 {
		return signalOf(syscall.WaitStatus(info.Exit_code))
	}
	return UnknownEnd
}

// signalOf is the signal that ended a process; 0 if it exited.
func signalOf(w syscall.WaitStatus) syscall.Signal {
	if w.Signaled() {
		return w.Signal()
	}
	return 0
}

// stat is what /proc/<pid>/stat says.
type stat struct {
	pid, parent, group, session int
	command                     string
	state                       byte
	start                       uint64
	exit, flags                 uint32
}

func readStat(pid int) (stat, error) {
	raw, err := readProc(procPath(pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	// The name is in parentheses and may hold any, and spaces.
	text := string(raw)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, unix.EINVAL
	}
	f := strings.Fields(text[end+1:])
	const least = 50
	if len(f) < least {
		return stat{}, unix.EINVAL
	}
	number := func(i int) int { n, _ := strconv.Atoi(f[i-3]); return n } // as proc_pid_stat(5) counts
	s := stat{pid: pid, command: text[open+1 : end], state: f[0][0], parent: number(4), group: number(5), session: number(6)}
	s.start, _ = strconv.ParseUint(f[22-3], 10, 64)
	s.exit, s.flags = uint32(number(52)), uint32(number(9))
	return s, nil
}

// threads are the names of the directories of a process's threads.
func threads(pid int) ([]string, error) {
	dir, err := unix.Open(procPath(pid, "task"), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	var names []string
	buf := make([]byte, 4096)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if n <= 0 || err != nil {
			return names, err
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names) // without . and ..
	}
}

// children of all threads of a process. Where the kernel does not list them there are none to be had.
func children(pid int) ([]int, error) {
	threads, err := threads(pid)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, t := range threads {
		raw, err := readProc(procPath(pid, "task/"+t+"/children"))
		if scarce(err) {
			return nil, err
		}
		for f := range strings.FieldsSeq(string(raw)) {
			if n, err := strconv.Atoi(f); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids, nil
}
