package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"jsonguard/lock"
)

// Groups of the overview.
const (
	groupRun    = "run"
	groupChange = "change"
	groupLook   = "look"
	groupProve  = "prove"
)

// rootCommand is the command line for args. Where they begin with a verb it has no other one: to make them all takes as long as
// all else that a verb does before it opens its file.
func (a *app) rootCommand(args []string) *cobra.Command {
	cobra.EnableCommandSorting = false // the groups have an order that means something
	root := &cobra.Command{
		Use:   "jsonguard",
		Short: "Let many processes share one JSON file without losing each other's changes",
		Long: `Many processes read a JSON file, change a little, and write all of it back: they lose each other's records,
and leave half-written files. jsonguard keeps the file, its format and the programs, and makes that safe.

FILE is the shared file, POINTER a place in it by RFC 6901 (/models/gpt/runs/0; "" is the whole document).
Exit status: 0; 1 no such pointer (get), a difference (diff), no such record or something missing (stats), something
that shrank (watch); 64 usage; 65 data that cannot be parsed, or a refused change; 66 no such file; 73 cannot create;
74 I/O error; 75 lock timeout, or kept pending; 77 permission. exec returns the program's own.`,
		Example: `  jsonguard exec --file results.json -- python3 runner.py --db {}
  jsonguard set results.json /models/gpt/runs 12
  jsonguard incr results.json /total
  jsonguard demo`,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if a.timeout < 0 { // which means for ever in other programs
				return usage("0 tries once; a time has a unit: 500ms, 30s, 24h", "%s: --timeout %s is below zero", cmd.Name(), a.timeout)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if version, _ := cmd.Flags().GetBool("version"); version {
				a.println("jsonguard", versionText())
				return nil
			}
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownVerb(cmd, args[0])
		},
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		printUsage(cmd.OutOrStderr(), cmd)
		return nil
	})
	root.SetFlagErrorFunc(flagError)
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if rest := cmd.Flags().Args(); !cmd.HasParent() && len(rest) > 0 {
			a.misspelled = unknownVerb(cmd, rest[0]) // cobra takes what --help prints for a success
			return
		}
		help(cmd, args)
	})
	root.SetHelpCommand(helpCommand())
	root.SuggestionsMinimumDistance = 2
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run programs that share a file:"},
		&cobra.Group{ID: groupChange, Title: "Read and change a file:"},
		&cobra.Group{ID: groupLook, Title: "Look and repair:"},
		&cobra.Group{ID: groupProve, Title: "Try it:"},
	)
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print JSON (everything but exec and lock)")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "errors only")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "say more")
	f.DurationVar(&a.timeout, "timeout", lock.DefaultTimeout, "how long to wait for a lock, a `DURATION`; 0 tries once")
	f.StringVar(&a.policyFile, "policy", "", "policy `FILE`; without it the jsonguard.json beside the shared file or above it")
	f.BoolVar(&a.followLinks, "follow-links", false, "accept a file with several hard links; its other names keep the old version")

	all := a.verbs()
	if len(args) > 0 && args[0] != "man" { // which writes about all of them
		if i := slices.IndexFunc(all, func(v verb) bool { return v.name == args[0] }); i >= 0 {
			all = all[i : i+1]
			root.CompletionOptions.DisableDefaultCmd = true
		}
	}
	for _, v := range all {
		root.AddCommand(v.make())
	}
	if len(all) > 1 {
		root.Flags().Bool("version", false, "print the version")
		nameShells(root)
	}
	return root
}

// verb is one before it is made.
type verb struct {
	name string
	make func() *cobra.Command
}

// verbs are all of them, in the order in which they are shown.
func (a *app) verbs() []verb {
	return []verb{
		{"exec", a.execCommand}, {"lock", a.lockCommand},
		{"get", a.getCommand}, {"set", a.setCommand}, {"incr", a.incrCommand}, {"append", a.appendCommand}, {"delete", a.deleteCommand},
		{"patch", a.patchCommand}, {"update", a.updateCommand}, {"batch", a.batchCommand}, {"edit", a.editCommand}, {"merge", a.mergeCommand},
		{"import", a.importCommand}, {"policy", a.policyCommand}, {"normalize", a.normalizeCommand}, {"restore", a.restoreCommand},
		{"status", a.statusCommand}, {"stats", a.statsCommand}, {"watch", a.watchCommand}, {"export", a.exportCommand},
		{"conflicts", a.conflictsCommand}, {"history", a.historyCommand}, {"diff", a.diffCommand},
		{"recover", a.recoverCommand}, {"verify", a.verifyCommand}, {"clean", a.cleanCommand},
		{"doctor", a.doctorCommand}, {"demo", a.demoCommand}, {"stress", a.stressCommand},
		{"version", a.versionCommand}, {"man", a.manCommand},
		{"demo-runner", a.demoRunnerCommand}, {"stress-worker", a.stressWorkerCommand}, {"lock-probe", a.lockProbeCommand},
	}
}

// nameShells makes a shell that cobra does not know an error; cobra prints its help then, and ends with 0.
func nameShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd("completion")
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		cmd.Example = `  source <(jsonguard completion bash)
  jsonguard completion fish > ~/.config/fish/completions/jsonguard.fish`
		cmd.Args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return usage("jsonguard completion bash, zsh, fish or powershell", "completion: unknown shell %q", args[0])
		}
	}
}

