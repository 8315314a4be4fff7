package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"jsonguard/sidecar"
)

// execOptions are the flags of exec.
type execOptions struct {
	files  []string
	mode   string
	env    string
	report string

	allowUnguarded bool
}

func (a *app) execCommand() *cobra.Command {
	var o execOptions
	cmd := a.verb(groupRun, "exec [--file FILE]... [--mode auto|intercept|copy] [--report FILE] -- CMD ARG...",
		"Run a program that shares JSON files, unchanged",
		`Run CMD so that what it and its children write into a shared JSON file is merged with what others write. Any number of
such programs may run at once.

On Linux (5.19 or newer) the program's accesses to FILE are intercepted: its path may be hard-coded. The program reads one
complete version, writes into a file of its own, and that is merged when it closes it. FILE may be a pattern (* within a
name, ** for directories) and be given more than once. Without --file the policy says which files; without that it is every
*.json, *.jsonl and *.ndjson that CMD opens for writing below the working directory, and what turns out to be no JSON is
left alone.

Where that is not possible, CMD gets a private copy of the one FILE (--mode copy), which is merged at each complete write,
and when CMD ends. So that one command line serves both: an argument that is {}, or --NAME={}, and the environment variable
JSONGUARD_FILE (--env names another) are FILE under interception and its copy otherwise. Any other {} is CMD's own text
and stays, and so does each of find, xargs, parallel and fd. -v says which mode it is and why. --mode intercept fails where it
is not possible, and leaves every argument as it is.

Programs under interception gain no privileges: setuid and file capabilities have no effect (no_new_privs). Write sudo
jsonguard exec …, not jsonguard exec … sudo. It is no sandbox.

The program's arguments, stdin, stdout and stderr are its own; so is the exit status, a death by signal included. TERM,
HUP, USR1 and USR2 are passed on, and INT and QUIT when they were not typed at the terminal, where they reach it by
themselves. Processes that CMD leaves behind stay guarded: exec says so and stays with them; TERM or ^C ends them, a second
one kills them. What was written is merged before jsonguard ends, however it ends; if jsonguard itself is killed, its
programs are killed with it, and what they had finished is merged by the next use of FILE.

Exit status: the program's, if it is not 0. 125: jsonguard failed before the program ran; 126: it cannot be run; 127: it
was not found. After the program's 0: 65, what it wrote cannot be parsed (it is in quarantine) or was refused; 74, an
I/O error; 75, what it wrote is safe but not yet in FILE.`,
		`  jsonguard exec --file results.json -- python3 runner.py
  jsonguard exec --file 'runs/**/*.json' -- make benchmarks
  jsonguard exec -- npm test
  jsonguard exec --file results.json -- python3 runner.py --db {}`,
		func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("usage: "+cmd.UseLine(), "exec: no program")
			}
			return nil
		}, nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.exec(cmd.Context(), o, args) }
	f := cmd.Flags()
	f.SetInterspersed(false) // what follows the program is the program's
	f.StringArrayVar(&o.files, "file", nil, "a shared `FILE`, or a pattern of them (with --mode copy exactly one file)")
	f.StringVar(&o.mode, "mode", modeAuto, "how the program's writes are seen: `MODE` is auto, intercept or copy")
	f.BoolVar(&o.allowUnguarded, "allow-unguarded", false, "under interception: let programs run on that cannot be inspected")
	f.StringVar(&o.env, "env", "JSONGUARD_FILE", "the environment variable `NAME` has the path of the file, or of its copy")
	f.StringVar(&o.report, "report", "", "write what happened to this `FILE`, as JSON")
	return wraps.mark(cmd)
}

// Modes of exec. Nested is what auto and intercept become inside another exec, which guards for both.
const (
	modeAuto      = "auto"
	modeIntercept = "intercept"
	modeCopy      = "copy"
	modeNested    = "nested"
)

func (o execOptions) check() error {
	switch o.mode {
	case modeAuto, modeIntercept, modeCopy:
	default:
		return usage("--mode auto, --mode intercept or --mode copy", "exec: unknown mode %q", o.mode)
	}
	for _, f := range o.files {
		if f == "" {
			return usage("is a variable of the script unset?", "exec: --file is empty")
		}
	}
	if o.env == "" || strings.ContainsAny(o.env, "=\x00") {
		return usage("a name like DB_PATH", "exec: %q cannot name an environment variable", o.env)
	}
	return nil
}

// checkCopy is what mode copy needs beside that.
func (o execOptions) checkCopy() error {
	switch {
	case len(o.files) == 0:
		return usage("name the shared file: --file results.json", "exec: mode copy needs a --file")
	case len(o.files) > 1:
		return usage("one program, one --file; a second file needs a second jsonguard exec around it", "exec: mode copy takes one --file, not %d", len(o.files))
	case isPattern(o.files[0]):
		return usage("name the file itself", "exec: mode copy takes a file, not a pattern: %s", o.files[0])
	}
	return nil
}

