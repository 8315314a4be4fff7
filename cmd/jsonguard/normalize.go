package main

import (
	"strings"

	"github.com/spf13/cobra"

	"jsonguard/internal/policy"
	"jsonguard/merge"
)

func (a *app) normalizeCommand() *cobra.Command {
	var dryRun bool
	cmd := a.verb(groupChange, "normalize FILE [--dry-run]", "Bring names together that the policy spells alike",
		`Apply the "rename" rules of the policy to what FILE holds, those with "when": "normalize" included. Members that come to
one name are merged by the policy's rules, as if their writers had committed in the order in which they stand: counts under
"sum" are added, lists go together, and where two values of one place cannot both stay, the later one stays and the other
is in the conflict log.
A table says what is joined into what, with the counts before and after. --dry-run prints it and changes nothing.`,
		`  jsonguard normalize results.json --dry-run
  jsonguard normalize results.json`,
		between(1, 1), nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.normalize(cmd, args[0], dryRun) }
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done, and change nothing")
	return writes.mark(cmd)
}

func (a *app) normalize(cmd *cobra.Command, file string, dryRun bool) error {
	ctx, stop := a.interruptible(cmd.Context())
	defer stop()
	g, err := a.existing(cmd, file)
	if err != nil {
		return err
	}
	defer g.Close()
	p, err := a.policyFor(g.Target())
	if err != nil {
		return err
	}
	if len(p.Merge.Renames) == 0 {
		return usage(`{"rules": [{"at": "/models", "rename": [{"match": "(?i)^gpt-4o(-\\d+)?$", "to": "GPT-4o"}]}]} in `+policy.Name,
			"normalize: no rule of the policy for %s renames anything", file)
	}
	joins, result, err := g.Normalize(ctx, dryRun)
	if err != nil {
		return a.named(cmd, file, err)
	}
	rows := make([]joinReport, len(joins))
	for i, j := range joins {
		rows[i] = reportOf(j, p.Merge)
	}
	if a.json {
		var o object
		o.add("file", g.Target())
		o.add("dry_run", dryRun)
		o.add("joins", rows)
		o.result(result)
		a.println(o.String())
		return nil
	}
	a.noteworthy(g, result)
	if !a.quiet {
		a.printJoins(rows)
	}
	return nil
}

// joinReport is a merge.Join as --json prints it.
type joinReport struct {
	At     string        `json:"at"`
	Into   string        `json:"into"`
	From   []string      `json:"from"`
	Counts []countReport `json:"counts"` // of the members that are sums, in the order of the record
}

type countReport struct {
	Name   string    `json:"name"`
	Before []*string `json:"before"` // numbers as they stood, one for each of From; null: missing
	After  string    `json:"after"`
}

func reportOf(j merge.Join, pol *merge.Policy) joinReport {
	report := joinReport{At: j.At, Into: j.Into, From: j.From, Counts: []countReport{}}
	object, err := merge.ParsePointer(j.At)
	if err != nil {
		return report
	}
	for name, after := range numbersOf(j.After) {
		if rule, _ := pol.Rule(append(object, j.Into, name)); rule.Merge != merge.Sum {
			continue
		}
		c := countReport{Name: name, After: after}
		for _, before := range j.Before {
			var one *string
			for other, n := range numbersOf(before) {
				if other == name {
					one = &n
				}
			}
			c.Before = append(c.Before, one)
		}
		report.Counts = append(report.Counts, c)
	}
	return report
}

// numbersOf yields the members of a record that are numbers.
func numbersOf(record []byte) func(yield func(name, number string) bool) {
	return func(yield func(name, number string) bool) {
		d, err := merge.Parse(record, merge.JSON)
		if err != nil {
			return
		}
		_ = d.Each(nil, func(name string, raw []byte) bool {
			if strings.IndexByte("-0123456789", raw[0]) < 0 {
				return true
			}
			return yield(name, string(raw))
		})
	}
}

// printJoins writes one block for each name: what goes into it, and what comes out.
func (a *app) printJoins(rows []joinReport) {
	for i, r := range rows {
		if i > 0 {
			a.println()
		}
		lines := [][]cell{{{text: placeName(r.At)}}}
		for _, name := range r.From {
			lines = append(lines, []cell{{text: "  " + name}})
		}
		lines = append(lines, []cell{{text: "  = " + r.Into}})
		for _, c := range r.Counts {
			column := []string{c.Name}
			for _, before := range c.Before {
				if before == nil {
					column = append(column, "-")
				} else {
					column = append(column, *before)
				}
			}
			for k, text := range append(column, c.After) {
				lines[k] = append(lines[k], cell{text: text})
			}
		}
		a.printTable(lines)
	}
	if len(rows) == 0 {
		a.note("every name is spelled as the policy says")
	}
}
