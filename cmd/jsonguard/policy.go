package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"jsonguard/internal/policy"
	"jsonguard/merge"
)

func (a *app) policyCommand() *cobra.Command {
	cmd := a.verb(groupLook, "policy check|explain|suggest|schema", "How places merge: check a policy, explain it, have one suggested",
		`A policy says how the places of a file merge. It is the nearest jsonguard.json, beside FILE or in a directory above, whose
"files" name it, or the one given with --policy:

  {
    "files": ["results.json", "runs/**/*.jsonl"],
    "rules": [
      {"at": "/models/*/total",  "merge": "sum"},
      {"at": "/models/*/rate",   "derive": ".success / .total"},
      {"at": "/models/*/runs",   "merge": "keyed", "key": ["id"]},
      {"at": "/_default",        "merge": "renumber"},
      {"at": "/models", "rename": [{"match": "(?i)^gpt-4o(-\\d+)?$", "to": "GPT-4o"}]}
    ]
  }

In "at" a step * stands for any one step and ** for any number of them; the last rule that matches a place decides.`,
		`  jsonguard policy check results.json
  jsonguard policy explain results.json /models/gpt/total
  jsonguard policy suggest results.json
  jsonguard policy schema > jsonguard.schema.json`,
		func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("usage: jsonguard policy check|explain|suggest|schema", "policy: unknown verb %q", args[0])
			}
			return nil
		}, func(cmd *cobra.Command, args []string) error { return cmd.Help() })
	cmd.AddCommand(a.policyCheckCommand(), a.policyExplainCommand(), a.policySuggestCommand(), a.policySchemaCommand())
	return reads.mark(cmd)
}

// policyFor finds the policy of a file that need not exist; one without any rule if there is none.
func (a *app) policyFor(file string) (*policy.Policy, error) {
	if a.policyFile != "" {
		return policy.Load(a.policyFile)
	}
	p, warnings, err := policy.Find(absolute(file))
	for _, w := range warnings {
		a.warn(w)
	}
	if p == nil && err == nil {
		p = &policy.Policy{Merge: &merge.Policy{}}
	}
	return p, err
}

var errNoPolicy = errors.New("no " + policy.Name + " names it, beside it or above")

func (a *app) policyCheckCommand() *cobra.Command {
	cmd := a.verb("", "check [FILE]", "Check a policy, and what it says against a file",
		`Check the policy of FILE: every key and value of it, and, with the document in FILE, rules that match nothing and values
that look derived (a rate beside a sum) but have no rule. FILE may be a jsonguard.json itself. Without FILE: the policy of the
working directory. An error is status 64 and names line and column; advice is no error.`,
		`  jsonguard policy check results.json`,
		between(0, 1), func(cmd *cobra.Command, args []string) error {
			file := "."
			if len(args) > 0 {
				file = args[0]
			}
			return a.policyCheck(file)
		})
	return reads.mark(cmd)
}

func (a *app) policyCheck(file string) error {
	p, doc, err := a.policyAndDocument(file)
	if err != nil {
		return err
	}
	advice := p.Advise(doc)
	if a.json {
		var o object
		o.add("policy", p.File)
		o.add("rules", len(p.Rules))
		list := []map[string]any{}
		for _, one := range advice {
			list = append(list, map[string]any{"line": one.Line, "text": one.Text})
		}
		o.add("advice", list)
		a.println(o.String())
		return nil
	}
	if !a.quiet {
		a.printf("%s: %s, no error\n", p.File, count(len(p.Rules), "rule"))
	}
	for _, one := range advice {
		if one.Line > 0 {
			a.printf("%s:%d: %s\n", p.File, one.Line, one.Text)
		} else {
			a.printf("%s: %s\n", p.File, one.Text)
		}
	}
	return nil
}

