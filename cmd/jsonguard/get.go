package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

func (a *app) getCommand() *cobra.Command {
	var raw bool
	cmd := a.verb(groupChange, "get FILE [POINTER] [-r]", "Print a file, or the value at a pointer",
		`Print the file as it is, or the JSON text at POINTER, byte for byte. What dead processes left pending is folded in
first, where no lock is held. -r prints a string without its quotes and escapes, for a shell.
Exit status 1: there is no such pointer. 66: there is no such file.`,
		`  jsonguard get results.json
  jsonguard get results.json /models/gpt/runs
  name=$(jsonguard get -r results.json /name)`,
		between(1, 2), func(cmd *cobra.Command, args []string) error { return a.get(cmd, args, raw) })
	cmd.Flags().BoolVarP(&raw, "raw", "r", false, "print strings without quotes")
	return reads.mark(cmd)
}

func (a *app) get(cmd *cobra.Command, args []string, raw bool) error {
	var at merge.Pointer
	whole := len(args) == 1
	if !whole {
		var err error
		if at, err = pointer(args[1]); err != nil {
			return err
		}
	}
	a.followLinks = true // reading takes nothing away from the other names
	g, err := a.guard(args[0])
	if err != nil {
		return err
	}
	defer g.Close()
	src, err := g.Read(cmd.Context())
	if err != nil {
		return err
	}
	doc, err := merge.Parse(src, g.Format())
	if err != nil {
		return &problem{op: "get", path: args[0], err: err}
	}
	if whole && !raw && !a.json {
		_, err = a.stdout.Write(src)
		return err
	}
	value, err := doc.Get(at)
	if errors.Is(err, merge.ErrNotFound) {
		return &problem{op: "get", path: args[0], err: err, status: statusMissing}
	}
	if err != nil {
		return &problem{op: "get", path: args[0], err: err}
	}
	switch {
	case a.json:
		if g.Format() == merge.Lines && len(at) == 0 {
			value = linesAsArray(doc)
		}
		a.println(valueObject(g, at, value).String())
	case raw && len(value) > 0 && value[0] == '"':
		a.println(text(value))
	default:
		_, _ = a.stdout.Write(append(bytes.TrimSuffix(value, []byte("\n")), '\n'))
	}
	return nil
}

func valueObject(g *sidecar.Guard, at merge.Pointer, value []byte) *object {
	var o object
	o.add("file", g.Target())
	o.add("pointer", at.String())
	o.raw("value", oneLine(value))
	return &o
}

// linesAsArray is a JSON Lines document as one value.
func linesAsArray(doc *merge.Document) []byte {
	var lines [][]byte
	_ = doc.Each(nil, func(_ string, raw []byte) bool { // of a list, it cannot fail
		lines = append(lines, raw)
		return true
	})
	return append(append([]byte{'['}, bytes.Join(lines, []byte{','})...), ']')
}

// text decodes a JSON string that was found valid. An unpaired surrogate, which has no text, becomes U+FFFD.
func text(value []byte) string {
	if bytes.IndexByte(value, '\\') < 0 && utf8.Valid(value) && len(value) >= 2 {
		return string(value[1 : len(value)-1])
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return string(value)
	}
	return s
}
