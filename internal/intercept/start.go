//go:build linux && (amd64 || arm64)

package intercept

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supervisor is what Supervisor stands for here.
type supervisor struct {
	public   *Supervisor
	handler  Handler
	listener listener
	root     root
	// userNamespace of ours
	userNamespace ID
	ending        atomic.Bool // who calls is killed
	views         atomic.Bool // a process changed its root or mount namespace
	aliases       atomic.Bool // a file of interest is known to have another name
	sameRoot      [1024]atomic.Int32
	begun         [1024]atomic.Int32  // threads that made a call
	behind        [1024]atomic.Uint64 // thread and number of closes when it opened a file for writing
	replacer      replacer
	receivers     sync.WaitGroup
	idle          bool     // no receiver is left
	threads       sync.Map // ids of the receivers' threads
	answers       sync.WaitGroup
	events        *events
	processes     *processes
	launch        *launcher
	findings      Findings
	actors        actors
	inFlight      *inFlight
	guardian      *guardian
	nested        *outer
	adopts        bool   // see adopt
	mark          string // in the environment of every process of the tree

	command int
	reaping sync.Mutex
	reaped  bool
	ended   chan struct{} // the command's status is there
	status  Status
	waitErr error
	over    chan struct{} // no process is left
	told    chan struct{} // and the handler knows

	failed  sync.Mutex
	failure error
}

func open(public *Supervisor, h Handler) error {
	s := &supervisor{public: public, handler: h, ended: make(chan struct{}), over: make(chan struct{}), told: make(chan struct{})}
	public.s = s
	own, err := readTask(unix.Gettid())
	if err != nil {
		return missing("procfs", err)
	}
	s.actors.own = own.credentials
	if s.userNamespace, err = userNamespace(unix.Gettid()); err != nil {
		return missing("procfs", err)
	}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, "/proc/self/root", unix.AT_STATX_DONT_SYNC, rootMask, &st); err != nil {
		return missing("procfs", err)
	}
	s.root = rootOf(&st)
	s.mark = strings.ToLower(rand.Text())

	s.launch = newLauncher()
	if s.listener, err = s.launch.install(filter(), true); err != nil {
		s.launch.close()
		return err
	}
	if err = s.open(); err == nil {
		err = s.probe()
	}
	if err != nil {
		s.launch.close()
		s.idle = true
		s.closeAll()
		return err
	}
	s.receive()
	go s.untilOver()
	return nil
}

// run starts the command on the thread that has the filter, and ends that thread.
func (s *supervisor) run(cmd Command) error {
	err := s.adopt()
	pid := 0
	if err == nil {
		pid, err = s.launch.run(cmd, markName+"="+s.mark)
	}
	if err == nil {
		s.begin(pid)
	}
	s.launch.close()
	if err != nil {
		<-s.told
	}
	return err
}

// abandon ends the last user of the filter, and with it everything.
func (s *supervisor) abandon() {
	s.launch.close()
	<-s.told
}

func (s *supervisor) found() Findings { return s.findings }

// open makes everything that the supervisor needs beside the listener.
func (s *supervisor) open() (err error) {
	if s.events, err = newEvents(s); err != nil {
		return err
	}
	s.processes = newProcesses(s)
	if s.nested, err = listen(s); err != nil {
		return err
	}
	if s.inFlight, err = newInFlight(); err != nil {
		return err
	}
	s.guardian, err = newGuardian(s.listener, s.inFlight, s.mark)
	return err
}

func (s *supervisor) closeAll() {
	if s.guardian != nil {
		s.guardian.dismiss()
	}
	if s.inFlight != nil && s.idle {
		s.inFlight.close()
	}
	if s.nested != nil {
		s.nested.close()
	}
	if s.events != nil {
		s.events.close()
	}
	s.actors.close()
	unix.Close(s.listener.fd)
}

// untilOver waits for the end of the tree, and tells the handler the last of it.
func (s *supervisor) untilOver() {
	s.events.run()
	close(s.over)
	s.guardian.kill() // nobody is left to guard; what we still have to do takes as long as its end
	s.dismissReceivers()
	s.answers.Wait()
	s.drain()
	s.processes.buryAll()
	s.drain()
	s.reapLast()
	s.closeAll()
	close(s.told)
}

