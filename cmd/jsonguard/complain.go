package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"jsonguard/internal/policy"
	"jsonguard/lock"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// Rules for messages: what was attempted, on which path, why it failed; then, on a line of its own, what to do.
// Lower case, no full stop, no Go type or function. Errors are said with -q too, and never on stdout.

// complaint is an error as people and scripts read it.
type complaint struct {
	text, op, path, hint string
	line, column         int
	pending              bool
}

func complaintOf(err error) complaint {
	c := complaint{text: err.Error()}
	var p *problem
	var e *sidecar.Error
	switch {
	case errors.As(err, &p):
		c.op, c.path, c.hint = p.op, p.path, p.hint
		if p.hint == "" && errors.As(p.err, &e) {
			c.hint = e.Hint
		}
		c.text = strings.TrimSuffix(c.text, hintSuffix(e))
	case errors.As(err, &e):
		c.op, c.path, c.hint = e.Op, e.Path, e.Hint
		c.text = strings.TrimSuffix(c.text, hintSuffix(e))
	}
	var l *lock.Error
	if errors.As(err, &l) {
		if l.Hint != "" {
			c.text = strings.TrimSuffix(c.text, " ("+l.Hint+")")
		}
		if c.hint == "" {
			c.hint = l.Hint
		}
		// Both packages name what they locked; the file is enough.
		target := strings.TrimSuffix(l.Path, ".lock")
		c.text = strings.Replace(c.text, target+": lock "+l.Path+": ", target+": ", 1)
	}
	if errors.Is(err, context.Canceled) {
		c.text = strings.ReplaceAll(c.text, context.Canceled.Error(), "interrupted")
		if c.hint == "" {
			c.hint = "nothing was changed"
		}
	}
	if errors.Is(err, lock.ErrTimeout) && c.hint == "" {
		c.hint = "nothing was changed; --timeout waits longer"
	}
	if c.pending = errors.Is(err, sidecar.ErrPending); c.pending {
		c.hint = "do not repeat it: the change is safe in a sidecar, the next use of the file brings it in"
	}
	var wrong *policy.Error
	if errors.As(err, &wrong) {
		c.op, c.path, c.line, c.column, c.hint = "read policy", wrong.File, wrong.Line, wrong.Column, wrong.Hint
	}
	var syntax *merge.SyntaxError
	if errors.As(err, &syntax) {
		c.line, c.column = syntax.Line, syntax.Column
		if !strings.Contains(c.text, fmt.Sprintf("line %d", syntax.Line)) {
			c.text += fmt.Sprintf(" (line %d, column %d)", syntax.Line, syntax.Column)
		}
		if syntax.Behind && syntax.Line > 1 && c.path != "" {
			c.hint = strings.TrimPrefix(c.hint+"; a file with a document on each line is named .jsonl or .ndjson", "; ")
		}
	}
	return c
}

// hintSuffix is how sidecar's text ends; it gets a line of its own here.
func hintSuffix(e *sidecar.Error) string {
	if e == nil || e.Hint == "" {
		return ""
	}
	return " (" + e.Hint + ")"
}

func (a *app) complain(cmd *cobra.Command, err error, status int) {
	c := complaintOf(err)
	if errors.Is(err, fs.ErrPermission) && c.hint == "" && kindOf(cmd) != reads {
		c.hint = "a change makes a new file beside the old one: you must be able to read and write the file, its directory and its guard directory"
	}
	c.offerRestore(err)
	if a.json && kindOf(cmd) != wraps {
		var o object
		o.add("error", c.text)
		o.addIf("op", c.op)
		o.addIf("path", c.path)
		if c.line > 0 {
			o.add("line", c.line)
			o.add("column", c.column)
		}
		o.addIf("hint", c.hint)
		o.add("status", status)
		if c.pending {
			o.add("pending", true)
		}
		fmt.Fprintln(a.stderr, o.String())
		return
	}
	if rest, ok := strings.CutPrefix(c.text, "fold "); ok && kindOf(cmd) == writes {
		c.text = cmd.Name() + " " + rest // what people asked for
	}
	for line := range strings.Lines(c.text) { // errors.Join has a line for each
		a.say("%s", strings.TrimSuffix(line, "\n"))
	}
	if c.hint != "" {
		a.say("hint: %s", c.hint)
	}
}

// offerRestore adds to an error about a file that cannot be parsed, or is gone, that a version of it is kept, if one is.
func (c *complaint) offerRestore(err error) {
	var syntax *merge.SyntaxError
	if !errors.As(err, &syntax) && !errors.Is(err, fs.ErrNotExist) || c.path == "" || strings.Contains(c.hint, "jsonguard restore") {
		return
	}
	g, err := sidecar.Open(c.path, sidecar.Options{FollowLinks: true})
	if err != nil {
		return
	}
	defer g.Close()
	if offer := g.RestoreHint(context.Background()); offer != "" {
		c.hint = strings.TrimPrefix(c.hint+"; "+offer, "; ")
	}
}

// named gives an error of a change the verb and the file, where package sidecar did not.
func (a *app) named(cmd *cobra.Command, file string, err error) error {
	var e *sidecar.Error
	if errors.As(err, &e) {
		return err
	}
	return &problem{op: cmd.Name(), path: file, err: err}
}
