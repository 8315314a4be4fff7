package main

import (
	"github.com/spf13/cobra"

	"jsonguard/merge"
)

func (a *app) setCommand() *cobra.Command {
	cmd := a.verb(groupChange, "set FILE POINTER JSON|- [--string]", "Put a value at a pointer",
		`Put a JSON value at POINTER; - reads it from stdin. Objects that are missing on the way are made, and so is the file.
Setting what is there already writes nothing. --string takes the argument as text, whatever it looks like.
It returns when every reader sees the value and it is on disk. Status 75 with "kept pending" means that the change is
safe in a sidecar and must not be repeated.`,
		`  jsonguard set results.json /models/gpt/runs 12
  jsonguard set results.json /name --string "$USER"
  python3 summary.py | jsonguard set results.json /summary -`,
		between(3, 3), func(cmd *cobra.Command, args []string) error { return a.change(cmd, "set", args) })
	cmd.Flags().Bool("string", false, "the value is text, not JSON")
	return writes.mark(cmd)
}

func (a *app) appendCommand() *cobra.Command {
	cmd := a.verb(groupChange, "append FILE POINTER JSON|- [--string]", "Put a value behind the last element of an array",
		`Put a JSON value behind the last element of the array at POINTER; - reads it from stdin. A missing array is made.
In a JSON Lines file (.jsonl, .ndjson) the pointer "" appends a line, in place, whatever the size of the file.`,
		`  jsonguard append results.json /runs '{"id": 7, "ok": true}'
  jsonguard append log.jsonl "" '{"event": "start"}'`,
		between(3, 3), func(cmd *cobra.Command, args []string) error { return a.change(cmd, "append", args) })
	cmd.Flags().Bool("string", false, "the value is text, not JSON")
	return writes.mark(cmd)
}

// change does one operation that takes a value.
func (a *app) change(cmd *cobra.Command, kind string, args []string) error {
	if _, err := pointer(args[1]); err != nil {
		return err
	}
	value, err := a.value(cmd, args[2])
	if err != nil {
		return err
	}
	return a.apply(cmd, args[0], merge.Op{Kind: kind, At: args[1], Value: value})
}

func (a *app) apply(cmd *cobra.Command, file string, op merge.Op) error {
	g, err := a.guard(file)
	if err != nil {
		return err
	}
	defer g.Close()
	result, err := g.Apply(cmd.Context(), op)
	if err != nil {
		return a.named(cmd, file, err)
	}
	return a.done(g, result, func(o *object) { o.add("pointer", op.At) })
}
