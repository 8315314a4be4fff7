package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
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