// isPattern: a file that is there is a name, whatever is in it.
func isPattern(file string) bool {
	_, err := os.Lstat(file)
	return err != nil && strings.ContainsAny(file, "*?[")
}

// cannotIntercept is why a program cannot be run under interception. Nothing has been done yet when it is returned.
type cannotIntercept struct{ why error }

func (e *cannotIntercept) Error() string { return e.why.Error() }
func (e *cannotIntercept) Unwrap() error { return e.why }

func (a *app) exec(ctx context.Context, o execOptions, argv []string) error {
	if a.json {
		return usage("--report FILE writes JSON", "exec: --json would go between the program's output")
	}
	if err := o.check(); err != nil {
		return err
	}
	program, err := findProgram(argv)
	if err != nil {
		return err
	}
	report, err := openReport(o)
	if err != nil {
		return err
	}
	told, outcome := a.runGuarded(ctx, o, program)
	if err := report.close(told); err != nil {
		a.complain(nil, err, statusIO)
		if statusOfEnd(outcome) == 0 {
			outcome = ended{status: statusIO}
		}
	}
	return outcome
}

// runGuarded runs the program in the mode that was asked for, or the best that there is. A report is of a program that ran.
func (a *app) runGuarded(ctx context.Context, o execOptions, program *child) (*execReport, error) {
	why := error(nil)
	if o.mode == modeAuto && o.prefersCopy(program) {
		why = fmt.Errorf("%s gains privileges, which it could not under interception", program.argv[0])
		o.mode = modeCopy
	}
	if o.mode != modeCopy {
		told, outcome := a.runIntercepted(ctx, o, program)
		var cannot *cannotIntercept
		switch {
		case !errors.As(outcome, &cannot):
			return told, outcome
		case o.mode == modeIntercept:
			return nil, &problem{op: "exec: --mode intercept", err: cannot.why, hint: "--mode copy gives the program a private copy through {}"}
		}
		why, o.mode = cannot.why, modeCopy
	}
	if err := o.checkCopy(); err != nil {
		if why != nil {
			a.say("exec: no interception: %v", why)
		}
		return nil, err
	}
	if why != nil {
		a.note("exec: mode copy: %v", why)
	}
	run := &copyRun{a: a, program: program, options: o, began: time.Now(), file: o.files[0], instead: why}
	outcome := run.run(ctx)
	return run.report(outcome), outcome
}

// prefersCopy: a program that gains privileges (sudo) loses them under interception, and takes a copy instead where
// it is told of one.
func (o execOptions) prefersCopy(program *child) bool {
	return filled(program.argv) && o.checkCopy() == nil && gainsPrivileges(program.path)
}

// statusOfEnd: exec's outcome is ended once the program ran.
func statusOfEnd(err error) int {
	var end ended
	if errors.As(err, &end) {
		return end.exitStatus()
	}
	return exitStatus(err, wraps)
}

// copyRun is one program with one private copy.
type copyRun struct {
	a       *app
	program *child
	options execOptions
	file    string
	began   time.Time
	instead error // why it is no interception; nil: it was asked for

	g    *sidecar.Guard
	view *sidecar.View

	started    bool
	end        ended
	before     fileStamp // of the target when the program started
	lastSeen   string    // what the copy held when it was last submitted
	generation uint64
	writes     int // complete writes that were taken
	conflicts  []sidecar.Conflict
	failure    error // of the final fold
	direct     bool  // the program wrote the target and left the copy alone
	removed    bool  // the program removed its copy, which package sidecar says
}

// run returns ended once the program ran, another error when it did not.
func (r *copyRun) run(ctx context.Context) error {
	var err error
	if r.g, err = r.a.guard(r.file); err != nil {
		return err
	}
	defer r.g.Close()
	if r.view, err = r.g.View(ctx); err != nil {
		return err
	}
	r.before = stampOf(r.g.Target())
	r.lastSeen = stampContent(r.view.Path())

	folding, giveUp := context.WithCancel(ctx)
	defer giveUp()
	forkBeforeSignals()
	started, stop := forward(r.program, func(os.Signal) { giveUp() }) // after the program's end, a signal asks us not to wait for a lock
	defer stop()
	// The program's processes hold the copy's lock, so that nobody takes the copy for abandoned if we are killed.
	release, err := inherit(r.view.Owner())
	if err != nil {
		r.abandon(ctx)
		return err
	}
	r.program.argv = fill(r.program.argv, r.view.Path())
	watching, stopWatching := context.WithCancel(folding)
	defer stopWatching()
	watched := r.watch(watching)
	err = r.program.start(r.a, r.options.env+"="+r.view.Path())
	release()
	if err != nil {
		stopWatching()
		<-watched
		r.abandon(ctx)
		return err
	}
	r.started = true
	started(r.program.cmd.Process.Pid, r.program.cmd.Process.Signal)
	r.end, err = r.program.wait()
	stopWatching()
	<-watched
	if err != nil {
		r.a.say("%v", err)
	}
	if r.end.signal != 0 {
		r.view.Killed()
	}
	r.finish(folding)
	return r.outcome()
}

