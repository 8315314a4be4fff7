//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"jsonguard/internal/intercept"
	"jsonguard/internal/session"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// runIntercepted returns cannotIntercept before anything was done.
func (a *app) runIntercepted(ctx context.Context, o execOptions, program *child) (*execReport, error) {
	r := &interceptRun{a: a, program: program, options: o, exact: o.mode == modeIntercept, began: time.Now()}
	outcome := r.run(ctx)
	if errors.Is(outcome, intercept.ErrNested) {
		r.options.mode = modeNested
		outcome = r.runNested(ctx)
	}
	if !r.started {
		return nil, outcome
	}
	return r.report(outcome), outcome
}

// interceptRun is one program whose accesses to the shared files are carried out here.
type interceptRun struct {
	a       *app
	program *child
	options execOptions
	exact   bool // the program's arguments stay as they are
	began   time.Time

	tree    *session.Tree
	started bool
	end     ended
	files   []session.Stats
}

// run returns ended once the program ran, another error when it did not.
func (r *interceptRun) run(ctx context.Context) error {
	folding, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var rest *leftBehind
	var started func(int, func(os.Signal) error)
	var stop func()
	forwarding := make(chan struct{})
	go func() { // it takes as long as the rest of the preparation, and most of that is waiting for another thread
		defer close(forwarding)
		// After the program's end a signal is for what it left behind; then it asks us not to wait for a lock.
		started, stop = forward(r.program, func(s os.Signal) {
			if !rest.signalled(s) {
				giveUp()
			}
		})
	}()
	super, err := r.prepare()
	<-forwarding
	defer stop()
	if err != nil {
		if r.tree != nil {
			r.tree.Close(ctx)
		}
		return err
	}
	defer boundHeap()()
	rest = newLeftBehind(r.a, super)
	command := intercept.Command{Path: r.program.path, Env: append(os.Environ(), r.environment()...), Files: r.a.streams()}
	command.Args = r.program.argv
	r.program.forking.Store(true)
	if err := super.Run(command); err != nil {
		r.tree.Close(ctx)
		return r.program.failed(err)
	}
	r.started = true
	started(super.PID(), super.SignalCommand)
	status, err := super.Wait()
	if err != nil {
		r.a.say("%v", err)
	}
	r.end = ended{status: status.Code, signal: int(status.Signal)}
	rest.wait(r.program.argv[0])
	r.files = r.tree.Close(folding)
	if err := super.Err(); err != nil {
		r.a.say("exec: %v", err)
	}
	return r.outcome(r.tell())
}

// prepare makes everything but the program.
func (r *interceptRun) prepare() (*intercept.Supervisor, error) {
	dir, err := os.Getwd()
	if err != nil {
		return nil, &problem{op: "exec", err: err}
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, &problem{op: "exec", err: err}
	}
	files, base, err := r.a.underPolicy(dir, r.patterns())
	if err != nil {
		return nil, err
	}
	r.tree = session.New(session.Options{
		Dir: dir, Files: files, Base: base, Sidecar: r.a.guardOptions(), AllowUnguarded: r.options.allowUnguarded,
		Warn: r.a.warn, Note: func(text string) { r.a.note("%s", text) },
	})
	// The files are looked at while the supervisor is made. Inside another exec nothing is ours to look at, which is known for
	// certain only afterwards.
	prepare := sync.OnceValue(r.tree.Prepare)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		if !intercept.Marked() {
			_ = prepare()
		}
	}()
	super, err := intercept.New(r.tree)
	<-looked
	if errors.Is(err, intercept.ErrNested) {
		return nil, err
	}
	if err != nil {
		return nil, &cannotIntercept{err}
	}
	if err := prepare(); err != nil {
		super.Close()
		if errors.Is(err, errors.ErrUnsupported) {
			err = &cannotIntercept{err}
		}
		return nil, err
	}
	if r.tree.OtherNames() {
		super.OtherNames()
	}
	r.a.note("exec: mode intercept: Linux %s does what it takes", super.Findings().Kernel)
	if gainsPrivileges(r.program.path) {
		r.a.warn(fmt.Sprintf("%s would gain privileges, and does not under interception: put it in front (%[1]s jsonguard exec …)", r.program.argv[0]))
	}
	return super, nil
}

// streams are the program's, which are ours; nil: those of this process.
func (a *app) streams() []*os.File {
	var files []*os.File
	for _, stream := range []any{a.stdin, a.stdout.w, a.stderr} {
		file, ok := stream.(*os.File)
		if !ok {
			return nil
		}
		files = append(files, file)
	}
	return files
}

// environment puts the file's own name where mode copy puts the copy's: one command line serves both. Who asks for
// interception alone needs that in no argument, and has all of them exact.
func (r *interceptRun) environment() []string {
	if len(r.options.files) != 1 || isPattern(r.options.files[0]) {
		return nil
	}
	file := absolute(r.options.files[0])
	if !r.exact {
		r.program.argv = fill(r.program.argv, file)
	}
	return []string{r.options.env + "=" + file}
}

