package intercept

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Supervisor runs one command and its whole tree. Its methods may be called from several goroutines, also by its
// handler.
type Supervisor struct{ s *supervisor }

// New makes everything that a command needs to be supervised, and tries it on a thread and a process of our own: a kernel
// is believed for what it does, not for what it says. Run is to follow, or Close.
//
// It returns ErrUnsupported or ErrNested.
func New(h Handler) (*Supervisor, error) {
	s := &Supervisor{}
	if err := open(s, h); err != nil {
		return nil, err
	}
	return s, nil
}

// Run starts the command. The handler's methods are called from before Run returns until Done.
//
// It returns the error of executing the command as an *fs.PathError, and then everything has ended as by Close. A script
// without #! is given to /bin/sh, as execvp(3) does.
func (s *Supervisor) Run(cmd Command) error { return s.s.run(cmd) }

// Close ends a supervisor whose command was not run.
func (s *Supervisor) Close() { s.s.abandon() }

// Start is New and Run.
func Start(cmd Command, h Handler) (*Supervisor, error) {
	s, err := New(h)
	if err == nil {
		err = s.Run(cmd)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Findings are what New saw this kernel do.
func (s *Supervisor) Findings() Findings { return s.s.found() }

// PID is the command's process.
func (s *Supervisor) PID() int { return s.s.pid() }

// Wait waits for the command itself to end and says how; daemons that it left are still supervised. It may be called
// any number of times.
func (s *Supervisor) Wait() (Status, error) { return s.s.wait() }

// Done is closed when no process of the tree is left and the handler has been told everything (Changed, Exited).
func (s *Supervisor) Done() <-chan struct{} { return s.s.done() }

// Kill kills every process of the tree that can be found, and the others at their next call. It does not wait.
func (s *Supervisor) Kill() error { return s.s.kill() }

// Processes are those of the tree that live now, as far as they can be found: by their environment, by descent, and by the
// calls that they made.
func (s *Supervisor) Processes() []*Process { return s.s.living() }

// SignalCommand sends a signal to the command's process alone. It returns os.ErrProcessDone when that has ended.
func (s *Supervisor) SignalCommand(sig os.Signal) error {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("intercept: signal %v: %w", sig, errors.ErrUnsupported)
	}
	return s.s.signalCommand(number)
}

// Signal sends a signal to each of Processes.
func (s *Supervisor) Signal(sig syscall.Signal) error { return s.s.signal(sig) }

// Err is the first failure of the supervisor itself, which the tree may have felt as EIO: descriptors used up, for
// example.
func (s *Supervisor) Err() error { return s.s.err() }

// Watch makes changes to a file known to the handler (Changed) with this key, until Unwatch. f is used only to say which; it need
// not stay open. The file must be readable to us and our own (or we have CAP_LEASE), and its filesystem must have leases: else Closed is
// told for each writer that closes, and it is an error where inotify cannot tell. Watching the same object again replaces the key.
func (s *Supervisor) Watch(f *os.File, key any) error { return s.s.watch(f, key) }

// Unwatch ends Watch. It costs a descriptor until then.
func (s *Supervisor) Unwatch(key any) { s.s.unwatch(key) }

// OtherNames makes reads looked at by what they lead to, too, and not by their name alone: a file of interest has other names.
// Without it that begins when somebody in the tree is seen to make one, or to write by one.
func (s *Supervisor) OtherNames() { s.s.otherNames() }

// Drain tells the handler of the changes that are due, as is done before each of its calls. It must not be called from
// Changed.
func (s *Supervisor) Drain() { s.s.drain() }

// HasWriters says whether somebody has the file open for writing, or mapped so. f must have been opened for reading
// only, by the file's owner or with CAP_LEASE. It is an error where the filesystem has no leases. Just after a close it
// may still be true of the descriptor that was closed.
func HasWriters(f *os.File) (bool, error) { return hasWriters(f) }

// Probe finds out what New would: with a supervisor that is thrown away, in about a millisecond.
func Probe() (Findings, error) {
	s, err := New(unasked{})
	if err != nil {
		return Findings{}, err
	}
	defer s.Close()
	return s.Findings(), nil
}

// unasked is the Handler of a supervisor without a command.
type unasked struct{ Handler }

// markName is the environment variable by which nested supervisors find us, and a guardian the tree.
const markName = "JSONGUARD_SUPERVISOR"

// Marked says whether this process has the environment of a supervisor's tree. That it is in one only New finds out.
func Marked() bool { return os.Getenv(markName) != "" }

// Ask sends a request to the supervisor in whose tree this process runs, and returns its handler's answer (Asked). It
// is how a nested supervisor, whose Start returned ErrNested, gets the outer one to do its work.
func Ask(ctx context.Context, request []byte) ([]byte, error) { return ask(ctx, request) }

// Call is one call of one thread, while it waits for its answer.
type Call struct {
	Supervisor *Supervisor // whose handler is asked; Start may not have returned it yet
	Process    *Process
	TID        int // the thread's id

	n *notification
}

// Context ends when the caller is killed, with the cause context.Canceled, and when a signal is waiting that a system
// call would be interrupted by, with the cause Interrupted. It is for waiting: it costs a look at the process now and then, and
// ends up to a tenth of a second late.
func (c *Call) Context() context.Context { return c.n.context() }

// Credentials of the calling thread.
func (c *Call) Credentials() (Credentials, error) { return c.n.credentials() }

// As runs fn with the caller's fsuid, fsgid, groups, umask and file capabilities, as far as they differ from our own,
// on an operating system thread of its own: what fn opens or makes is what the caller could have. fn must do its
// system calls itself, not in other goroutines.
func (c *Call) As(fn func() error) error { return c.n.as(fn) }

// Swap replaces the caller's open descriptor fd, as dup3(2) does, before the call is answered. f is closed.
func (c *Call) Swap(fd int, f *os.File) error { return c.n.swap(fd, f) }

// Alive says whether the caller still waits for its answer.
func (c *Call) Alive() bool { return c.n.alive() }
