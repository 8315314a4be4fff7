package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"jsonguard/internal/records"
	"jsonguard/internal/stats"
	"jsonguard/merge"
)

// nearestName is the name that somebody who wrote text may have meant, "" if there is none.
func nearestName(text string, names []string) string {
	best, distance := "", 1+max(2, len(text)/3)
	for _, name := range names {
		d := editDistance(strings.ToLower(text), strings.ToLower(name))
		if text != "" && strings.HasPrefix(name, text) {
			d = min(d, 2)
		}
		if d < distance && d < len(name) {
			best, distance = name, d
		}
	}
	return best
}

// statsProblem says what there is instead of what was looked for.
func statsProblem(file, pattern string, err error) error {
	p := &problem{op: "stats", path: file, err: err}
	var none *stats.NoRecordsError
	var field *stats.NoFieldError
	var syntax *merge.SyntaxError
	switch {
	case errors.As(err, &none):
		p.status, p.hint = statusMissing, nearestHint(none.Pattern, none.Nearest)
	case errors.As(err, &field):
		p.status, p.hint = statusMissing, fieldHint(field)
	case !errors.As(err, &syntax):
		return usage("", "stats: %v", err) // about the query
	}
	return p
}

// nearestHint says how far a pattern leads, and what there is.
func nearestHint(pattern merge.Pattern, n records.Nearest) string {
	place := "the document"
	if len(n.At) > 0 {
		place = n.At.String()
	}
	next := ""
	if n.Steps < len(pattern) {
		next = pattern[n.Steps]
	}
	switch {
	case n.Kind == 0:
		return place + " is empty"
	case n.Kind == '{' && len(n.Names) == 0, n.Kind == '[' && n.Members == 0:
		return place + " is there, and empty"
	case n.Kind == '{':
		if near := nearestName(next, n.Names); near != "" {
			meant := slices.Clone(pattern)
			meant[n.Steps] = near
			return fmt.Sprintf("%s has no %q: did you mean %s?", place, next, shellQuote(merge.Pointer(meant).String()))
		}
		return fmt.Sprintf("%s has %s", place, listed(n.Names))
	case n.Kind == '[':
		return fmt.Sprintf("%s is a list of %d: its elements are * or a number", place, n.Members)
	}
	return place + " is no object and no list"
}

// fieldHint says what fields the records have.
func fieldHint(e *stats.NoFieldError) string {
	if len(e.Names) == 0 {
		return "the records are no objects; without a field an aggregate is about the record itself"
	}
	first := ""
	if len(e.Field.At) > 0 {
		first = e.Field.At[0]
	}
	if head, rest, dotted := strings.Cut(first, "."); dotted && slices.Contains(e.Names, head) {
		return "did you mean /" + head + "/" + strings.ReplaceAll(rest, ".", "/") + "?"
	}
	if near := nearestName(first, e.Names); near != "" && near != first {
		if len(e.Field.At) > 1 || strings.ContainsAny(near, "/,=@") {
			near = append(merge.Pointer{near}, e.Field.At[1:]...).String()
		}
		return "did you mean " + shellQuote(near) + "?"
	}
	return "the records have " + listed(e.Names)
}

func listed(names []string) string {
	const some = 12
	text := make([]string, 0, some)
	for _, name := range names[:min(some, len(names))] {
		text = append(text, printable(name))
	}
	if len(names) > some {
		text = append(text, "…")
	}
	return strings.Join(text, ", ")
}
