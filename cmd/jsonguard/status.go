package main

import (
	"time"

	"github.com/spf13/cobra"
)

func (a *app) statusCommand() *cobra.Command {
	cmd := a.verb(groupLook, "status FILE", "Show version, pending changes, owners, conflicts, versions kept",
		`Show the file and its guard directory as they are now. It takes no lock and changes nothing.`,
		`  jsonguard status results.json
  jsonguard status --json results.json | jq .pending`,
		between(1, 1), a.status)
	return reads.mark(cmd)
}

func (a *app) status(cmd *cobra.Command, args []string) error {
	g, err := a.existing(cmd, args[0])
	if err != nil {
		return err
	}
	defer g.Close()
	st, err := g.Status(cmd.Context())
	if err != nil {
		return err
	}
	if a.json {
		a.println(string(jsonText(st)))
		return nil
	}
	a.printf("%s\n", st.Target)
	if st.Exists {
		a.printf("  size         %s, changed %s\n", count(int(st.Size), "byte"), st.Modified.Local().Format(time.DateTime))
	} else {
		a.printf("  size         does not exist\n")
	}
	durable := "durable"
	if !st.Settled {
		durable = "the last fold was stopped or is under way"
	}
	a.printf("  generation   %d, %s\n", st.Generation, durable)
	if st.Unguarded {
		a.printf("  %s\n", paint(a.stdout, "yellow", "somebody without jsonguard changed it after the last fold"))
	}
	a.printf("  pending      %d\n", st.Pending)
	a.printf("  conflicts    %d\n", st.Conflicts)
	a.printf("  quarantined  %d\n", st.Quarantined)
	a.printf("  versions     %d kept\n", st.Versions)
	for _, o := range st.Sidecars {
		life := "dead"
		if o.Live {
			life = "live"
		}
		switch {
		case o.Session && o.Live:
			life += ", intercepts its program"
		case o.Session:
			life += ", what its programs wrote is looked at by the next use"
		case o.View && o.Live:
			life += ", with a copy"
		case o.View:
			life += ", its copy is looked at by the next use"
		}
		if o.Host == "" { // its header cannot be read
			a.printf("  %s (%s)\n", o.ID, life)
		} else {
			a.printf("  %s@%d (%s), %s, since %s: %s\n", o.Host, o.PID, life, count(o.Pending, "pending change"), o.Since.Local().Format(time.DateTime), o.Command)
		}
		if o.Damage != "" {
			a.printf("    %s\n", paint(a.stdout, "red", o.Damage))
		}
	}
	return nil
}
