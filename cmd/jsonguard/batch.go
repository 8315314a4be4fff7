package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

func (a *app) batchCommand() *cobra.Command {
	cmd := a.verb(groupChange, "batch FILE", "Do operations from stdin, one acknowledgement a line",
		`Read operations from stdin, one JSON object a line:
  {"op": "set", "at": "/a", "value": 1, "id": "x1", "ack": "visible"}
op is set, incr, append, delete, patch (RFC 7396) or get. id is any JSON value and comes back as it is. ack says when a
change counts as done: "visible" (default), when every reader sees it and it is on disk; "journaled", when it is on disk
in a sidecar and readers will see it within 100 ms.
Each line is answered by one line, in order, at once: {"id": "x1", "ok": true} (get and incr: with "value"), or
{"id": "x1", "ok": false, "error": …, "status": 65}. With status 75 nothing was done, unless the line says
"pending": true: then it must not be repeated. A line that fails does not stop the others. Lines that are waiting are done in one
rewrite. The exit status is that of the worst line.`,
		`  printf '%s\n' '{"op":"incr","at":"/n","id":1}' '{"op":"get","at":"/n","id":2}' | jsonguard batch results.json`,
		between(1, 1), func(cmd *cobra.Command, args []string) error {
			g, err := a.guard(args[0])
			if err != nil {
				return err
			}
			b := &batch{a: a, g: g}
			if err := b.run(cmd.Context()); err != nil {
				_ = g.Close()
				return err
			}
			return g.Close()
		})
	return writes.mark(cmd)
}

// batch is one run of the verb.
type batch struct {
	a         *app
	g         *sidecar.Guard
	worst     int
	journaled bool // a change may not be in the file yet
}

// operation is one line of input and, later, what became of it.
type operation struct {
	op        merge.Op
	id        []byte // JSON text
	journaled bool

	value   []byte
	err     error
	pending bool
}

func (b *batch) run(ctx context.Context) error {
	input := readLines(b.a.stdin)
	for lines := input.take(ctx); len(lines) > 0; lines = input.take(ctx) {
		group := make([]*operation, len(lines))
		for i, line := range lines {
			group[i] = parseOperation(line)
		}
		for len(group) > 0 {
			n := b.some(ctx, group)
			if err := b.answer(group[:n]); err != nil {
				return err
			}
			group = group[n:]
		}
	}
	if ctx.Err() != nil {
		return &problem{op: "batch", path: b.g.Target(), err: ctx.Err(), hint: "what was acknowledged is done"}
	}
	if b.journaled {
		// Nobody is left who would fold them within the time that was promised.
		if _, err := b.g.Flush(ctx); err != nil {
			b.a.warn(fmt.Sprintf("journaled changes are on disk, and come in with the next use of the file: %v", complaintOf(err).text))
		}
	}
	if input.err != nil {
		return &problem{op: "read", path: "standard input", err: bare(input.err), status: statusIO}
	}
	if b.worst != 0 {
		return ended{status: b.worst} // each line said why
	}
	return nil
}

// some does the leading operations that can be done together, and says how many those were.
func (b *batch) some(ctx context.Context, group []*operation) int {
	first := group[0]
	switch {
	case first.err != nil:
		return 1
	case first.op.Kind == "get":
		first.value, first.err = b.get(ctx, first)
		return 1
	case first.journaled:
		first.err = b.g.Journal(ctx, first.op)
		b.journaled = b.journaled || first.err == nil
		return 1
	}
	lines := b.appendsLine(first)
	n := 1
	for n < len(group) && group[n].err == nil && group[n].op.Kind != "get" && !group[n].journaled && b.appendsLine(group[n]) == lines {
		n++
	}
	if lines {
		b.appendLines(ctx, group[:n])
	} else {
		b.together(ctx, group[:n])
	}
	return n
}

// appendsLine: a line goes to the end of a JSON Lines file in place, without a rewrite.
func (b *batch) appendsLine(o *operation) bool {
	return b.g.Format() == merge.Lines && o.op.Kind == "append" && o.op.At == ""
}

// appendLines appends all or none: of valid values, none can fail alone.
func (b *batch) appendLines(ctx context.Context, group []*operation) {
	ops := make([]merge.Op, len(group))
	for i, o := range group {
		ops[i] = o.op
	}
	_, err := b.g.Apply(ctx, ops...)
	for _, o := range group {
		o.err, o.pending = err, errors.Is(err, sidecar.ErrPending)
	}
}

