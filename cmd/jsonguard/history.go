package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"jsonguard/internal/policy"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

func (a *app) historyCommand() *cobra.Command {
	cmd := a.verb(groupLook, "history FILE", "List the versions that are kept: when, who, what changed",
		`List the versions of FILE, the oldest first and the one that is there now last, with its generation, when it was made, its
size, whose changes made it, and what they changed. A version is kept when a fold replaces it, where the policy says so:
"history": {"keep": 50, "days": 7, "size": "1GB"} in `+policy.Name+`, each bound optional. Without it nothing is kept.
diff compares two versions, restore brings one back. A version is named by its generation or by a time.`,
		`  jsonguard history results.json
  jsonguard history --json results.json | jq '.versions[-1].by'`,
		between(1, 1), a.history)
	return reads.mark(cmd)
}

// versionReport is a version as --json prints it.
type versionReport struct {
	sidecar.Version
	changes
}

// changes is what a version has that the one before had not.
type changes struct {
	Added   int    `json:"added"`
	Changed int    `json:"changed"`
	Removed int    `json:"removed"`
	Summary string `json:"summary"`
}

func (a *app) history(cmd *cobra.Command, args []string) error {
	g, versions, err := a.versions(cmd, args[0])
	if err != nil {
		return err
	}
	defer g.Close()
	reports := make([]versionReport, len(versions))
	for i, v := range versions {
		reports[i] = versionReport{v, changes{Summary: "the oldest that is kept"}}
		if i > 0 {
			if reports[i].changes, err = changesOf(cmd.Context(), g, versions[i-1], v); err != nil {
				return err
			}
		}
	}
	if a.json {
		var o object
		o.add("file", g.Target())
		o.add("kept", g.Keeps() != nil)
		o.add("versions", reports)
		a.println(o.String())
		return nil
	}
	if len(versions) < 2 {
		a.warn(a.nothingKept(g))
	}
	var lines [][]cell
	for _, r := range reports {
		who := cell{text: author(r.Version)}
		if r.Outside {
			who.colour = "yellow"
		}
		when := "-"
		if !r.Time.IsZero() {
			when = r.Time.Local().Format(time.DateTime)
		}
		lines = append(lines, []cell{
			{text: fmt.Sprint(r.Generation), right: true}, {text: when},
			{text: byteSize(r.Version), right: true}, who, {text: r.Summary},
		})
	}
	a.printTable(lines)
	return nil
}

func (a *app) nothingKept(g *sidecar.Guard) string {
	if g.Keeps() == nil {
		return fmt.Sprintf("%s: no version is kept; \"history\": {\"keep\": 50} in %s keeps them", g.Target(), policy.Name)
	}
	return fmt.Sprintf("%s: no version was replaced yet", g.Target())
}

// versions opens a file whose versions are looked at; the file itself may be gone.
func (a *app) versions(cmd *cobra.Command, file string) (*sidecar.Guard, []sidecar.Version, error) {
	if kindOf(cmd) == reads {
		a.followLinks = true
	}
	g, err := a.guard(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &problem{err: err, status: statusNoFile}
	}
	if err != nil {
		return nil, nil, err
	}
	versions, err := g.History(cmd.Context())
	if err == nil && len(versions) == 0 {
		err = &problem{op: cmd.Name(), path: file, err: fs.ErrNotExist, status: statusNoFile}
	}
	if err != nil {
		_ = g.Close()
		return nil, nil, err
	}
	return g, versions, nil
}

// changesOf compares two versions. One that cannot be read or parsed is a line of the list, not the end of it.
func changesOf(ctx context.Context, g *sidecar.Guard, before, v sidecar.Version) (changes, error) {
	edits, err := g.Edits(ctx, before, v)
	var syntax *merge.SyntaxError
	switch {
	case v.Missing:
		return changes{Summary: "the file was removed"}, nil
	case errors.As(err, &syntax):
		return changes{Summary: fmt.Sprintf("cannot be compared: line %d, column %d: %s", syntax.Line, syntax.Column, syntax.Msg)}, nil
	case errors.Is(err, sidecar.ErrNoVersion):
		return changes{Summary: "cannot be compared: one of the two is not whole any more"}, nil
	case err != nil:
		return changes{}, err
	}
	return summarize(edits), nil
}

// summarize says in a line what edits are.
func summarize(edits []merge.Edit) changes {
	var c changes
	for _, e := range edits {
		switch {
		case e.Old == nil:
			c.Added++
		case e.New == nil:
			c.Removed++
		default:
			c.Changed++
		}
	}
	switch len(edits) {
	case 0:
		c.Summary = "spelled differently"
	case 1:
		c.Summary = editText(edits[0], 40)
	default:
		c.Summary = fmt.Sprintf("+%d ~%d -%d:", c.Added, c.Changed, c.Removed)
		const shown = 3
		for i, e := range edits {
			if i == shown {
				c.Summary += " …"
				break
			}
			c.Summary += " " + clip(placeName(e.At), 40)
		}
	}
	return c
}

// editText is one edit: + added, - removed, or what became what. Values are cut to some characters; 0: not at all.
func editText(e merge.Edit, limit int) string {
	show := func(value []byte) string {
		return clip(string(oneLine(value)), limit)
	}
	switch {
	case e.Old == nil:
		return "+ " + placeName(e.At) + " " + show(e.New)
	case e.New == nil:
		return "- " + placeName(e.At) + " " + show(e.Old)
	}
	return "~ " + placeName(e.At) + " " + show(e.Old) + " → " + show(e.New)
}

func clip(s string, limit int) string {
	if limit == 0 || utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit-1]) + "…"
}

// author says who made a version.
func author(v sidecar.Version) string {
	switch {
	case v.Missing:
		return "-"
	case v.Outside:
		return "without jsonguard"
	case len(v.By) == 0:
		return "-"
	case len(v.By) == 1:
		by := v.By[0]
		return clip(fmt.Sprintf("%s@%d %s", by.Host, by.PID, by.Command), 50)
	}
	return clip(fmt.Sprintf("%d processes: %s", len(v.By), v.By[0].Command), 50)
}

func byteSize(v sidecar.Version) string {
	if v.Missing {
		return "no file"
	}
	size, unit := float64(v.Size), ""
	for _, u := range []string{"k", "M", "G", "T"} {
		if size < 1000 {
			break
		}
		size, unit = size/1000, u
	}
	if unit == "" {
		return fmt.Sprintf("%d B", v.Size)
	}
	return fmt.Sprintf("%.1f %sB", size, unit)
}
