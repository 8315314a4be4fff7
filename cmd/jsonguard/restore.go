package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

func (a *app) restoreCommand() *cobra.Command {
	var to string
	var dryRun bool
	cmd := a.verb(groupChange, "restore FILE --to VERSION [POINTER] [--dry-run]", "Bring a version back, or one place of it",
		`Make FILE what it was in VERSION, byte for byte, or put the value back that POINTER had then. What is pending is folded first, so
that it is a version, too; what comes in meanwhile goes on top. A restore is a change like any other: the version that it
replaces is kept, whatever the policy says, and another restore undoes it. A file that cannot be parsed any more is replaced as
well, and kept.
VERSION is `+versionHint+`.
--dry-run shows what would change.
Exit status 64: there is no such version; 65: it is not kept whole any more, or POINTER did not exist in it.`,
		`  jsonguard restore results.json --to 41
  jsonguard restore results.json --to "10m ago" /models/gpt
  jsonguard restore results.json --to 41 --dry-run`,
		between(1, 2), nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.restore(cmd, args, to, dryRun) }
	cmd.Flags().StringVar(&to, "to", "", "the `VERSION` to bring back")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, and change nothing")
	_ = cmd.RegisterFlagCompletionFunc("to", a.completeVersions) // it fails only for a flag that is not there
	return writes.mark(cmd)
}

func (a *app) restore(cmd *cobra.Command, args []string, to string, dryRun bool) error {
	ctx, stop := a.interruptible(cmd.Context())
	defer stop()
	file, at := args[0], ""
	if len(args) == 2 {
		if _, err := pointer(args[1]); err != nil {
			return err
		}
		at = args[1]
	}
	g, versions, err := a.versions(cmd, file)
	if err != nil {
		return err
	}
	defer g.Close()
	if to == "" {
		return usage("--to takes "+versionHint, "restore: --to is missing: which version?")
	}
	v, err := findVersion("restore", to, versions, time.Now())
	if err != nil {
		return err
	}
	if v.Missing {
		return usage("rm removes the file", "restore: there was no %s at generation %d", file, v.Generation)
	}
	if dryRun {
		return a.previewRestore(ctx, g, versions, v, at)
	}
	result, err := g.Restore(ctx, v, at)
	if err != nil {
		return a.notThere(ctx, g, versions, at, a.named(cmd, file, err))
	}
	if result.Changed && !a.json && !a.quiet {
		what := ""
		if at != "" {
			what = at + " of "
		}
		undo := fmt.Sprintf("jsonguard restore %s --to %d", shellQuote(file), result.Generation-1)
		if versions[len(versions)-1].Missing {
			undo = "rm " + shellQuote(file)
		}
		a.printf("%s: %sgeneration %d, of %s, is back; %s undoes it\n", g.Target(), what, v.Generation, v.Time.Local().Format(time.DateTime), undo)
	}
	return a.done(g, result, func(o *object) { o.add("restored", v) })
}

// previewRestore shows a restore as a diff.
func (a *app) previewRestore(ctx context.Context, g *sidecar.Guard, versions []sidecar.Version, v sidecar.Version, at string) error {
	after, err := g.PreviewRestore(ctx, v, at)
	if err != nil {
		return a.notThere(ctx, g, versions, at, err)
	}
	var before []byte
	if newest := versions[len(versions)-1]; !newest.Missing {
		if before, err = g.Content(ctx, newest); err != nil {
			return err
		}
	}
	edits := []merge.Edit{{Old: before, New: after}}
	if change, err := merge.Diff(before, after, g.Format(), nil); err == nil { // what is there may be no JSON
		edits = change.Edits()
	} else {
		edits[0].Old = jsonText("not JSON")
	}
	if a.json {
		var o object
		o.add("file", g.Target())
		o.add("dry_run", true)
		o.add("restored", v)
		o.add("edits", editReports(edits))
		a.println(o.String())
		return nil
	}
	a.printEdits(edits)
	return nil
}

// notThere says of a place that did not exist in a version in which it did.
func (a *app) notThere(ctx context.Context, g *sidecar.Guard, versions []sidecar.Version, at string, err error) error {
	if !errors.Is(err, merge.ErrNotFound) {
		return err
	}
	p := &problem{err: err, status: statusData, hint: "no version that is kept has it"}
	where, perr := merge.ParsePointer(at)
	for i := len(versions) - 1; i >= 0 && perr == nil; i-- {
		content, cerr := g.Content(ctx, versions[i])
		if cerr != nil {
			continue
		}
		d, derr := merge.Parse(content, g.Format())
		if derr != nil {
			continue
		}
		if _, gerr := d.Get(where); gerr == nil {
			p.hint = fmt.Sprintf("generation %d has it", versions[i].Generation)
			break
		}
	}
	return p
}

// completeVersions offers the generations of FILE to a shell.
func (a *app) completeVersions(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var list []cobra.Completion
	if len(args) > 0 {
		g, versions, err := a.versions(cmd, args[0])
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer g.Close()
		for _, v := range versions {
			list = append(list, cobra.CompletionWithDesc(strconv.FormatUint(v.Generation, 10), v.Time.Local().Format(time.DateTime)+" "+author(v)))
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
