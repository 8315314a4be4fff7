package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"jsonguard/lock"
)

func (a *app) lockCommand() *cobra.Command {
	cmd := a.verb(groupRun, "lock FILE [POINTER] -- CMD ARG...", "Hold a lock while a command runs",
		`Run CMD while holding the lock of FILE: nobody who uses jsonguard, flock(1) on FILE.lock or Python's filelock writes
meanwhile. jsonguard verbs that CMD runs on the same file use the lock that is held.
With a POINTER only that place is locked, against others who lock it, something above or something below it; whoever
does not lock pointers is not held up. The status is that of CMD; 75 when the lock was not to be had, 126 and 127 when
CMD cannot be run or found.`,
		`  jsonguard lock results.json -- sh -c 'jq .total results.json; jsonguard incr results.json /total'
  jsonguard lock results.json /models/gpt -- ./benchmark gpt
  jsonguard lock --timeout 0 results.json -- ./nightly || echo "another one is running"`,
		nil, nil)
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		dash := cmd.ArgsLenAtDash()
		switch {
		case dash < 0:
			return usage("usage: "+cmd.UseLine(), "lock: no -- before the command")
		case dash < 1 || dash > 2 || args[0] == "":
			return usage("usage: "+cmd.UseLine(), "lock: FILE, or FILE and POINTER, stand before --")
		case len(args) == dash:
			return usage("usage: "+cmd.UseLine(), "lock: no command behind --")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dash := cmd.ArgsLenAtDash()
		return a.lock(cmd.Context(), args[:dash], args[dash:])
	}
	return writes.mark(cmd)
}

func (a *app) lock(ctx context.Context, what, argv []string) error {
	program, err := findProgram(argv)
	if err != nil {
		return err
	}
	at := ""
	if len(what) == 2 {
		p, err := pointer(what[1])
		if err != nil {
			return err
		}
		at = p.String()
	}
	place, err := lock.Acquire(ctx, what[0], lock.Timeout(a.timeout), lock.At(at), lock.Inherit())
	if err != nil {
		return &problem{op: "lock", path: what[0] + at, err: err}
	}
	defer place.Release()
	if len(what) == 1 {
		file, err := lock.Acquire(ctx, what[0], lock.Timeout(a.timeout), lock.Inherit())
		if err != nil {
			return &problem{op: "lock", path: what[0], err: err}
		}
		defer file.Release()
	}
	forkBeforeSignals()
	started, stop := forward(program, func(os.Signal) {})
	defer stop()
	if err := program.start(a); err != nil {
		return err
	}
	started(program.cmd.Process.Pid, program.cmd.Process.Signal)
	end, err := program.wait()
	if err != nil {
		return err
	}
	return end
}