// dismissReceivers interrupts those that still wait for a call: kernels before 6.11 do not tell them that none will
// come. One that hangs in a dead filesystem is left behind.
func (s *supervisor) dismissReceivers() {
	const patience, step = time.Second, time.Millisecond
	gone := make(chan struct{})
	go func() { s.receivers.Wait(); close(gone) }()
	for waited := time.Duration(0); waited < patience; waited += step {
		s.threads.Range(func(tid, _ any) bool {
			_ = unix.Tgkill(os.Getpid(), tid.(int), unix.SIGURG)
			return true
		})
		select {
		case <-gone:
			s.idle = true
			return
		case <-time.After(step):
		}
	}
}

func (s *supervisor) fail(what string, err error) {
	s.failed.Lock()
	defer s.failed.Unlock()
	if s.failure == nil {
		s.failure = fmt.Errorf("intercept: %s: %w", what, err)
	}
}

func (s *supervisor) err() error {
	s.failed.Lock()
	defer s.failed.Unlock()
	return s.failure
}

func (s *supervisor) done() <-chan struct{}           { return s.told }
func (s *supervisor) pid() int                        { return s.command }
func (s *supervisor) watch(f *os.File, key any) error { return s.events.watch(f, key) }
func (s *supervisor) unwatch(key any)                 { s.events.unwatch(key) }
func (s *supervisor) otherNames()                     { s.aliases.Store(true) }
func (s *supervisor) drain()                          { s.events.drain() }

// signalCommand: until it is waited for, its number is its own.
func (s *supervisor) signalCommand(sig syscall.Signal) error {
	s.reaping.Lock()
	defer s.reaping.Unlock()
	if s.reaped {
		return os.ErrProcessDone
	}
	err := unix.Kill(s.command, sig)
	if err == unix.ESRCH {
		return os.ErrProcessDone
	}
	return os.NewSyscallError("kill", err)
}

func (s *supervisor) kill() error {
	_ = s.signalCommand(unix.SIGKILL) // whose environment we may not be allowed to read
	s.ending.Store(true)
	return errors.Join(s.signal(unix.SIGKILL), killTree(s.mark))
}

// A launcher is the thread that carries the filter: the command is forked from it and inherits the filter, and nobody
// else does. The thread ends with the launcher.
type launcher struct {
	work chan func()
	quit chan struct{}
	once sync.Once
}

func newLauncher() *launcher {
	l := &launcher{work: make(chan func()), quit: make(chan struct{})}
	go l.thread()
	return l
}

func (l *launcher) thread() {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		// The main thread never ends, and would keep the filter. While it is held here the next goroutine gets another.
		other := make(chan struct{})
		go func() {
			defer close(other)
			l.thread()
		}()
		<-other
		runtime.UnlockOSThread()
		return
	}
	for {
		select {
		case f := <-l.work:
			f()
		case <-l.quit:
			return // locked: the thread ends too
		}
	}
}

// do runs f on the thread, unless the launcher has been closed.
func (l *launcher) do(f func()) {
	done := make(chan struct{})
	select {
	case l.work <- func() { defer close(done); f() }:
		<-done
	case <-l.quit:
	}
}

func (l *launcher) close() { l.once.Do(func() { close(l.quit) }) }

func (l *launcher) install(program []unix.SockFilter, killable bool) (k listener, err error) {
	l.do(func() { k, err = install(program, killable) })
	return k, err
}

// run forks and executes the command. Between the two the child shares our memory while its parent thread keeps a
// processor of the Go runtime, so none of the calls it makes there may be trapped: the receiver might not get one.
func (l *launcher) run(cmd Command, mark string) (pid int, err error) {
	env := cmd.Env
	if env == nil {
		env = os.Environ()
	}
	env = append(slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, markName+"=") }), mark)
	files := cmd.Files
	if files == nil {
		files = []*os.File{os.Stdin, os.Stdout, os.Stderr}
	}
	attr := &syscall.ProcAttr{Dir: cmd.Dir, Env: env}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	l.do(func() {
		pid, err = syscall.ForkExec(cmd.Path, cmd.Args, attr)
		if errors.Is(err, unix.ENOEXEC) && len(cmd.Args) > 0 {
			const shell = "/bin/sh"
			pid, err = syscall.ForkExec(shell, append([]string{shell, cmd.Path}, cmd.Args[1:]...), attr)
		}
	})
	runtime.KeepAlive(files)
	if err != nil {
		return 0, &os.PathError{Op: "exec", Path: cmd.Path, Err: err}
	}
	return pid, nil
}
