package main

import (
	"time"

	"github.com/spf13/cobra"

	"jsonguard/merge"
)

func (a *app) diffCommand() *cobra.Command {
	cmd := a.verb(groupLook, "diff FILE A [B]", "Compare two versions, place by place",
		`Compare version A of FILE with version B, or with what is there now: a line for each place that was added (+), removed (-) or
changed (~), by its pointer. Values count, not how they are spelled: white space, the order of keys and 1.0 for 1 are no
difference. Long values are cut; -v shows them whole.
A and B are `+versionHint+`.
Exit status 1: there is a difference.`,
		`  jsonguard diff results.json 41 42
  jsonguard diff results.json "10m ago"
  jsonguard diff --json results.json 41 | jq '.edits[].pointer'`,
		between(2, 3), a.diff)
	return reads.mark(cmd)
}

// editReport is a merge.Edit as --json prints it.
type editReport struct {
	Op      string  `json:"op"` // "add", "remove", "change"
	Pointer string  `json:"pointer"`
	Old     *string `json:"old"` // JSON text; null: missing
	New     *string `json:"new"`
}

func (a *app) diff(cmd *cobra.Command, args []string) error {
	g, versions, err := a.versions(cmd, args[0])
	if err != nil {
		return err
	}
	defer g.Close()
	now := time.Now()
	from, err := findVersion("diff", args[1], versions, now)
	if err != nil {
		return err
	}
	to := versions[len(versions)-1]
	if len(args) == 3 {
		if to, err = findVersion("diff", args[2], versions, now); err != nil {
			return err
		}
	}
	edits, err := g.Edits(cmd.Context(), from, to)
	if err != nil {
		return err
	}
	if a.json {
		var o object
		o.add("file", g.Target())
		o.add("from", from)
		o.add("to", to)
		o.add("edits", editReports(edits))
		a.println(o.String())
	} else {
		a.printEdits(edits)
		if len(edits) == 0 {
			a.note("%s: no difference between %d and %d", g.Target(), from.Generation, to.Generation)
		}
	}
	if len(edits) > 0 {
		return ended{status: statusDifferent}
	}
	return nil
}

func (a *app) printEdits(edits []merge.Edit) {
	limit := 100 // characters of a value
	if a.verbose {
		limit = 0
	}
	for _, e := range edits {
		colour := "yellow"
		switch {
		case e.Old == nil:
			colour = "green"
		case e.New == nil:
			colour = "red"
		}
		a.println(paint(a.stdout, colour, editText(e, limit)))
	}
}

func editReports(edits []merge.Edit) []editReport {
	reports := []editReport{}
	for _, e := range edits {
		r := editReport{Op: "change", Pointer: e.At, Old: textOrNil(e.Old), New: textOrNil(e.New)}
		switch {
		case e.Old == nil:
			r.Op = "add"
		case e.New == nil:
			r.Op = "remove"
		}
		reports = append(reports, r)
	}
	return reports
}

func textOrNil(value []byte) *string {
	if value == nil {
		return nil
	}
	s := string(oneLine(value))
	return &s
}