// together does operations in one rewrite; each has its own outcome.
func (b *batch) together(ctx context.Context, ops []*operation) {
	_, err := b.g.Update(ctx, func(d *merge.Document) error {
		for _, o := range ops { // may run again, on a newer version
			o.value = nil
			if o.err = d.Do(o.op); o.err == nil && o.op.Kind == "incr" {
				o.value, o.err = value(d, o.op.At)
			}
		}
		return nil
	})
	if err != nil {
		for _, o := range ops {
			if o.err == nil {
				o.err = err
			}
		}
	}
}

func value(d *merge.Document, at string) ([]byte, error) {
	p, err := merge.ParsePointer(at)
	if err != nil {
		return nil, err
	}
	v, err := d.Get(p)
	return bytes.Clone(v), err
}

func (b *batch) get(ctx context.Context, o *operation) ([]byte, error) {
	src, err := b.g.Read(ctx)
	if err != nil {
		return nil, err
	}
	doc, err := merge.Parse(src, b.g.Format())
	if err != nil {
		return nil, err
	}
	v, err := value(doc, o.op.At)
	if errors.Is(err, merge.ErrNotFound) {
		err = &problem{err: err, status: statusMissing}
	}
	return v, err
}

func (b *batch) answer(ops []*operation) error {
	var out []byte
	for _, o := range ops {
		var line object
		line.raw("id", o.id)
		line.add("ok", o.err == nil)
		if o.err != nil {
			does := writes
			if o.op.Kind == "get" {
				does = reads
			}
			status := dataStatus(o.err, does)
			b.worst = worse(b.worst, status)
			c := complaintOf(o.err)
			line.add("error", c.text)
			line.addIf("hint", c.hint)
			line.add("status", status)
			if o.pending {
				line.add("pending", true)
			}
		} else if o.value != nil {
			line.raw("value", oneLine(o.value))
		}
		out = append(append(out, line.String()...), '\n')
	}
	_, err := b.a.stdout.Write(out)
	return err
}

// parseOperation reads a line. A line without its own id is answered with null.
func parseOperation(line []byte) *operation {
	o := &operation{id: []byte("null")}
	refuse := func(format string, args ...any) *operation {
		o.err = usage(`a line is an object: {"op": "set", "at": "/a", "value": 1, "id": "x1"}`, format, args...)
		return o
	}
	doc, err := merge.Parse(line, merge.JSON)
	if err != nil {
		return refuse("no JSON: %v", err)
	}
	if root, err := doc.Get(nil); err != nil || root[0] != '{' {
		return refuse("no object")
	}
	member := func(name string) []byte {
		v, err := doc.Get(merge.Pointer{name})
		if err != nil {
			return nil
		}
		return bytes.Clone(v)
	}
	str := func(name string) (string, error) {
		v := member(name)
		if v == nil {
			return "", nil
		}
		if v[0] != '"' {
			return "", fmt.Errorf("%s is no string", name)
		}
		return text(v), nil
	}
	if id := member("id"); id != nil {
		o.id = oneLine(id)
	}
	var ack string
	for name, field := range map[string]*string{"op": &o.op.Kind, "at": &o.op.At, "ack": &ack} {
		if *field, err = str(name); err != nil {
			return refuse("%v", err)
		}
	}
	o.op.Value = member("value")
	switch o.op.Kind {
	case "set", "append", "patch":
		if o.op.Value == nil {
			return refuse("%s without value", o.op.Kind)
		}
	case "incr":
		if o.op.Value == nil {
			o.op.Value = merge.Raw("1")
		}
		if !numberText().Match(o.op.Value) {
			return refuse("incr: %s is no number", o.op.Value)
		}
	case "delete", "get":
	case "":
		return refuse("no op")
	default:
		return refuse("unknown op %q", o.op.Kind)
	}
	if at := member("at"); at != nil && strings.ContainsRune(o.op.At, utf8.RuneError) && loneSurrogate(at) {
		return refuse("at has an unpaired surrogate, which is no character")
	}
	if _, err := pointer(o.op.At); err != nil {
		o.err = err
		return o
	}
	switch ack {
	case "", "visible":
	case "journaled":
		o.journaled = o.op.Kind != "get"
	default:
		return refuse("unknown ack %q", ack)
	}
	return o
}

// loneSurrogate: text decodes one to U+FFFD, which would name another member.
func loneSurrogate(value []byte) bool {
	lower := bytes.ToLower(value)
	return !bytes.Contains(lower, []byte(`\ufffd`)) && !bytes.Contains(lower, []byte("\ufffd"))
}