// policyAndDocument takes a shared file, a policy file or a directory; the document is nil where there is none.
func (a *app) policyAndDocument(file string) (*policy.Policy, *merge.Document, error) {
	info, _ := os.Stat(file)
	switch {
	case filepath.Base(file) == policy.Name:
		p, err := policy.Load(file)
		return p, nil, err
	case info != nil && info.IsDir():
		if near := filepath.Join(file, policy.Name); a.policyFile == "" && isFile(near) {
			p, err := policy.Load(near)
			return p, nil, err
		}
	}
	p, err := a.policyFor(file)
	if err != nil {
		return nil, nil, err
	}
	if p.File == "" {
		return nil, nil, &problem{op: "policy", path: file, err: errNoPolicy, status: statusNoFile, hint: "jsonguard policy suggest " + shellQuote(file) + " proposes one"}
	}
	if info == nil || info.IsDir() {
		return p, nil, nil
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, &problem{op: "policy", path: file, err: bare(err)}
	}
	doc, err := merge.Parse(src, formatOf(file))
	if err != nil {
		return nil, nil, &problem{op: "policy", path: file, err: err}
	}
	return p, doc, nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func (a *app) policyExplainCommand() *cobra.Command {
	cmd := a.verb("", "explain FILE POINTER", "Say which rule decides at a place, and why",
		`Say which policy FILE is under, and what its rules say about POINTER: how its names are spelled, which rule decides, and
which others match but do not.`,
		`  jsonguard policy explain results.json /models/gpt/total`,
		between(2, 2), func(cmd *cobra.Command, args []string) error { return a.policyExplain(args[0], args[1]) })
	return reads.mark(cmd)
}

func (a *app) policyExplain(file, text string) error {
	at, err := pointer(text)
	if err != nil {
		return err
	}
	p, err := a.policyFor(file)
	if err != nil {
		return err
	}
	spelled, says := p.Explain(at)
	if a.json {
		var o object
		o.add("file", file)
		o.add("policy", p.File)
		o.add("pointer", text)
		o.add("spelled", spelled.String())
		list := []map[string]any{}
		for _, s := range says {
			list = append(list, map[string]any{"line": s.Line, "at": s.At, "says": s.Says, "decides": s.Decide})
		}
		o.add("rules", list)
		a.println(o.String())
		return nil
	}
	switch pattern, _ := p.NamedBy(absolute(file)); {
	case p.File == "":
		a.printf("%s: %v; the defaults apply\n", file, errNoPolicy)
	case a.policyFile != "":
		a.printf("%s: under %s, which was given\n", file, p.File)
	case pattern == "":
		a.printf("%s: under %s, which is for every file below it\n", file, p.File)
	default:
		a.printf("%s: under %s, named by %q\n", file, p.File, pattern)
	}
	if spelled.String() != text {
		a.printf("%s is %s\n", placeName(text), placeName(spelled.String()))
	}
	for _, s := range says {
		note := ""
		if !s.Decide {
			note = " (does not decide: a later rule matches, too)"
		}
		if s.Line == 0 {
			a.printf("  %s%s\n", s.Says, note)
		} else {
			a.printf("  line %d, %s: %s%s\n", s.Line, placeName(s.At), s.Says, note)
		}
	}
	return nil
}

// absolute is the path of a file that need not exist, without symbolic links in its directory.
func absolute(file string) string {
	path, err := filepath.Abs(file)
	if err != nil {
		return file
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		return filepath.Join(dir, filepath.Base(path))
	}
	return path
}

func (a *app) policySuggestCommand() *cobra.Command {
	cmd := a.verb("", "suggest FILE", "Propose rules from what lost and from what is there",
		`Read the conflict log and the document, and propose the rules that would have settled what was seen, each with its
evidence: counters (sum), quotients of their siblings (derive), records with a unique key (keyed), members that two writers
added under one integer (renumber), names that differ only in case, separators or a numeric suffix (rename). What the policy
has a rule for already is left out. A suggestion is a guess: read it before you take it.`,
		`  jsonguard policy suggest results.json`,
		between(1, 1), func(cmd *cobra.Command, args []string) error { return a.policySuggest(cmd, args[0]) })
	return reads.mark(cmd)
}

func (a *app) policySuggest(cmd *cobra.Command, file string) error {
	g, err := a.existing(cmd, file)
	if err != nil {
		return err
	}
	defer g.Close()
	p, err := a.policyFor(g.Target())
	if err != nil {
		return err
	}
	log, err := g.Conflicts(cmd.Context())
	if err != nil {
		return err
	}
	src, err := g.Read(cmd.Context())
	if err != nil {
		return err
	}
	doc, err := merge.Parse(src, g.Format())
	if err != nil {
		return &problem{op: "policy suggest", path: file, err: err}
	}
	var lost []policy.Lost
	for _, c := range log {
		lost = append(lost, policy.Lost{At: c.At, Base: c.Base, Ours: c.Ours, Theirs: c.Theirs})
	}
	suggestions := policy.Suggest(doc, lost, p)
	if a.json {
		var o object
		o.add("file", g.Target())
		list := []map[string]any{}
		for _, s := range suggestions {
			list = append(list, map[string]any{"rule": s.Rule, "evidence": s.Evidence, "conflicts": s.Conflicts})
		}
		o.add("suggestions", list)
		a.println(o.String())
		return nil
	}
	for _, s := range suggestions {
		a.printf("%s: %s\n    %s\n", placeName(fmt.Sprint(s.Rule["at"])), s.Evidence, ruleText(s.Rule))
	}
	if len(suggestions) == 0 {
		a.warn(fmt.Sprintf("%s: nothing to suggest (%s in the log)", g.Target(), count(len(log), "conflict")))
	}
	return nil
}

// ruleText is a rule as people write it: "at" first.
func ruleText(rule map[string]any) string {
	var o object
	for _, name := range []string{"at", "merge", "key", "derive", "rename"} {
		if v, there := rule[name]; there {
			o.add(name, v)
		}
	}
	return o.String()
}

func (a *app) policySchemaCommand() *cobra.Command {
	cmd := a.verb("", "schema", "Print the JSON Schema of policy files, for editors",
		`Print the JSON Schema (draft 2020-12) of jsonguard.json. An editor takes it from "$schema" in the file.`,
		`  jsonguard policy schema > jsonguard.schema.json`,
		between(0, 0), func(cmd *cobra.Command, args []string) error {
			_, err := a.stdout.Write(policy.Schema)
			return err
		})
	return reads.mark(cmd)
}
