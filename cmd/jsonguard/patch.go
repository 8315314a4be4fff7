package main

import (
	"github.com/spf13/cobra"

	"jsonguard/merge"
)

func (a *app) patchCommand() *cobra.Command {
	var rfc6902 bool
	cmd := a.verb(groupChange, "patch FILE [PATCH|-] [--rfc6902]", "Apply a patch document",
		`Apply a JSON Merge Patch (RFC 7396): an object whose members replace those of the file, null removes one.
--rfc6902 takes a JSON Patch: a list of add, remove, replace, move, copy and test, of which all are done or none.
Without PATCH, or with -, it is read from stdin.`,
		`  jsonguard patch config.json '{"debug": null, "port": 8080}'
  jsonguard patch --rfc6902 config.json '[{"op": "test", "path": "/port", "value": 80},
                                          {"op": "replace", "path": "/port", "value": 8080}]'`,
		between(1, 2), func(cmd *cobra.Command, args []string) error {
			patch := "-"
			if len(args) == 2 {
				patch = args[1]
			}
			value, err := a.value(cmd, patch)
			if err != nil {
				return err
			}
			if !rfc6902 {
				return a.apply(cmd, args[0], merge.Op{Kind: merge.OpPatch, Value: value})
			}
			ops, err := merge.ParsePatch6902(value)
			if err != nil {
				hint := "a JSON Patch is a list of objects with op, path, and value or from (RFC 6902)"
				if value[0] == '{' {
					hint = "an object is a merge patch: leave --rfc6902 out"
				}
				return usage(hint, "patch: %v", err)
			}
			return a.jsonPatch(cmd, args[0], ops)
		})
	cmd.Flags().BoolVar(&rfc6902, "rfc6902", false, "PATCH is a JSON Patch")
	return writes.mark(cmd)
}

// jsonPatch goes through Update, not Apply: a test that fails is the answer to the caller, and nothing for a
// quarantine.
func (a *app) jsonPatch(cmd *cobra.Command, file string, ops []merge.Op) error {
	g, err := a.guard(file)
	if err != nil {
		return err
	}
	defer g.Close()
	result, err := g.Update(cmd.Context(), func(d *merge.Document) error { return d.Do(ops...) })
	if err != nil {
		return a.named(cmd, file, err)
	}
	return a.done(g, result, nil)
}
