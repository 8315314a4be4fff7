// Command jsonguard lets many processes share one JSON file without losing each other's changes.
//
// Each verb is a file of this package; exit.go maps an error to an exit status, and complain.go says it to people.
// Data goes to stdout and nothing else does; what jsonguard itself has to say goes to stderr behind "jsonguard: ".
// JSON.md documents what --json prints.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"jsonguard/sidecar"
)

func main() {
	growStack()
	a := newApp(os.Stdin, os.Stdout, os.Stderr)
	a.dieBy = dieBySignal
	os.Exit(a.run(os.Args[1:]))
}

// growStack makes the stack as large as a verb needs it, here, where there is hardly anything on it. Where it grows below twenty calls,
// to copy it takes the pages of the tables of all their functions: 0.05 ms, a twentieth of what a verb takes.
//
//go:noinline
func growStack() {
	var room [12 << 10]byte
	runtime.KeepAlive(&room)
}

// app is one run of the program.
type app struct {
	stdin  io.Reader
	stdout *errWriter
	stderr io.Writer
	dieBy  func(signal int) // ends this process by that signal; nil: 128+signal is returned instead

	json        bool
	quiet       bool
	verbose     bool
	timeout     time.Duration
	policyFile  string
	followLinks bool

	misspelled  error        // by who asked for the help of a verb that there is not
	interrupted atomic.Int32 // the signal that ended the context of interruptible; 0: none
}

func newApp(stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{stdin: stdin, stdout: &errWriter{w: stdout}, stderr: stderr}
}

// run is main without the process: args in, exit status out.
func (a *app) run(args []string) int {
	root := a.rootCommand(args)
	root.SetArgs(keepNegatives(args))
	cmd, err := root.ExecuteC()
	if err == nil {
		err = a.misspelled
	}
	answered := err == nil || errors.Is(err, ended{status: statusDifferent})
	if failed := a.stdout.err; failed != nil && (answered || errors.Is(err, failed)) {
		p := &problem{op: "write", path: "standard output", err: bare(failed), status: statusIO}
		if kindOf(cmd) == writes {
			p.hint = "what was asked for may be done: look before you repeat it"
		}
		err = p
	}
	status := a.finish(cmd, err)
	if number := int(a.interrupted.Load()); number != 0 {
		return a.die(number)
	}
	return status
}

// die ends the process by a signal, or says what a shell would.
func (a *app) die(signal int) int {
	if a.dieBy != nil {
		a.dieBy(signal)
	}
	return ended{signal: signal}.exitStatus()
}

// finish says what went wrong and returns the exit status.
func (a *app) finish(cmd *cobra.Command, err error) int {
	if err == nil {
		return 0
	}
	var end ended
	if errors.As(err, &end) { // of the program that was run: said already, or not ours to say
		if end.signal != 0 {
			return a.die(end.signal)
		}
		return end.exitStatus()
	}
	status := exitStatus(err, kindOf(cmd))
	a.complain(cmd, err, status)
	return status
}

// errWriter remembers that a write failed, so that a full disk behind stdout is not a success.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) Write(p []byte) (int, error) {
	n, err := e.w.Write(p)
	if err != nil && e.err == nil {
		e.err = err
	}
	return n, err
}

// guard opens FILE for a verb.
func (a *app) guard(file string) (*sidecar.Guard, error) {
	g, err := sidecar.Open(file, a.guardOptions())
	if err != nil {
		if _, serr := os.Stat(file); errors.Is(serr, syscall.ELOOP) {
			err = &problem{op: "open", path: file, err: syscall.ELOOP}
		}
	}
	return g, err
}

// existing is guard for verbs that make no file.
func (a *app) existing(cmd *cobra.Command, file string) (*sidecar.Guard, error) {
	if kindOf(cmd) == reads {
		a.followLinks = true // looking takes nothing away from the other names
	}
	g, err := a.guard(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &problem{err: err, status: statusNoFile}
	}
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(g.Target()); err == nil {
		return g, nil
	}
	st, err := g.Status(cmd.Context()) // a change that is pending may make it
	switch {
	case err != nil && !errors.Is(err, sidecar.ErrDamaged):
	case !st.Exists && st.Pending == 0:
		err = &problem{op: "open", path: file, err: fs.ErrNotExist, status: statusNoFile}
	default:
		return g, nil
	}
	_ = g.Close()
	return nil, err
}

// mustExist is existing for verbs that open FILE otherwise.
func (a *app) mustExist(cmd *cobra.Command, file string) error {
	g, err := a.existing(cmd, file)
	if err != nil {
		return err
	}
	return g.Close()
}

func (a *app) guardOptions() sidecar.Options {
	return sidecar.Options{Timeout: a.patience(), PolicyFile: a.policyFile, FollowLinks: a.followLinks, Warn: a.warn}
}

// patience is --timeout as package sidecar wants it: there 0 is the default, and negative tries once.
func (a *app) patience() time.Duration {
	if a.timeout <= 0 {
		return -1
	}
	return a.timeout
}

func (a *app) warn(text string) {
	if !a.quiet {
		a.say("%s", text)
	}
}

// note is for -v.
func (a *app) note(format string, args ...any) {
	if a.verbose && !a.quiet {
		a.say(format, args...)
	}
}

func (a *app) say(format string, args ...any) {
	fmt.Fprintf(a.stderr, "jsonguard: %s\n", fmt.Sprintf(format, args...))
}

func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
