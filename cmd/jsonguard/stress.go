package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

type stressOptions struct {
	procs   int
	updates int
	size    int
	kill    bool
	seed    uint64
	keep    bool
}

func (a *app) stressCommand() *cobra.Command {
	var o stressOptions
	cmd := a.verb(groupProve, "stress [FILE|DIR] [--procs N] [--updates N] [--size BYTES] [--kill] [--seed N]",
		"Prove this machine and filesystem",
		`Let real processes change one file at once, through the library, the verbs and exec, each operation with an id of its
own, while an observer reads the file; with --kill processes of all kinds are killed at random (SIGKILL) and started again.
At the end every acknowledged operation must be in the file exactly once, every other at most once, the counters must
equal the sums, and every read must have parsed. Status 74: not so.

Without FILE, in a new temporary directory; with a directory, in a new one in it. What was made is removed when all is
well (--keep keeps it). An existing FILE is refused: stress makes its own.`,
		`  jsonguard stress --procs 64 --updates 200 --kill
  jsonguard stress /mnt/share`,
		between(0, 1), func(cmd *cobra.Command, args []string) error {
			place := ""
			if len(args) == 1 {
				place = args[0]
			}
			return a.stress(cmd.Context(), place, o)
		})
	f := cmd.Flags()
	f.IntVar(&o.procs, "procs", 17, "processes at once")
	f.IntVar(&o.updates, "updates", 20, "operations of each")
	f.IntVar(&o.size, "size", 4096, "bytes of other records in the file")
	f.BoolVar(&o.kill, "kill", false, "kill processes at random")
	f.Uint64Var(&o.seed, "seed", 0, "repeat a run's random choices")
	f.BoolVar(&o.keep, "keep", false, "keep the file")
	return startsPrograms(writes.mark(cmd))
}

func (a *app) stress(ctx context.Context, place string, o stressOptions) error {
	if o.procs < 1 || o.updates < 1 || o.size < 0 {
		return usage("", "stress: --procs and --updates are at least 1, --size at least 0")
	}
	if o.seed == 0 {
		o.seed = rand.Uint64()>>1 | 1
	}
	file, remove, err := stressFile(place)
	if err != nil {
		return err
	}
	if err := makeNew(file, stressDocument(o.size)); err != nil {
		return &problem{op: "stress", path: file, err: bare(err), status: statusCreate}
	}
	if !a.json && !a.quiet {
		a.printf("%d processes, %d operations each, on %s (seed %d)\n", o.procs, o.updates, file, o.seed)
	}
	run, err := newStressRun(a, file, o)
	if err != nil {
		return err
	}
	report, err := run.do(ctx)
	if ctx.Err() != nil {
		if !o.keep {
			remove()
		}
		return &problem{op: "stress", path: file, err: ctx.Err(), hint: "nothing was found out"}
	}
	if err != nil {
		return err
	}
	failed := report.print(a)
	if len(failed) == 0 && !o.keep {
		remove()
	}
	if len(failed) > 0 {
		return &problem{op: "stress", path: file, err: errors.New(strings.Join(failed, "; ")), status: statusIO,
			hint: fmt.Sprintf("the file is kept; --seed %d makes the same choices again; jsonguard doctor %s says what this filesystem can do", o.seed, shellQuote(filepath.Dir(file)))}
	}
	return nil
}

