package main

import (
	"github.com/spf13/cobra"

	"jsonguard/merge"
)

func (a *app) deleteCommand() *cobra.Command {
	cmd := a.verb(groupChange, "delete FILE POINTER", "Remove the value at a pointer",
		`Remove the value at POINTER. One that is not there is no error, so that it can be repeated; -v says so.
A missing file is one (66).`,
		`  jsonguard delete results.json /models/old`,
		between(2, 2), a.delete)
	return writes.mark(cmd)
}

func (a *app) delete(cmd *cobra.Command, args []string) error {
	at, err := pointer(args[1])
	if err != nil {
		return err
	}
	if len(at) == 0 {
		return usage("name a member: /models/old; rm removes the file itself", "delete: the pointer is the whole document")
	}
	if err := a.mustExist(cmd, args[0]); err != nil {
		return err
	}
	return a.apply(cmd, args[0], merge.Op{Kind: "delete", At: args[1]})
}
