package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// printUsage says how cmd is called. It is written out, as a template would cost each start 0.05 ms: text/template calls methods by
// their names, so that the linker has to keep all there are, which are a sixth of this program.
func printUsage(w io.Writer, cmd *cobra.Command) {
	fmt.Fprint(w, "Usage:")
	below := cmd.HasAvailableSubCommands()
	if below {
		fmt.Fprintf(w, "\n  %s VERB …", cmd.CommandPath())
	} else {
		fmt.Fprintf(w, "\n  %s", cmd.UseLine())
	}
	if cmd.HasExample() {
		fmt.Fprintf(w, "\n\nExamples:\n%s", cmd.Example)
	}
	if below {
		for _, group := range cmd.Groups() {
			printVerbs(w, cmd, group.Title, group.ID)
		}
		switch {
		case len(cmd.Groups()) == 0:
			printVerbs(w, cmd, "Available Commands:", "")
		case !cmd.AllChildCommandsHaveGroup():
			printVerbs(w, cmd, "More:", "")
		}
	}
	printFlags(w, "Flags:", cmd.LocalFlags())
	printFlags(w, "Flags of every verb:", cmd.InheritedFlags())
	if below {
		fmt.Fprintf(w, "\n\nUse \"%s VERB --help\" for more information about a verb.", cmd.CommandPath())
	}
	fmt.Fprintln(w)
}

// printVerbs lists those of one group.
func printVerbs(w io.Writer, cmd *cobra.Command, title, group string) {
	fmt.Fprintf(w, "\n\n%s", title)
	for _, verb := range cmd.Commands() {
		if verb.GroupID == group && (verb.IsAvailableCommand() || verb.Name() == "help") {
			fmt.Fprintf(w, "\n  %-*s %s", verb.NamePadding(), verb.Name(), verb.Short)
		}
	}
}

func printFlags(w io.Writer, title string, flags *pflag.FlagSet) {
	if flags.HasAvailableFlags() {
		fmt.Fprintf(w, "\n\n%s\n%s", title, strings.TrimRight(flags.FlagUsages(), " \n"))
	}
}
