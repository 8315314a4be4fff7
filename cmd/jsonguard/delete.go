package main

import (
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"jsonguard/merge"
	"jsonguard/sidecar"
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

// mustExist is for verbs that make no file.
func (a *app) mustExist(cmd *cobra.Command, file string) error {
	if kindOf(cmd) == reads {
		a.followLinks = true // looking takes nothing away from the other names
	}
	g, err := a.guard(file)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return &problem{err: err, status: statusNoFile}
		}
		return err
	}
	defer g.Close()
	if _, err := os.Stat(g.Target()); err == nil {
		return nil
	}
	st, err := g.Status(cmd.Context()) // a change that is pending may make it
	if err != nil && !errors.Is(err, sidecar.ErrDamaged) {
		return err
	}
	if !st.Exists && st.Pending == 0 {
		return &problem{op: "open", path: file, err: fs.ErrNotExist, status: statusNoFile}
	}
	return nil
}
