// Command bench measures jsonguard beside its alternatives and beside what the machine can do at best, all in one run,
// on one disk. Every figure that is asked for is a ratio of two numbers of that run, measured in turn, or says its unit.
//
//	go run .                          # everything, about eight minutes: rows, the table of figures
//	go run . -readme ../README.md     # the same, and puts table and charts into the README
//	go run . -only durable,visible -procs 17
//	go run . -check                   # less of it, in less than two minutes: exits with 1 where something is much slower
//	go run . -check -halved           # the same with jsonguard at half its speed: exits with 1 where that is not noticed
//
// The peers are the real programs: SQLite (WAL, synchronous=FULL), TinyDB, flock(1) and Python, Python's filelock,
// flock(1) and jq, proper-lockfile and write-file-atomic on Node. One that is not installed is named and left out.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options of one run.
type options struct {
	dir     string
	out     string
	readme  string
	procs   []int
	sizes   []int // MB
	seconds float64
	runs    int
	only    []string
	check   bool
	halved  bool
}

func main() {
	if role := os.Getenv("BENCH_ROLE"); role != "" {
		os.Exit(work(role, os.Args[1:]))
	}
	var o options
	procs := flag.String("procs", "1,4,17,64", "numbers of processes")
	sizes := flag.String("sizes", "1,10,100", "sizes of the document, MB")
	only := flag.String("only", "", "groups to measure: "+strings.Join(groupNames(), ","))
	flag.StringVar(&o.dir, "dir", os.TempDir(), "measure on the filesystem of this directory")
	flag.StringVar(&o.out, "out", "", "write charts (SVG, PNG) into this directory")
	flag.StringVar(&o.readme, "readme", "", "put the table and the charts into this file, between the marks that are in it")
	flag.Float64Var(&o.seconds, "seconds", 2, "how long processes contend")
	flag.IntVar(&o.runs, "runs", 3, "runs of each measurement that a figure is made of; the median counts")
	flag.BoolVar(&o.check, "check", false, "measure what is quick, and exit with 1 where a figure is beyond a generous bound")
	flag.BoolVar(&o.halved, "halved", false, "with -check: slow jsonguard to half its speed, and exit with 1 where a figure keeps its bound")
	flag.Parse()
	o.halved = o.halved && o.check
	if o.check {
		*procs, *sizes, o.seconds, o.runs = "17", "10", 1, max(o.runs, 5)
	}
	o.procs, o.sizes = numbers(*procs), numbers(*sizes)
	if *only != "" {
		o.only = strings.Split(*only, ",")
		for _, name := range o.only {
			if !slices.Contains(groupNames(), name) {
				fmt.Fprintf(os.Stderr, "bench: no group %q, there are %s\n", name, strings.Join(groupNames(), ", "))
				os.Exit(64)
			}
		}
	}
	if err := measure(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func numbers(list string) []int {
	var all []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "bench: %q is no list of numbers\n", list)
			os.Exit(64)
		}
		all = append(all, n)
	}
	return all
}

// group is a set of measurements that belong together.
type group struct {
	name  string
	run   func(*bench) error
	check bool // also with -check
}

var groups = []group{
	{"durable", durable, true}, {"visible", visible, true}, {"small", smallChange, true}, {"merge", fullMerge, true},
	{"validate", validate, true}, {"recover", recovery, true}, {"start", start, true}, {"exec", execCosts, false}, {"growth", growth, false},
	{"history", history, true}, {"stats", stats, true}, {"watch", watching, true},
}

func groupNames() []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

// bench is one run.
type bench struct {
	options
	began   time.Time
	work    string // directory of its own
	self    string // this executable
	command string // jsonguard
	node    string // directory with the packages for Node; "" none
	figures []figure
	skipped []string
	charts  []*chart
}

func measure(o options) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	place, err := os.MkdirTemp(o.dir, "jsonguard-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(place)
	go func() { // its workers get the signal as well
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
		<-stop
		_ = os.RemoveAll(place)
		os.Exit(130)
	}()
	b := &bench{options: o, began: time.Now(), work: place, self: self, command: filepath.Join(place, "jsonguard")}
	if err := buildCommand(b.command); err != nil {
		return err
	}
	if err := b.preparePeers(); err != nil {
		return err
	}
	var failed error
	fmt.Printf("%s, %s\n", b.began.Format("2006-01-02 15:04"), b.machine())
	for _, g := range groups {
		if o.only != nil && !slices.Contains(o.only, g.name) || o.only == nil && o.check && !g.check {
			continue
		}
		before := len(b.figures)
		err := b.run(g)
		for range 3 { // something else may have had the machine
			if err != nil || b.halved || b.beyond(b.figures[before:]) == 0 {
				break
			}
			b.figures = b.figures[:before]
			err = b.run(g)
		}
		if err != nil { // what else there is to measure is measured, and shown
			failed = errors.Join(failed, fmt.Errorf("%s: %w", g.name, err))
			b.skip(g.name, fmt.Sprintf("failed: %v", err))
		}
	}
	return errors.Join(failed, b.finish())
}

func (b *bench) run(g group) error {
	fmt.Printf("\n%s\n", g.name)
	return g.run(b)
}

func (b *bench) finish() error {
	if !b.check {
		b.report()
	}
	if b.out != "" {
		if err := b.writeCharts(b.out); err != nil {
			return err
		}
	}
	if b.readme != "" {
		if err := b.publish(b.readme); err != nil {
			return err
		}
	}
	fmt.Printf("\n%.0f s\n", time.Since(b.began).Seconds())
	if b.check {
		return b.guard()
	}
	return nil
}

func median[T int | int64 | float64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
