// Command bench measures jsonguard beside its alternatives and beside what the machine can do at best, all in one run,
// on one disk. Every figure that is promised is a ratio of two numbers of that run.
//
//	go run . -dir /var/tmp            # everything, some minutes
//	go run . -only durable,visible -procs 17
//	go run . -check                   # exits with 1 where a ratio misses its bound
//
// The peers are the real programs: SQLite (WAL, synchronous=FULL), TinyDB, flock(1) and Python, Python's filelock,
// flock(1) and jq, proper-lockfile and write-file-atomic on Node. One that is not installed is named and left out.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options of one run.
type options struct {
	dir     string
	out     string
	procs   []int
	sizes   []int // MB
	seconds float64
	runs    int
	only    []string
	check   bool
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
	flag.Float64Var(&o.seconds, "seconds", 3, "how long processes contend")
	flag.IntVar(&o.runs, "runs", 3, "runs of each measurement; the median counts")
	flag.BoolVar(&o.check, "check", false, "exit with 1 where a ratio misses its bound")
	flag.Parse()
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
	name string
	run  func(*bench) error
}

var groups = []group{
	{"durable", durable}, {"visible", visible}, {"small", smallChange}, {"merge", fullMerge},
	{"validate", validate}, {"recover", recovery}, {"growth", growth}, {"start", start},
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
	work    string // directory of its own
	self    string // this executable
	command string // jsonguard
	node    string // directory with the packages for Node; "" none
	ratios  []ratio
	charts  []*chart
}

// ratio is a figure that is promised: a to b must be at least (or at most) bound.
type ratio struct {
	what   string
	value  float64
	bound  float64
	atMost bool
}

func (r ratio) ok() bool {
	if r.atMost {
		return r.value <= r.bound
	}
	return r.value >= r.bound
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
	b := &bench{options: o, work: place, self: self, command: filepath.Join(place, "jsonguard")}
	if err := buildCommand(b.command); err != nil {
		return err
	}
	b.prepareNode()
	fmt.Printf("%s, %d processors, %s/%s, on %s\n", time.Now().Format("2006-01-02 15:04"), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, o.dir)
	for _, g := range groups {
		if o.only == nil || slices.Contains(o.only, g.name) {
			fmt.Printf("\n%s\n", g.name)
			if err := g.run(b); err != nil {
				return fmt.Errorf("%s: %w", g.name, err)
			}
		}
	}
	return b.finish()
}

func (b *bench) promise(what string, value, bound float64, atMost bool) {
	b.ratios = append(b.ratios, ratio{what, value, bound, atMost})
}

func (b *bench) finish() error {
	if b.out != "" {
		for _, c := range b.charts {
			if err := c.write(b.out); err != nil {
				return err
			}
		}
	}
	missed := 0
	fmt.Printf("\n%-62s %9s %9s\n", "ratio", "measured", "promised")
	for _, r := range b.ratios {
		sign, mark := "≥", ""
		if r.atMost {
			sign = "≤"
		}
		if !r.ok() {
			missed++
			mark = "  MISSED"
		}
		fmt.Printf("%-62s %8.2f× %s%7.2f×%s\n", r.what, r.value, sign, r.bound, mark)
	}
	if b.check && missed > 0 {
		return fmt.Errorf("%d of %d ratios missed", missed, len(b.ratios))
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
