package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"jsonguard/internal/records"
	"jsonguard/internal/watch"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// willBeWatched says where a file is not there yet; its directory has to be.
func (a *app) willBeWatched(file string) error {
	g, err := a.guard(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &problem{err: err, status: statusNoFile}
	}
	if err != nil {
		return err
	}
	defer g.Close()
	if _, err := os.Stat(g.Target()); errors.Is(err, fs.ErrNotExist) {
		a.warn(file + ": it is not there yet, and waited for")
	}
	return nil
}

// sayUnmatched says which patterns lead to nothing: they may be misspelled.
func (a *app) sayUnmatched(file string, s watch.State) {
	for _, c := range s.Counts {
		if !c.Seen {
			text := fmt.Sprintf("%s: nothing is matched by %s yet", file, c.Pattern)
			if hint := a.unmatchedHint(file, c.Pattern); hint != "" {
				text += ": " + hint
			}
			a.warn(text)
		}
	}
}

// unmatchedHint says what there is instead of what the pattern leads to, "" where that cannot be said.
func (a *app) unmatchedHint(file, pattern string) string {
	g, err := sidecar.Open(file, a.lookOptions())
	if err != nil {
		return ""
	}
	defer g.Close()
	src, err := g.Published()
	if err != nil {
		return ""
	}
	if g.Format() == merge.Lines {
		src, _ = records.CompleteLines(src)
	}
	p, err := merge.ParsePattern(pattern)
	if err != nil {
		return ""
	}
	scan, err := records.New(src, g.Format(), p)
	if err != nil {
		return ""
	}
	found := false
	if err := scan.Each(func(*records.Record) error { found = true; return nil }, func() {}); err != nil || found {
		return ""
	}
	return nearestHint(p, scan.Nearest())
}

// watchOutcome is what a script learns from the end of a watch. That something shrank comes first: it is what was asked.
func (a *app) watchOutcome(file string, last watch.State, err error) error {
	switch {
	case err != nil:
		return err
	case last.Shrunk > 0:
		return ended{status: statusMissing}
	case !last.Exists:
		return &problem{op: "watch", path: file, err: fs.ErrNotExist, status: statusNoFile}
	case errors.Is(last.Err, watch.ErrEmpty):
		return &problem{op: "watch", path: file, err: last.Err, status: statusData}
	case last.Err != nil:
		return &problem{op: "watch", path: file, err: last.Err}
	}
	for _, c := range last.Counts {
		if c.Grow && !c.Seen {
			return &problem{op: "watch", path: file, err: fmt.Errorf("nothing was matched by --grow %s", c.Pattern), status: statusMissing,
				hint: a.unmatchedHint(file, c.Pattern)}
		}
	}
	return nil
}
