//go:build unix

package main

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"jsonguard/internal/sigorigin"
)

func isNoFormat(err error) bool { return errors.Is(err, syscall.ENOEXEC) }

func endingOf(state *os.ProcessState) ended {
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return ended{signal: int(w.Signal())}
	}
	return ended{status: state.ExitCode()}
}

// inherit makes the next child hold f's open file, and with it its flock, until the child and everything it started
// are gone. Not through ExtraFiles, which are 3, 4, …: those may be descriptors that our own parent meant for the
// program.
func inherit(f *os.File) (release func(), err error) {
	const high = 100
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD, high)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return func() { _ = unix.Close(fd) }, nil
}

// forward passes signals on to c until stop is called; late is called for each that finds c gone.
//
// INT and QUIT need care. Typed at a terminal they reach the whole foreground process group, the child by itself;
// sent by a process they reach us only. A signal that was ignored when we started stays ignored, for the child too
// (nohup, & in a script).
//
// A ^Z must not stop us before the program has stopped: the shell would take its terminal back while the program may
// still read from it. So TSTP is caught like INT, and we stop when the program does.
func forward(c *child, late func(os.Signal)) (started func(*os.Process), stop func()) {
	forkBeforeSignals()
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGQUIT}
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signals = append(signals, s)
		}
	}
	if followsStops && !signal.Ignored(syscall.SIGTSTP) {
		signals = append(signals, syscall.SIGTSTP)
	}
	arrived := make(chan os.Signal, 64)
	signal.Notify(arrived, signals...)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTSTP} {
		_ = sigorigin.Watch(s) // without it typed() guesses
	}
	child := make(chan *os.Process, 1)
	go func() {
		var p *os.Process
		var early []os.Signal
		for {
			select {
			case p = <-child:
				for _, s := range early {
					_ = p.Signal(s)
				}
				early = nil
			case s := <-arrived:
				typed := typed(s)
				switch {
				case p == nil && typed && c.forking.Load():
				case p == nil:
					early = append(early, s)
				case !errors.Is(p.Signal(unlessTyped(s, typed)), os.ErrProcessDone):
				case s == syscall.SIGTSTP: // typed before the program's end, and seen now
				default:
					late(s)
				}
			}
		}
	}()
	started = func(p *os.Process) {
		go followStops(p.Pid)
		child <- p
	}
	return started, func() { signal.Stop(arrived) }
}

// unlessTyped is what to pass on: of what was typed nothing, which still finds out whether the program is there.
func unlessTyped(s os.Signal, typed bool) os.Signal {
	if typed {
		return syscall.Signal(0)
	}
	return s
}

// typed says whether a signal came from the keyboard. Where the system does not tell, it is taken for typed when we are
// in the foreground of our terminal.
func typed(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT && s != syscall.SIGTSTP {
		return false
	}
	if fromTerminal, known := sigorigin.FromTerminal(s.(syscall.Signal)); known {
		return fromTerminal
	}
	return inForeground()
}

// inForeground says whether what is typed at our terminal as a signal reaches us.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false // no terminal
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// dieBySignal ends this process as the child ended, so that a shell sees the same thing: ^C stops its loop.
func dieBySignal(number int) {
	s := syscall.Signal(number)
	// The core, if there is to be one, is the child's.
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	signal.Reset(s)
	restoreDefault(s)
	if unix.Kill(unix.Getpid(), s) == nil {
		time.Sleep(time.Second) // delivered to another thread; or it is blocked, and 128+n has to do
	}
}
