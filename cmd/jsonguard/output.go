package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// object is a line of --json: members in the order they were added, and JSON text of a document passed through as it
// is, which encoding/json would refuse (NaN) or rewrite (1.10).
type object struct{ text []byte }

func (o *object) raw(name string, value []byte) {
	if len(o.text) > 0 {
		o.text = append(o.text, ',')
	}
	o.text = append(append(append(o.text, jsonText(name)...), ':'), value...)
}

func (o *object) add(name string, v any) { o.raw(name, jsonText(v)) }

func (o *object) addIf(name, v string) {
	if v != "" {
		o.add(name, v)
	}
}

func (o *object) String() string { return "{" + string(o.text) + "}" }

// jsonText is json.Marshal without escaping <, > and &. What this package passes to it can always be encoded.
func jsonText(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// oneLine is valid JSON text without the white space between its tokens.
func oneLine(text []byte) []byte { return merge.Compact(nil, text) }

func (a *app) println(args ...any) { fmt.Fprintln(a.stdout, args...) }

func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }

// notNil makes an empty list of none, so that --json never says null for it.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// result is the part of --json that every changing verb prints.
func (o *object) result(r sidecar.Result) {
	o.add("changed", r.Changed)
	o.add("generation", r.Generation)
	o.add("folded", r.Folded)
	o.add("conflicts", notNil(r.Conflicts))
	o.add("rejected", notNil(r.Rejected))
	o.add("torn", notNil(r.Torn))
}

// done reports a change: nothing without --json, but for what a person should know.
func (a *app) done(g *sidecar.Guard, r sidecar.Result, more func(*object)) error {
	a.noteworthy(g, r)
	if a.json {
		var o object
		o.add("file", g.Target())
		if more != nil {
			more(&o)
		}
		o.result(r)
		a.println(o.String())
	}
	if !r.Changed {
		a.note("%s: nothing changed", g.Target())
	}
	return nil
}

// noteworthy says what a fold did besides what was asked.
func (a *app) noteworthy(g *sidecar.Guard, r sidecar.Result) {
	if r.Folded > 0 {
		a.note("%s: folded %s", g.Target(), count(r.Folded, "pending change"))
	}
	if n := len(r.Conflicts); n > 0 {
		a.warn(fmt.Sprintf("%s: %s; jsonguard conflicts shows them", g.Target(), count(n, "conflict")))
	}
	for _, rejected := range r.Rejected {
		a.warn(fmt.Sprintf("%s: a pending change was refused (%s), it is in quarantine: %s", g.Target(), rejected.Reason, rejected.File))
	}
	for _, torn := range r.Torn {
		a.warn(fmt.Sprintf("%s: an incomplete write of a dead process is in quarantine (%s); jsonguard recover --salvage takes its complete records", g.Target(), torn))
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// isTerminal is asked of streams that may be buffers in a test.
func isTerminal(stream any) bool {
	if e, ok := stream.(*errWriter); ok {
		stream = e.w
	}
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// coloured says whether w is a terminal that shows colours, unless NO_COLOR says no (no-color.org).
func coloured(w io.Writer) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && isTerminal(w)
}

// paint colours a word where that is possible.
func paint(w io.Writer, colour, word string) string {
	codes := map[string]string{"red": "31", "green": "32", "yellow": "33", "dim": "2"}
	if !coloured(w) {
		return word
	}
	return "\x1b[" + codes[colour] + "m" + word + "\x1b[0m"
}
