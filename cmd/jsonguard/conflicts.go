package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// conflictFilter is what the flags of conflicts leave of the log.
type conflictFilter struct {
	at, since string
	pid       int
	refused   bool
	take      int
}

func (a *app) conflictsCommand() *cobra.Command {
	var f conflictFilter
	cmd := a.verb(groupLook, "conflicts FILE [--at PATTERN] [--since TIME] [--pid PID] [--refused] [--take N]", "Show the values that lost, and put one back",
		`Show the conflict log: each place that two processes changed, who, when, and the three values. Each has a number, which
it keeps. Empty: there was none.
--at takes a pointer in which * stands for one step and ** for any number; --since a duration back from now (90m, 36h, 7d), a
date or a time (2026-01-31T12:00:00Z).
--take N puts the value that lost in conflict N back, as a change like any other. It is refused (65) when the place holds
something else by now than the value that won.`,
		`  jsonguard conflicts results.json
  jsonguard conflicts results.json --at '/models/*/total' --since 2h
  jsonguard conflicts results.json --take 3
  jsonguard conflicts --json results.json | jq '.conflicts[] | select(.pointer == "/total")'`,
		between(1, 1), nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.conflicts(cmd, args[0], f) }
	flags := cmd.Flags()
	flags.StringVar(&f.at, "at", "", "only places that this `PATTERN` matches")
	flags.StringVar(&f.since, "since", "", "only what happened since this `TIME`")
	flags.IntVar(&f.pid, "pid", 0, "only values of the process `PID`")
	flags.BoolVar(&f.refused, "refused", false, "only what the policy refused")
	flags.IntVar(&f.take, "take", 0, "put the value that lost in conflict `N` back")
	return reads.mark(cmd)
}

// numbered is a conflict with its place in the log, from 1.
type numbered struct {
	Number int `json:"number"`
	sidecar.Conflict
}

func (a *app) conflicts(cmd *cobra.Command, file string, f conflictFilter) error {
	keep, err := f.compile(time.Now())
	if err != nil {
		return err
	}
	g, err := a.existing(cmd, file)
	if err != nil {
		return err
	}
	defer g.Close()
	log, err := g.Conflicts(cmd.Context())
	if err != nil {
		return err
	}
	if cmd.Flags().Changed("take") {
		if f.take < 1 || f.take > len(log) {
			return usage("jsonguard conflicts "+shellQuote(file)+" shows their numbers", "conflicts: there is no conflict %d; the log has %d", f.take, len(log))
		}
		return a.takeBack(cmd, g, file, log[f.take-1])
	}
	var shown []numbered
	for i, c := range log {
		if keep(c) {
			shown = append(shown, numbered{i + 1, c})
		}
	}
	if a.json {
		var o object
		o.add("file", g.Target())
		o.add("conflicts", notNil(shown))
		a.println(o.String())
		return nil
	}
	for _, c := range shown {
		a.showConflict(c)
	}
	if len(shown) == 0 {
		a.note("%s: no conflicts", g.Target())
	}
	return nil
}

func (a *app) showConflict(c numbered) {
	show := func(s *string) string {
		if s == nil {
			return "(missing)"
		}
		return string(oneLine([]byte(*s)))
	}
	a.printf("%d  %s  %s  %s@%d  %s\n", c.Number, c.Time.Local().Format("2006-01-02 15:04:05"), placeName(c.At), c.Host, c.PID, c.Command)
	a.printf("    base %s, ours %s, theirs %s; taken: %s", show(c.Base), show(c.Ours), show(c.Theirs), c.Taken)
	if c.Refused {
		a.printf(", refused")
	}
	if c.Reason != "" {
		a.printf(" (%s)", c.Reason)
	}
	a.println()
}

// compile checks the flags and returns what they keep.
func (f conflictFilter) compile(now time.Time) (func(sidecar.Conflict) bool, error) {
	var pattern merge.Pattern
	if f.at != "" {
		if _, err := pointer(f.at); err != nil {
			return nil, err
		}
		var err error
		if pattern, err = merge.ParsePattern(f.at); err != nil {
			return nil, usage("", "conflicts: --at: %v", err)
		}
	}
	var since time.Time
	if f.since != "" {
		var ok bool
		if since, ok = parseSince(f.since, now); !ok {
			return nil, usage("90m, 36h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z", "conflicts: --since %q is neither a duration nor a time", f.since)
		}
	}
	return func(c sidecar.Conflict) bool {
		if f.at != "" {
			at, err := merge.ParsePointer(c.At)
			if err != nil || !pattern.Matches(at) {
				return false
			}
		}
		return !c.Time.Before(since) && (f.pid == 0 || c.PID == f.pid) && (!f.refused || c.Refused)
	}, nil
}

var days = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(\d{1,5})d$`) })

func parseSince(text string, now time.Time) (time.Time, bool) {
	if m := days().FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		return now.AddDate(0, 0, -n), err == nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), d >= 0
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// takeBack makes the value that lost the value of its place, if the one that won is still there.
func (a *app) takeBack(cmd *cobra.Command, g *sidecar.Guard, file string, c sidecar.Conflict) error {
	won, lost := c.Ours, c.Theirs
	if c.Taken == merge.TakenTheirs {
		won, lost = c.Theirs, c.Ours
	}
	at, err := merge.ParsePointer(c.At)
	switch {
	case err != nil:
		return err
	case won == nil && lost == nil:
		return usage("the whole change is in quarantine: jsonguard status "+shellQuote(file), "conflicts: conflict %d has no value", c.Seq)
	case c.Taken != merge.TakenOurs && c.Taken != merge.TakenTheirs:
		return usage("", "conflicts: nothing lost there: both values went into the one that is there")
	}
	result, err := g.Update(cmd.Context(), func(d *merge.Document) error {
		if err := stillThere(d, at, c.At, won); err != nil {
			return err
		}
		if lost == nil {
			return d.Do(merge.Op{Kind: merge.OpDelete, At: c.At})
		}
		return d.Do(merge.Op{Kind: merge.OpSet, At: c.At, Value: merge.Raw(*lost)})
	})
	if err != nil {
		return a.named(cmd, file, err)
	}
	return a.done(g, result, func(o *object) { o.add("pointer", c.At) })
}

func stillThere(d *merge.Document, at merge.Pointer, text string, won *string) error {
	have, err := d.Get(at)
	missing := errors.Is(err, merge.ErrNotFound)
	if err != nil && !missing {
		return err
	}
	if missing == (won == nil) && (missing || d.Do(merge.Op{Kind: merge.OpTest, At: text, Value: merge.Raw(*won)}) == nil) {
		return nil
	}
	now := "missing"
	if !missing {
		now = string(oneLine(have))
	}
	return &problem{op: "conflicts", status: statusData, err: fmt.Errorf("%s is %s by now, not the value that won", placeName(text), now),
		hint: "jsonguard set puts any value there"}
}

// conflictsOf reads from the log what a process of this machine lost or won since it began.
func conflictsOf(pid int, g *sidecar.Guard, since time.Time) []sidecar.Conflict {
	all, err := g.Conflicts(context.Background())
	if err != nil {
		return nil
	}
	host, _ := os.Hostname()
	var own []sidecar.Conflict
	for _, c := range all {
		if c.PID == pid && c.Host == host && c.Time.After(since.Add(-time.Second)) {
			own = append(own, c)
		}
	}
	return own
}

// refusedPlaces are the pointers of what the policy refused.
func refusedPlaces(conflicts []sidecar.Conflict) []string {
	var places []string
	for _, c := range conflicts {
		if c.Refused {
			places = append(places, c.At)
		}
	}
	return places
}
