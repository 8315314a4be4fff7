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
//
// started is told the program's process, and how to signal it; os.ErrProcessDone says that it is gone. What arrived for a
// program that was never started is for us after stop.
func forward(c *child, late func(os.Signal)) (started func(pid int, signal func(os.Signal) error), stop func()) {
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
	child, stopped := make(chan func(os.Signal) error, 1), make(chan struct{})
	go func() {
		var pass func(os.Signal) error
		var early []os.Signal
		for {
			select {
			case pass = <-child:
				for _, s := range early {
					_ = pass(s)
				}
				early = nil
			case <-stopped:
				close(arrived)
				for s := range arrived {
					early = append(early, s)
				}
				for _, s := range early {
					_ = unix.Kill(unix.Getpid(), s.(syscall.Signal))
				}
				return
			case s := <-arrived:
				typed := typed(s)
				switch {
				case pass == nil && typed && c.forking.Load():
				case pass == nil:
					early = append(early, s)
				case !errors.Is(pass(unlessTyped(s, typed)), os.ErrProcessDone):
				case s == syscall.SIGTSTP: // typed before the program's end, and seen now
				default:
					late(s)
				}
			}
		}
	}()
	ran := false
	started = func(pid int, signal func(os.Signal) error) {
		ran = true
		go followStops(pid)
		child <- signal
	}
	return started, func() {
		if ran {
			go signal.Stop(arrived) // a switch of threads for each signal; whoever is about to end need not wait for it
			return
		}
		signal.Stop(arrived)
		close(stopped)
	}
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