// makeNew never touches a file that is there, also one that came a moment ago or is behind a dangling link.
func makeNew(file string, content []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// stressFile names a file that is new, and how to remove what was made for it.
func stressFile(place string) (file string, remove func(), err error) {
	if place == "" {
		dir, err := os.MkdirTemp("", "jsonguard-stress-")
		if err != nil {
			return "", nil, &problem{op: "stress", err: err, status: statusCreate}
		}
		return filepath.Join(dir, "stress.json"), func() { _ = os.RemoveAll(dir) }, nil
	}
	info, err := os.Stat(place)
	switch {
	case err == nil && info.IsDir():
		dir, err := os.MkdirTemp(place, "jsonguard-stress-")
		if err != nil {
			return "", nil, &problem{op: "stress", path: place, err: bare(err), status: statusCreate}
		}
		return filepath.Join(dir, "stress.json"), func() { _ = os.RemoveAll(dir) }, nil
	case err == nil:
		return "", nil, usage("name a new file, or a directory", "stress %s: it exists, and stress makes its own file", place)
	case os.IsNotExist(err):
		return place, func() {
			_ = os.RemoveAll(filepath.Join(filepath.Dir(place), "."+filepath.Base(place)+".guard"))
			_ = os.Remove(place)
			_ = os.Remove(place + ".lock") // of a file that nobody else knows
		}, nil
	}
	return "", nil, &problem{op: "stress", path: place, err: bare(err), status: statusCreate}
}

// stressDocument has records nobody touches, of about size bytes.
func stressDocument(size int) []byte {
	var b strings.Builder
	b.WriteString("{\n  \"log\": [],\n  \"library\": 0,\n  \"verb\": 0,\n  \"others\": {")
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n    \"record %06d\": {\"score\": %d.10, \"text\": \"nobody changes this\"}", i, i)
	}
	b.WriteString("\n  }\n}\n")
	return []byte(b.String())
}

// stressReport is what was found at the end.
type stressReport struct {
	Seed      uint64         `json:"seed"`
	Seconds   float64        `json:"seconds"`
	Acked     map[string]int `json:"acknowledged"` // by kind of process
	Unknown   int            `json:"unknown"`      // killed before the answer: at most once
	Kept      int            `json:"kept"`
	Lost      []string       `json:"lost"`
	Doubled   []string       `json:"doubled"`
	Kills     int            `json:"kills"`
	Reads     int            `json:"reads"`
	Torn      int            `json:"torn_reads"`
	Counters  []string       `json:"wrong_counters"`
	Others    bool           `json:"others_unchanged"`
	Errors    []string       `json:"errors"`
	PerSecond float64        `json:"operations_per_second"`
}

func (r *stressReport) print(a *app) (failed []string) {
	say := func(bad bool, format string, args ...any) {
		if bad {
			failed = append(failed, fmt.Sprintf(format, args...))
		}
	}
	say(len(r.Lost) > 0, "%s lost (%s)", count(len(r.Lost), "operation"), first(r.Lost))
	say(len(r.Doubled) > 0, "%s there twice (%s)", count(len(r.Doubled), "operation"), first(r.Doubled))
	say(r.Torn > 0, "%s of %d torn", count(r.Torn, "read"), r.Reads)
	say(len(r.Counters) > 0, "%s", strings.Join(r.Counters, ", "))
	say(!r.Others, "records that nobody touched were changed")
	say(len(r.Errors) > 0, "%s (%s)", count(len(r.Errors), "error"), first(r.Errors))
	if a.json {
		var o object
		o.add("ok", len(failed) == 0)
		o.add("report", r)
		a.println(o.String())
		return failed
	}
	if a.quiet {
		return failed
	}
	total := 0
	for _, kind := range stressKinds {
		a.printf("  %-10s %6d acknowledged\n", kind, r.Acked[kind])
		total += r.Acked[kind]
	}
	a.printf("  %-10s %6d kept, %d lost, %d twice, %d of unknown fate\n", "all", r.Kept, len(r.Lost), len(r.Doubled), r.Unknown)
	a.printf("  %-10s %6d of the observer, %d torn\n", "reads", r.Reads, r.Torn)
	if r.Kills > 0 {
		a.printf("  %-10s %6d\n", "kills", r.Kills)
	}
	a.printf("  %-10s %6.0f operations a second, %.1f s\n", "speed", r.PerSecond, r.Seconds)
	return failed
}

func first(list []string) string {
	const some = 3
	if len(list) > some {
		return strings.Join(list[:some], ", ") + ", …"
	}
	return strings.Join(list, ", ")
}

// recoverAll brings in what the killed left.
func (r *stressRun) recoverAll(ctx context.Context) error {
	g, err := r.a.guard(r.file)
	if err != nil {
		return err
	}
	defer g.Close()
	const patience = 2 * time.Minute
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	_, _, err = g.Recover(ctx, false)
	return err
}