// helpCommand is cobra's with a status for a verb that does not exist.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [VERB]", Short: "Help about a verb", Long: "Print what VERB does, with examples.", Example: "  jsonguard help set",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownVerb(cmd.Root(), args[0])
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// verb is what most verbs share. A verb that writes is interruptible while it runs.
func (a *app) verb(group, use, short, long, example string, args cobra.PositionalArgs, run func(*cobra.Command, []string) error) *cobra.Command {
	return &cobra.Command{
		GroupID: group, Use: use, Short: short, Long: long, Example: example, Args: args,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			for i := range args {
				args[i] = restoreNegative(args[i])
			}
			if kindOf(cmd) == writes {
				ctx, stop := a.interruptible(cmd.Context())
				defer stop()
				cmd.SetContext(ctx)
			}
			return run(cmd, args)
		},
	}
}

// between wants low to high arguments, and shows the usage line otherwise. An empty FILE is a mistake of a script.
func between(low, high int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < low:
			return usage("usage: "+cmd.UseLine(), "%s: too few arguments", cmd.Name())
		case high >= 0 && len(args) > high:
			return usage("usage: "+cmd.UseLine(), "%s: too many arguments: %q", cmd.Name(), args[high])
		case low > 0 && args[0] == "":
			return usage("is a variable of the script unset?", "%s: FILE is empty", cmd.Name())
		case low > 0 && args[0] == "-":
			return usage("./- is a file of that name", "%s: FILE is a file that is shared, standard input is not", cmd.Name())
		}
		return nil
	}
}

func unknownVerb(cmd *cobra.Command, name string) error {
	hint := "jsonguard help lists the verbs"
	near := cmd.SuggestionsFor(name)
	slices.SortStableFunc(near, func(a, b string) int { return editDistance(name, a) - editDistance(name, b) })
	for len(near) > 1 && editDistance(name, near[len(near)-1]) > editDistance(name, near[0]) {
		near = near[:len(near)-1]
	}
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		hint = "the verb stands first: jsonguard get " + shellQuote(name)
	}
	if len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "?"
	}
	return usage(hint, "unknown verb %q", name)
}

// flagError turns what pflag says into a usage problem, with the nearest flag.
func flagError(cmd *cobra.Command, err error) error {
	hint := "usage: " + cmd.UseLine()
	if !cmd.HasParent() {
		hint = "jsonguard help lists the verbs and flags"
	}
	if name, ok := strings.CutPrefix(err.Error(), "unknown flag: --"); ok {
		best, distance := "", 3
		consider := func(f *pflag.Flag) {
			d := editDistance(name, f.Name)
			if strings.HasPrefix(f.Name, name) {
				d = 1
			}
			if d < distance && !f.Hidden {
				best, distance = f.Name, d
			}
		}
		cmd.Flags().VisitAll(consider)
		cmd.InheritedFlags().VisitAll(consider)
		if best != "" {
			hint = "did you mean --" + best + "?"
		}
	}
	if dashed := unknownShorthand().FindStringSubmatch(err.Error()); dashed != nil && len(dashed[1]) > 2 {
		hint = "a name that begins with a dash is written ./" + dashed[1] + ", another argument stands behind --"
	}
	if number := durationWithoutUnit().FindStringSubmatch(err.Error()); number != nil {
		hint = "did you mean " + number[1] + "s? a time has a unit: 500ms, 30s, 2m"
	} else if strings.Contains(err.Error(), " time: ") {
		hint = "a time is a number with a unit: 500ms, 30s, 2m, 1h30m"
	}
	if !cmd.HasParent() {
		return usage(hint, "%v", err)
	}
	return usage(hint, "%s: %v", cmd.Name(), err)
}

var unknownShorthand = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?s)^unknown shorthand flag: .* in (-.*)$`) })

var durationWithoutUnit = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`missing unit in duration "([0-9.]+)"`) })

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			next := diagonal
			if a[i] != b[j] {
				next++
			}
			diagonal = row[j+1]
			row[j+1] = min(next, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// A number below zero is a value here and a bundle of short flags to pflag. It is carried past the flag parser
// behind a NUL, which no argument of a process can hold.
var negative = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^-(\d+(\.\d+)?([eE][+-]?\d+)?|Infinity)$`) })

// backInTime is -10m, as diff takes it.
var backInTime = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^-([0-9.]+[a-zµ]+)+$`) })

func keepNegatives(args []string) []string {
	kept := make([]string, len(args))
	takesNumbers, takesTimes := false, false
	for i, arg := range args {
		kept[i] = arg
		switch {
		case arg == "--" || arg == "exec" || arg == "lock":
			if !takesNumbers { // a program's arguments are nobody's to touch
				copy(kept[i:], args[i:])
				return kept
			}
			if arg == "--" {
				copy(kept[i:], args[i:])
				return kept
			}
		case arg == "set" || arg == "incr" || arg == "append":
			takesNumbers = true
		case arg == "diff":
			takesTimes = true
		case takesTimes && backInTime().MatchString(arg):
			kept[i] = "\x00" + arg
		case takesNumbers && negative().MatchString(arg):
			kept[i] = "\x00" + arg
		}
	}
	return kept
}

func restoreNegative(arg string) string { return strings.TrimPrefix(arg, "\x00") }
