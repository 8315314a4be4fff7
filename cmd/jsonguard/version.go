package main

import (
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (a *app) versionCommand() *cobra.Command {
	cmd := a.verb("", "version", "Print the version", "Print the version, the commit it was built from, and the platform.",
		"  jsonguard version", between(0, 0), func(cmd *cobra.Command, args []string) error {
			revision, modified := "", false
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					switch s.Key {
					case "vcs.revision":
						revision = s.Value
					case "vcs.modified":
						modified = s.Value == "true"
					}
				}
			}
			if a.json {
				var o object
				o.add("version", versionText())
				o.addIf("revision", revision)
				o.add("modified", modified)
				o.add("go", runtime.Version())
				o.add("os", runtime.GOOS)
				o.add("arch", runtime.GOARCH)
				a.println(o.String())
				return nil
			}
			a.printf("jsonguard %s %s %s/%s\n", versionText(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			if revision != "" && a.verbose {
				a.println(revision)
			}
			return nil
		})
	return reads.mark(cmd)
}

// manCommand is for packagers.
func (a *app) manCommand() *cobra.Command {
	cmd := a.verb("", "man DIR", "Write the manual pages into a directory", "Write a manual page for each verb into DIR.",
		"  jsonguard man /usr/local/share/man/man1", between(1, 1), func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return &problem{op: "man", path: args[0], err: bare(err)}
			}
			cmd.Root().DisableAutoGenTag = true // the same source gives the same page
			err := doc.GenManTree(cmd.Root(), &doc.GenManHeader{Title: "JSONGUARD", Section: "1", Source: "jsonguard"}, args[0])
			if err != nil {
				return &problem{op: "man", path: args[0], err: bare(err)}
			}
			return nil
		})
	cmd.Hidden = true
	return writes.mark(cmd)
}