// abandon gives the copy back that no program saw.
func (r *copyRun) abandon(ctx context.Context) { _, _ = r.view.Close(ctx) }

// finish folds what is left and tells.
func (r *copyRun) finish(ctx context.Context) {
	last := stampContent(r.view.Path())
	r.removed = last == "" && r.lastSeen != ""
	var result sidecar.Result
	result, r.failure = r.view.Close(ctx)
	r.generation = result.Generation
	if !errors.Is(r.failure, sidecar.ErrTorn) {
		r.countWrite(last)
	} else if _, err := r.g.Flush(ctx); err != nil { // the policy may say that its complete records are taken
		r.a.note("not merged yet: %v", complaintOf(err).text)
	}
	r.conflicts = r.ownConflicts()
	if r.writes == 0 && r.failure == nil {
		r.direct = r.wroteTarget()
	}
	r.tell()
}

// submit takes a write in between. That a lock is held, or that the copy is in the middle of a write, is no error
// then: the next write or the end brings it.
func (r *copyRun) submit(ctx context.Context) {
	const patience = 2 * time.Second
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	before := stampContent(r.view.Path())
	_, err := r.view.Submit(ctx)
	if !errors.Is(err, sidecar.ErrTorn) && before == stampContent(r.view.Path()) {
		r.countWrite(before)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, sidecar.ErrTorn) && !errors.Is(err, sidecar.ErrPending) {
		r.a.note("not merged yet, tried again later: %v", complaintOf(err).text)
	}
}

// countWrite is for the line at the end only: two writes within one submission count as one.
func (r *copyRun) countWrite(stamp string) {
	if stamp != r.lastSeen && stamp != "" {
		r.lastSeen = stamp
		r.writes++
	}
}

// ownConflicts are read from the log, because another process may have folded what ours wrote.
func (r *copyRun) ownConflicts() []sidecar.Conflict { return conflictsOf(os.Getpid(), r.g, r.began) }

// wroteTarget looks for a program that was told of its copy and wrote the shared file nevertheless. Other jsonguards
// write it too, so it counts only when the file is a version that no fold left.
func (r *copyRun) wroteTarget() bool {
	after := stampOf(r.g.Target())
	if after == r.before {
		return false
	}
	st, err := r.g.Status(context.Background())
	return err == nil && (st.Unguarded || st.Generation <= 1)
}

// tell writes the line at the end, and what went wrong.
func (r *copyRun) tell() {
	name := filepath.Base(r.file)
	if r.direct {
		why := ""
		if r.instead != nil {
			why = fmt.Sprintf("; a path that is hard-coded needs interception, and here: %v", r.instead)
		}
		r.a.warn(fmt.Sprintf("%s was changed, but not through its copy: nothing protected that write (does the program use {} or $%s?%s)", name, r.options.env, why))
	}
	if r.failure != nil {
		if complaintOf(r.failure).hint == "" {
			r.failure = &problem{err: r.failure, hint: "the copy is kept: the next use of the file brings in what the program wrote"}
		}
		r.a.complain(nil, r.failure, dataStatus(r.failure, writes))
	}
	if r.writes == 0 && len(r.conflicts) == 0 {
		if !r.direct && !r.removed && r.failure == nil {
			r.a.warn(unwritten(r.file))
		}
		return
	}
	what := "merged"
	if r.failure != nil {
		what = "seen"
	}
	line := fmt.Sprintf("%s: %s %s", name, count(r.writes, "write"), what)
	if n := len(r.conflicts); n > 0 {
		line += fmt.Sprintf(", %s (jsonguard conflicts %s)", count(n, "conflict"), shellQuote(r.file))
	}
	r.a.warn(line)
	for _, place := range refusedPlaces(r.conflicts) {
		r.a.say("%s: what was written at %s was refused by the policy; the conflict log has it", name, placeName(place))
	}
}

// unwritten names a --file that no program wrote: a name that is wrong guards nothing.
func unwritten(file string) string {
	return fmt.Sprintf("--file %s: the program did not write it", file)
}

// outcome: the program's own failure always wins.
func (r *copyRun) outcome() ended {
	if r.end.exitStatus() == 0 && r.failure == nil && refusedPlaces(r.conflicts) != nil {
		return ended{status: statusData}
	}
	if r.end.exitStatus() != 0 || r.failure == nil {
		return r.end
	}
	switch status := dataStatus(r.failure, writes); status {
	case statusData, statusTemporary:
		return ended{status: status}
	}
	return ended{status: statusIO}
}
