package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"jsonguard/merge"
)

func (a *app) mergeCommand() *cobra.Command {
	var git bool
	var out string
	cmd := a.verb(groupChange, "merge BASE OURS THEIRS [PATH] [--git] [-o FILE]", "Merge two versions of a JSON document; a git merge driver",
		`Merge what was done between BASE and OURS into THEIRS, and print the result. No file is guarded, locked or, without
-o, written. Where both changed the same place OURS is taken, and said on stderr.

As a git merge driver. In .gitattributes:

  *.json  merge=jsonguard
  *.jsonl merge=jsonguard

and once for each clone:

  git config merge.jsonguard.driver 'jsonguard merge --git %O %A %B %P'

Records that both branches added then no longer conflict. With --git the result is written to OURS, as git wants it, and
the status is 1 where both changed the same place: git marks the file as conflicted, and stderr names the places. PATH is
the file's name in the repository: git's own names say nothing about JSON Lines.`,
		`  jsonguard merge base.json ours.json theirs.json > merged.json`,
		between(3, 4), func(cmd *cobra.Command, args []string) error { return a.merge(args, git, out) })
	cmd.Flags().BoolVar(&git, "git", false, "write the result to OURS; a conflict is status 1")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write the result to this `FILE`")
	return reads.mark(cmd)
}

func (a *app) merge(args []string, git bool, out string) error {
	var side [3][]byte
	for i := range side {
		var err error
		if side[i], err = os.ReadFile(args[i]); err != nil {
			return &problem{op: "merge", path: args[i], err: bare(err)}
		}
	}
	name := args[len(args)-1]
	format := formatOf(name)
	for i, role := range []string{"base", "ours", "theirs"} {
		if _, err := merge.Parse(side[i], format); err != nil {
			shown := args[i]
			if git {
				shown = name + " (" + role + ")"
			}
			return &problem{op: "merge", path: shown, err: err, hint: "merged by hand it can be; nothing was written"}
		}
	}
	pol, err := a.policyFor(name)
	if err != nil {
		return err
	}
	merged, outcome, err := merge.Merge(side[0], side[1], side[2], format, pol.Merge)
	if err != nil {
		return &problem{op: "merge", path: name, err: err}
	}
	if git && out == "" {
		out = args[1]
	}
	for _, err := range outcome.Underived {
		a.warn(fmt.Sprintf("%s: %v", name, err))
	}
	for _, c := range outcome.Conflicts {
		a.warn(fmt.Sprintf("%s: both sides changed %s: %s", name, placeName(c.At), describe(c)))
	}
	if err := a.deliver(merged, out, outcome); err != nil {
		return err
	}
	if git && len(outcome.Conflicts) > 0 {
		return ended{status: 1}
	}
	for _, c := range outcome.Conflicts {
		if c.Refused {
			return ended{status: statusData} // said above
		}
	}
	return nil
}

// writeWhole replaces a file in one step, so that a full disk does not cost what was there (with --git: OURS). It takes no
// part in any sharing.
func writeWhole(name string, content []byte) error {
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() { // a new one; a pipe
		return os.WriteFile(name, content, 0o666)
	}
	temp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = temp.Write(content)
	err = errors.Join(err, temp.Chmod(info.Mode().Perm()), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		_ = os.Remove(temp.Name())
	}
	return err
}

func (a *app) deliver(merged []byte, out string, outcome merge.Outcome) error {
	if out != "" {
		if err := writeWhole(out, merged); err != nil {
			return &problem{op: "write", path: out, err: bare(err), hint: "nothing was changed", status: dataStatus(err, writes)}
		}
	}
	if a.json {
		var o object
		if out == "" {
			o.raw("result", oneLine(merged))
		} else {
			o.add("output", out)
		}
		conflicts := []map[string]any{}
		for _, c := range outcome.Conflicts {
			conflicts = append(conflicts, map[string]any{"pointer": c.At, "base": optional(c.Base), "ours": optional(c.Ours),
				"theirs": optional(c.Theirs), "taken": c.Taken, "reason": c.Reason})
		}
		o.add("conflicts", conflicts)
		a.println(o.String())
		return nil
	}
	if out == "" {
		_, err := a.stdout.Write(merged)
		return err
	}
	return nil
}

// optional is JSON text as a string, null where there is no value: as in the conflict log.
func optional(raw []byte) *string {
	if raw == nil {
		return nil
	}
	s := string(raw)
	return &s
}

func describe(c merge.Conflict) string {
	show := func(v []byte) string {
		if v == nil {
			return "(missing)"
		}
		v = bytes.TrimSpace(oneLine(v))
		const limit = 40
		if len(v) > limit {
			return string(v[:limit]) + "…"
		}
		return string(v)
	}
	return fmt.Sprintf("base %s, ours %s, theirs %s; taken: %s", show(c.Base), show(c.Ours), show(c.Theirs), c.Taken)
}

func placeName(at string) string {
	if at == "" {
		return "the whole document"
	}
	return at
}

func formatOf(name string) merge.Format {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jsonl", ".ndjson":
		return merge.Lines
	}
	return merge.JSON
}
