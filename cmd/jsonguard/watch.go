package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"jsonguard/internal/watch"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

type watchFlags struct {
	records  string
	grow     []string
	duration time.Duration
	failFast bool
	serve    string
	remote   bool
}

func (a *app) watchCommand() *cobra.Command {
	var f watchFlags
	cmd := a.verb(groupLook, "watch FILE [--records PATTERN] [--grow PATTERN]... [--for DURATION] [--serve ADDRESS]", "Watch records, versions and writers live; notice when records vanish",
		`Show FILE as it changes: how many records there are, over the time of watching; versions a second; writers, live and dead;
what is pending; conflicts. On a terminal it is a page that redraws itself, else one line for each change, at most one a second;
with --json one object for each. Ctrl-C ends it. It takes no lock and changes nothing.

--records PATTERN counts the values at the places that it matches, as stats does (in JSON Lines each line).
--grow PATTERN names what must never get smaller: the length of each list or object there, or each number. One that does, or is
gone, is said on a line of its own, loudly.
--serve ADDRESS shows the same as a web page with a live chart, at an address of this machine: 127.0.0.1:8080, or port 0 for any
that is free. Others reach it only with --allow-remote: there is no password. Nothing can be changed through it. The executable
jsonguard-page does the serving.

A file is read again when it changed, a large one every few seconds: what comes and goes in between is not seen. One that is not
there yet is waited for.
Exit status, also after Ctrl-C and TERM: 1, something shrank that must grow, or a --grow PATTERN matched nothing all the time;
65, the file could not be parsed at the end; 66, it was not there. 69: jsonguard-page is missing.`,
		`  jsonguard watch --for 2s tests.json --records '/models/*/results/*'
  jsonguard watch --for 2s tests.json --grow '/models/*/results' && echo nothing was lost
  jsonguard watch --for 2s tests.json --grow '/models/*/results' --serve 127.0.0.1:0`,
		between(1, 1), nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.watch(cmd, args[0], f) }
	flags := cmd.Flags()
	flags.StringVar(&f.records, "records", "", "count the values that this `PATTERN` matches")
	flags.StringArrayVar(&f.grow, "grow", nil, "`PATTERN` of lists, objects and numbers that must never get smaller")
	flags.DurationVar(&f.duration, "for", 0, "end after this `DURATION` (default: go on)")
	flags.BoolVar(&f.failFast, "fail-fast", false, "end when the first one shrinks")
	flags.StringVar(&f.serve, "serve", "", "serve a page at this `ADDRESS`, as 127.0.0.1:0")
	flags.BoolVar(&f.remote, "allow-remote", false, "let --serve listen where other machines reach it")
	return reads.mark(cmd)
}

func (a *app) watch(cmd *cobra.Command, file string, f watchFlags) error {
	patterns, err := f.patterns(file)
	if err != nil {
		return err
	}
	switch {
	case f.duration < 0:
		return usage("", "watch: --for %s is in the past", f.duration)
	case f.failFast && len(f.grow) == 0:
		return usage("--grow PATTERN says what must not get smaller", "watch: --fail-fast needs --grow")
	case f.remote && f.serve == "":
		return usage("", "watch: --allow-remote needs --serve")
	}
	a.followLinks = true // looking takes nothing away from the other names
	if err := a.willBeWatched(file); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if f.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, f.duration)
		defer cancel()
	}
	var server *pageServer
	if f.serve != "" {
		if server, err = a.serve(f); err != nil {
			return err
		}
		defer server.close()
	}
	return a.follow(ctx, file, patterns, f, server)
}

func (f watchFlags) patterns(file string) ([]watch.Pattern, error) {
	var out []watch.Pattern
	if f.records == "" && len(f.grow) == 0 && sidecar.FormatOf(file, sidecar.Options{}) == merge.Lines {
		f.records = "/*"
	}
	add := func(text string, grow bool) error {
		p, err := recordsPattern("watch", text, merge.JSON)
		out = append(out, watch.Pattern{Pattern: p, Grow: grow})
		return err
	}
	if f.records != "" {
		if err := add(f.records, false); err != nil {
			return nil, err
		}
	}
	for _, text := range f.grow {
		if err := add(text, true); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// follow shows the file until ctx ends.
func (a *app) follow(ctx context.Context, file string, patterns []watch.Pattern, f watchFlags, server *pageServer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	newest := make(chan watch.State, 1)
	done := make(chan error, 1)
	go func() {
		done <- watch.Run(ctx, watch.Options{
			Open:     func() (*sidecar.Guard, error) { return sidecar.Open(file, a.lookOptions()) },
			Patterns: patterns,
			Note:     func(text string) { a.warn(file + ": " + text) },
		}, func(s watch.State) {
			select { // only the newest one: what a State says, later ones say too
			case <-newest:
			default:
			}
			newest <- s
		})
	}()
	var view watchView = &lineView{a: a}
	stops := make(chan os.Signal, 1)
	var onScreen *screenView
	if isTerminal(a.stdout) && !a.json {
		url := ""
		if server != nil {
			url = server.url
		}
		onScreen = newScreenView(a, url)
		view = onScreen
		notifyStops(stops)
		defer signal.Stop(stops)
	}
	defer view.end()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	var last watch.State
	said := false
	show := func(s watch.State) {
		last = s
		if onScreen == nil && !said && s.Exists && s.Err == nil {
			said = true
			a.sayUnmatched(file, s)
		}
		view.show(s)
		if server != nil {
			server.publish(s)
		}
		if a.stdout.err != nil || f.failFast && s.Shrunk > 0 {
			cancel()
		}
	}
	for {
		select {
		case s := <-newest:
			show(s)
		case now := <-tick.C:
			view.tick(now)
			if server == nil && readerGone(a.stdout.w) { // as when the next line was written, which may never be
				return ended{signal: int(syscall.SIGPIPE)}
			}
		case <-stops: // there are some on a screen only
			onScreen.stop()
		case err := <-done:
			select {
			case s := <-newest:
				show(s)
			default:
			}
			return a.watchOutcome(file, last, err)
		}
	}
}

// lookOptions open the file for looking: nobody has to hear of its policy again each time.
func (a *app) lookOptions() sidecar.Options {
	o := a.guardOptions()
	o.Warn = nil
	return o
}
