package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"jsonguard/sidecar"
)

func (a *app) recoverCommand() *cobra.Command {
	var salvage bool
	cmd := a.verb(groupLook, "recover FILE [--salvage]", "Fold what dead processes left",
		`Fold what is pending: changes of processes that were killed, and what killed exec and edit runs had written into their
copies. Every other use of the file does that too; this verb says what there was.
--salvage takes the complete leading records out of torn documents in quarantine, as additions only.`,
		`  jsonguard recover results.json
  jsonguard recover --salvage results.json`,
		between(1, 1), func(cmd *cobra.Command, args []string) error {
			g, err := a.existing(cmd, args[0])
			if err != nil {
				return err
			}
			defer g.Close()
			result, salvaged, err := g.Recover(cmd.Context(), salvage)
			if err != nil {
				return a.named(cmd, args[0], err)
			}
			if !a.json && !a.quiet {
				a.printf("%s: %s folded\n", g.Target(), count(result.Folded, "pending change"))
				for _, s := range salvaged {
					a.printf("%s\n", salvageText(g, s))
				}
			}
			return a.done(g, result, func(o *object) { o.add("salvaged", notNil(salvaged)) })
		})
	cmd.Flags().BoolVar(&salvage, "salvage", false, "take what is complete in torn documents")
	return writes.mark(cmd)
}

// salvageText says what was taken out of a torn document, and what its rest began with.
func salvageText(g *sidecar.Guard, s sidecar.Salvaged) string {
	file := filepath.Join(g.GuardDir(), "quarantine", s.File)
	rest := ""
	if content, err := os.ReadFile(file); err == nil && s.Cut > 0 && s.Kept < len(content) {
		rest = ": " + brief(content[s.Kept:])
	}
	if s.Kept == 0 {
		return fmt.Sprintf("%s: nothing is complete in %s, which stays%s", g.Target(), file, rest)
	}
	return fmt.Sprintf("%s: %s salvaged, %s cut off%s (kept in %s)", g.Target(), count(s.Kept, "byte"), count(s.Cut, "byte"), rest, file)
}

func (a *app) cleanCommand() *cobra.Command {
	var history bool
	cmd := a.verb(groupLook, "clean FILE [--history]", "Remove what is not needed any more, nothing that is pending",
		`Fold what is pending and remove what is left of dead processes; if nothing is worth keeping (no conflict, nothing in
quarantine, no live process), the guard directory beside FILE too. FILE.lock stays: to remove a lock file while somebody may
wait for it gives two holders.
Versions that are kept stay, within the bounds of the policy; --history removes them all.`,
		`  jsonguard clean results.json
  jsonguard clean --history results.json`,
		between(1, 1), func(cmd *cobra.Command, args []string) error {
			g, err := a.existing(cmd, args[0])
			if err != nil {
				return err
			}
			defer g.Close()
			var versions []string
			if history {
				if versions, err = g.ForgetHistory(cmd.Context()); err != nil {
					return a.named(cmd, args[0], err)
				}
			}
			removed, err := g.Clean(cmd.Context())
			if err != nil {
				return a.named(cmd, args[0], err)
			}
			removed = append(versions, removed...)
			if a.json {
				var o object
				o.add("file", g.Target())
				o.add("removed", notNil(removed))
				a.println(o.String())
				return nil
			}
			for _, path := range removed {
				if !a.quiet {
					a.printf("removed %s\n", path)
				}
			}
			if len(removed) == 0 {
				a.note("%s: nothing to remove", g.Target())
			}
			return nil
		})
	cmd.Flags().BoolVar(&history, "history", false, "remove every version that is kept")
	return writes.mark(cmd)
}

func (a *app) verifyCommand() *cobra.Command {
	var repair bool
	cmd := a.verb(groupLook, "verify FILE [--repair]", "Check everything on disk that belongs to a file",
		`Check that the file can be parsed and is what was committed, the commit records, the checksums of sidecars and of the versions
that are kept, conflict log and quarantine, and name what does not belong. It takes no lock and changes nothing.
--repair does what is safe, and says what it did: it folds what is pending, makes commit records again, moves damaged sidecars and
versions to quarantine, whole, and leaves unreadable lines out of the index of versions. Where nobody can tell which pending
changes are in the file, they go to quarantine, too. The file itself it does not change otherwise: for one that is damaged, the
restore is named that brings the last good version back.
Exit status: 65, the file cannot be parsed, or its bytes are not those that were committed; 74, the guard directory is damaged. A file
that somebody changed without jsonguard, and a file in the guard directory that jsonguard did not make, are said, and no failure.`,
		`  jsonguard verify results.json
  jsonguard verify --repair results.json`,
		between(1, 1), func(cmd *cobra.Command, args []string) error { return a.verify(cmd, args[0], repair) })
	cmd.Flags().BoolVar(&repair, "repair", false, "do what is safe")
	return writes.mark(cmd)
}

func (a *app) verify(cmd *cobra.Command, file string, repair bool) error {
	g, err := a.existing(cmd, file)
	if err != nil {
		return err
	}
	defer g.Close()
	findings, err := g.Verify(cmd.Context(), repair)
	if err != nil {
		return a.named(cmd, file, err)
	}
	status := 0
	for _, f := range findings {
		switch {
		case f.OK || isNote(f):
		case f.Check == "target":
			status = worse(status, targetStatus(g.Target()))
		default:
			status = worse(status, statusIO)
		}
	}
	if a.json {
		var o object
		o.add("file", g.Target())
		o.add("ok", status == 0)
		o.add("findings", notNil(findings))
		a.println(o.String())
	} else {
		for _, f := range findings {
			word, colour := "ok", "green"
			switch {
			case f.Repaired:
				word = "repaired"
			case isNote(f):
				word, colour = "note", "yellow"
			case !f.OK:
				word, colour = "bad", "red"
			}
			if !a.quiet || word == "bad" {
				a.printf("%s %-10s %s: %s\n", paint(a.stdout, colour, fmt.Sprintf("%-8s", word)), f.Check, f.Path, f.Detail)
			}
		}
	}
	if status != 0 {
		return ended{status: status} // the findings are the message
	}
	return nil
}

// isNote is what a person should know, and no damage.
func isNote(f sidecar.Finding) bool { return !f.OK && (f.Check == "unguarded" || f.Check == "foreign") }

// targetStatus tells a file that cannot be read from one that cannot be parsed.
func targetStatus(file string) int {
	f, err := os.Open(file)
	if err != nil {
		return dataStatus(err, reads)
	}
	_ = f.Close()
	return statusData
}