// runNested asks the exec around us to guard our files too, and runs the program as it is.
func (r *interceptRun) runNested(ctx context.Context) error {
	r.a.note("exec: inside another jsonguard exec, which guards for both")
	dir, err := os.Getwd()
	if err != nil {
		return &problem{op: "exec", err: err}
	}
	files, _, err := r.a.underPolicy(dir, r.patterns())
	if err != nil {
		return err
	}
	err = session.Join(ctx, files)
	if errors.Is(err, intercept.ErrUnsupported) {
		return &cannotIntercept{err}
	}
	if err != nil {
		return &problem{op: "exec: join the jsonguard exec around this one", err: err}
	}
	forkBeforeSignals()
	started, stop := forward(r.program, func(os.Signal) {})
	defer stop()
	if err := r.program.start(r.a, r.environment()...); err != nil {
		return err
	}
	r.started = true
	started(r.program.cmd.Process.Pid, r.program.cmd.Process.Signal)
	r.end, err = r.program.wait()
	if err != nil {
		r.a.say("%v", err)
	}
	return r.end
}

// patterns of the files, resolved as far as they name one: a pattern's directory may be a symbolic link.
func (r *interceptRun) patterns() []string {
	var patterns []string
	for _, f := range r.options.files {
		patterns = append(patterns, resolved(f))
		if real, err := filepath.EvalSymlinks(f); err == nil && real != resolved(f) {
			if real, err = filepath.Abs(real); err == nil {
				patterns = append(patterns, real)
			}
		}
	}
	return patterns
}

// tell writes one line for all files, and what went wrong with each. It returns the worst of that.
func (r *interceptRun) tell() error {
	var failure error
	writes, conflicts, changed := 0, 0, 0
	last, outcome := "", "merged"
	for _, f := range r.files {
		if f.Writes > 0 {
			changed++
			last = f.Path
		}
		writes += f.Writes
		conflicts += len(f.Conflicts)
		err := f.Err
		switch {
		case err != nil:
			outcome = "seen" // the next use of the file merges them
			r.a.complain(nil, err, statusIO)
		case len(f.Torn) > 0:
			err = &problem{op: "exec", path: f.Path, status: statusData, err: fmt.Errorf("%w; it is in quarantine: %s", sidecar.ErrTorn, strings.Join(f.Torn, ", ")),
				hint: "jsonguard recover --salvage " + shellQuote(f.Path) + " takes its complete records"}
			r.a.complain(nil, err, statusData)
		case len(f.Rejected) > 0:
			err = &problem{op: "exec", path: f.Path, err: fmt.Errorf("%w: %s", sidecar.ErrRejected, f.Rejected[0].Reason), status: statusData}
			r.a.complain(nil, err, statusData)
		case len(refusedPlaces(f.Conflicts)) > 0:
			err = &problem{op: "exec", path: f.Path, status: statusData, hint: "everything else was merged; jsonguard conflicts shows what was written",
				err: fmt.Errorf("%w by the policy: %s", merge.ErrRefused, strings.Join(refusedPlaces(f.Conflicts), ", "))}
			r.a.complain(nil, err, statusData)
		}
		if failure == nil {
			failure = err
		}
	}
	r.nameUnwritten()
	if r.a.quiet || writes == 0 && conflicts == 0 {
		return failure
	}
	what := filepath.Base(last)
	if changed > 1 {
		what = count(changed, "file")
	}
	line := fmt.Sprintf("%s: %s %s", what, count(writes, "write"), outcome)
	if conflicts > 0 {
		line += ", " + count(conflicts, "conflict")
		if changed == 1 {
			line += " (jsonguard conflicts " + shellQuote(last) + ")"
		}
	}
	r.a.say("%s", line)
	return failure
}

func (r *interceptRun) nameUnwritten() {
	for _, name := range r.options.files {
		written := false
		for _, f := range r.files {
			written = written || f.Writes+len(f.Torn) > 0 && (sameFile(name, f.Path) || session.Matches(resolved(name), f.Path))
		}
		if !written {
			r.a.warn(unwritten(name))
		}
	}
}

// outcome: the program's own failure always wins.
func (r *interceptRun) outcome(failure error) ended {
	if r.end.exitStatus() != 0 || failure == nil {
		return r.end
	}
	var p *problem
	if errors.As(failure, &p) && p.status != 0 {
		return ended{status: p.status}
	}
	switch status := dataStatus(failure, writes); status {
	case statusData, statusTemporary:
		return ended{status: status}
	}
	return ended{status: statusIO}
}

func (r *interceptRun) report(outcome error) *execReport {
	report := &execReport{
		Mode: r.options.mode, Command: r.program.argv, Began: r.began.UTC(), Seconds: time.Since(r.began).Seconds(),
		ChildExit: r.end.status, ChildDied: r.end.signal, Exit: statusOfEnd(outcome), Conflicts: []sidecar.Conflict{},
	}
	for _, f := range r.files {
		report.File = f.Path
		report.Files = append(report.Files, execFile{Path: f.Path, Writes: f.Writes, Conflicts: len(f.Conflicts), Torn: notNil(f.Torn)})
		report.Writes += f.Writes
		report.Conflicts = append(report.Conflicts, f.Conflicts...)
		if f.Err != nil && report.Error == "" {
			c := complaintOf(f.Err)
			report.Error, report.Hint = c.text, c.hint
			report.Pending = dataStatus(f.Err, writes) == statusTemporary
		}
	}
	if len(r.files) != 1 {
		report.File = ""
	}
	return report
}
