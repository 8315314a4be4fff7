package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sys/unix"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// single are measurements that run in a process of their own, so that its memory is theirs.
var single = map[string]func(args []string) int{"merge": mergeOnce, "pending": leavePending}

// turns is what measurements took that were made in turn.
type turns struct {
	seconds []float64 // medians
	ratios  []float64 // medians of what each took against the first in the same turn
	cpu     []float64 // the least processor time of each against that of the first: what else runs only adds to it
}

// times is turns without the processor time.
func (b *bench) times(before func() error, fs ...func() error) (seconds, ratios []float64, err error) {
	t, err := b.turns(before, fs...)
	return t.seconds, t.ratios, err
}

// turns runs each of fs b.runs times in turn, behind a warm-up, and begins with another one each time: what one leaves for the disk to do
// (blocks that were freed go with the next commit of the filesystem's journal) is not always the same one's. before prepares each
// turn, untimed.
func (b *bench) turns(before func() error, fs ...func() error) (turns, error) {
	took, cpu := make([][]float64, len(fs)), make([][]float64, len(fs))
	for run := range b.runs + 1 {
		for k := range fs {
			i := (k + run) % len(fs)
			f := fs[i]
			if before != nil {
				if err := before(); err != nil {
					return turns{}, err
				}
			}
			began, used := time.Now(), processorTime()
			if err := f(); err != nil {
				return turns{}, err
			}
			if run > 0 {
				took[i], cpu[i] = append(took[i], time.Since(began).Seconds()), append(cpu[i], (processorTime()-used).Seconds())
			}
		}
	}
	var t turns
	for i := range fs {
		t.seconds, t.ratios, t.cpu = append(t.seconds, median(took[i])), append(t.ratios, medianRatio(took[i], took[0])), append(t.cpu, slices.Min(cpu[i])/slices.Min(cpu[0]))
	}
	return t, nil
}

// processorTime is what this process has used, with the children that it waited for (getrusage(2)).
func processorTime() time.Duration {
	var sum int64
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var use unix.Rusage
		_ = unix.Getrusage(who, &use) // never fails with these
		sum += use.Utime.Nano() + use.Stime.Nano()
	}
	return time.Duration(sum)
}

// own is a measurement of jsonguard's, twice where it is to be at half its speed.
func (b *bench) own(f func() error) func() error {
	if !b.halved {
		return f
	}
	return func() error { return errors.Join(f(), f()) }
}

func medianRatio(a, b []float64) float64 {
	var all []float64
	for i := range a {
		all = append(all, a[i]/b[i])
	}
	return median(all)
}

func show(what string, seconds float64, bytes int) {
	rate := ""
	if bytes > 0 {
		rate = fmt.Sprintf("%8.2f GB/s", float64(bytes)/seconds/1e9)
	}
	fmt.Printf("  %-60s %10.1f ms %s\n", what, seconds*1e3, rate)
}

// rewrite is the floor of any change that readers see at once: read, write beside, fsync, rename, fsync.
func rewrite(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	f, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// floor is rewrite of a document that is there for it.
func (b *bench) floor(doc []byte) (rewriting func() error, remove func(), err error) {
	path := filepath.Join(b.work, "floor.json")
	return func() error { return rewrite(path) }, func() { _ = os.Remove(path) }, os.WriteFile(path, doc, 0o644)
}

func smallChange(b *bench) error {
	for _, megabytes := range b.sizes {
		if err := b.atLeastRuns(9, func() error { return b.smallChangeIn(megabytes) }); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) smallChangeIn(megabytes int) error {
	doc := document(megabytes)
	floor, remove, err := b.floor(doc)
	defer remove()
	if err != nil {
		return err
	}
	var paths [2]string // by verb, by library: each knows the version that it left
	for i := range paths {
		dir := filepath.Join(b.work, "small"+strconv.Itoa(i))
		defer os.RemoveAll(dir)
		paths[i] = filepath.Join(dir, "data.json")
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(paths[i], doc, 0o644)); err != nil {
			return err
		}
	}
	g, err := sidecar.Open(paths[1], sidecar.Options{})
	if err != nil {
		return err
	}
	defer g.Close()
	i := 0
	next := func() string { i++; return strconv.Itoa(i) }
	const place = "/records/r0000007/score"
	t, err := b.turns(nil, floor,
		b.own(func() error { return exec.Command(b.command, "set", paths[0], place, next()).Run() }),
		b.own(func() error {
			_, err := g.Apply(context.Background(), merge.Op{Kind: merge.OpSet, At: place, Value: merge.Raw(next())})
			return err
		}))
	if err != nil {
		return err
	}
	seconds, ratios := t.seconds, t.ratios
	for i, what := range []string{"floor: read, write, fsync, rename", "jsonguard set", "Guard.Apply"} {
		show(fmt.Sprintf("%s, %d MB", what, megabytes), seconds[i], len(doc))
	}
	if megabytes == slicesMax(b.sizes) {
		b.atMost(fmt.Sprintf("one small change, %d MB, by verb: to a raw rewrite", megabytes), ratios[1], 1.5)
		b.atMost(fmt.Sprintf("one small change, %d MB, by library: to a raw rewrite", megabytes), ratios[2], 1.5)
		b.guardAtMost(fmt.Sprintf("one small change, %d MB, by verb: processor time to a raw rewrite", megabytes), t.cpu[1], 8)
		b.guardAtMost(fmt.Sprintf("one small change, %d MB, by library: processor time to a raw rewrite", megabytes), t.cpu[2], 1.8)
	}
	return nil
}

// restyled writes every line anew, as a program with another indentation does.
func restyled(doc []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(doc, []byte("\n    "), []byte("\n        ")), []byte("\n  "), []byte("\n    "))
}

func fullMerge(b *bench) error {
	for _, megabytes := range b.sizes {
		doc := document(megabytes)
		ours := bytes.Replace(doc, []byte(`"r0000011": {`), []byte(`"r0000011": { "mine": 1,`), 1)
		theirs := bytes.Replace(doc, []byte(`"r0000017": {`), []byte(`"r0000017": { "theirs": 1,`), 1)
		for _, style := range []struct {
			name         string
			ours         []byte
			asked, guard float64
		}{{"same style", ours, 3, 13}, {"every line restyled", restyled(ours), 4.5, 18}} {
			m, err := b.mergeApart(doc, style.ours, theirs)
			if err != nil {
				return err
			}
			floor, seconds, ratio, memory := m.floor, m.seconds, m.ratio, m.memory
			show(fmt.Sprintf("floor: read, write, fsync, rename, %d MB", megabytes), floor, len(doc))
			show(fmt.Sprintf("three-way merge and publication, %d MB, %s", megabytes, style.name), seconds, len(doc))
			memory /= float64(len(doc))
			fmt.Printf("  %-60s %10.2f × the document\n", "its anonymous memory", memory)
			if megabytes == slicesMax(b.sizes) {
				b.atMost(fmt.Sprintf("full merge, %d MB, %s: to a raw rewrite", megabytes, style.name), ratio, style.asked)
				b.guardAtMost(fmt.Sprintf("full merge, %d MB, %s: processor time to a raw rewrite", megabytes, style.name), m.cpu, style.guard)
				if megabytes >= 100 { // the runtime itself takes some MB
					b.atMost(fmt.Sprintf("full merge, %d MB, %s: anonymous memory to the document", megabytes, style.name), memory, 2.5)
				}
			}
		}
	}
	return nil
}

// mergedApart are medians, of ratios those of each turn; cpu is as in turns.
type mergedApart struct{ floor, seconds, ratio, cpu, memory float64 }

// mergeApart merges in a process of its own, in turn with the floor.
func (b *bench) mergeApart(base, ours, theirs []byte) (merged mergedApart, err error) {
	rewriting, remove, err := b.floor(base)
	defer remove()
	dir := filepath.Join(b.work, "merge")
	defer os.RemoveAll(dir)
	err = errors.Join(err, os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "base"), base, 0o644), os.WriteFile(filepath.Join(dir, "ours"), ours, 0o644))
	if err != nil {
		return merged, err
	}
	var floors, all, memories, floorCPU, cpu []float64
	for run := range b.runs + 1 {
		began, used := time.Now(), processorTime()
		if err := rewriting(); err != nil {
			return merged, err
		}
		f, fc := time.Since(began).Seconds(), (processorTime() - used).Seconds()
		if err := os.WriteFile(filepath.Join(dir, "data.json"), theirs, 0o644); err != nil {
			return merged, err
		}
		used = processorTime()
		cmd := exec.Command(b.self, dir)
		cmd.Env = append(os.Environ(), "BENCH_ROLE=merge")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return merged, err
		}
		var s, m float64
		if _, err := fmt.Sscan(string(out), &s, &m); err != nil {
			return merged, err
		}
		c := (processorTime() - used).Seconds()
		if b.halved {
			s, c = 2*s, 2*c
		}
		if run > 0 {
			floorCPU, cpu = append(floorCPU, fc), append(cpu, c)
			floors, all, memories = append(floors, f), append(all, s), append(memories, m)
		}
	}
	return mergedApart{median(floors), median(all), medianRatio(all, floors), slices.Min(cpu) / slices.Min(floorCPU), median(memories)}, nil
}

// mergeOnce is what a supervisor does at the end of a runner: read base and ours, and import the change.
func mergeOnce(args []string) int {
	peak := watchMemory()
	began := time.Now()
	base, err := os.ReadFile(filepath.Join(args[0], "base"))
	if err != nil {
		return report(err)
	}
	ours, err := os.ReadFile(filepath.Join(args[0], "ours"))
	if err != nil {
		return report(err)
	}
	g, err := sidecar.Open(filepath.Join(args[0], "data.json"), sidecar.Options{})
	if err != nil {
		return report(err)
	}
	result, err := g.Import(context.Background(), base, ours)
	if err != nil {
		return report(err)
	}
	if !result.Changed {
		return report(errors.New("the merge changed nothing"))
	}
	seconds := time.Since(began).Seconds()
	fmt.Println(seconds, peak())
	return 0
}

// watchMemory samples RssAnon (proc_pid_status(5)); the result is its peak in bytes.
func watchMemory() func() float64 {
	stop, gone := make(chan struct{}), make(chan float64)
	go func() {
		var peak float64
		for {
			status, _ := os.ReadFile("/proc/self/status")
			if _, rest, ok := strings.Cut(string(status), "RssAnon:"); ok {
				var kb float64
				if _, err := fmt.Sscan(rest, &kb); err == nil {
					peak = max(peak, kb*1024)
				}
			}
			select {
			case <-stop:
				gone <- peak
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() float64 { close(stop); return <-gone }
}

func validate(b *bench) error {
	return b.atLeastRuns(15, func() error { return b.validate() })
}

func (b *bench) validate() error {
	doc := document(slicesMax(b.sizes))
	there := make([]byte, len(doc))
	t, err := b.turns(nil,
		b.own(func() error { return merge.Valid(doc, merge.JSON) }),
		func() error {
			d := jsontext.NewDecoder(bytes.NewBuffer(doc), jsontext.AllowDuplicateNames(true))
			if _, err := d.ReadValue(); err != nil {
				return err
			}
			_, err := d.ReadToken()
			if !errors.Is(err, io.EOF) {
				return fmt.Errorf("after the document: %w", err)
			}
			return nil
		},
		func() error { copy(there, doc); return nil })
	if err != nil {
		return err
	}
	seconds, ratios := t.seconds, t.ratios
	for i, what := range []string{"merge.Valid", "jsontext ReadValue", "floor: memcpy"} {
		show(what, seconds[i], len(doc))
	}
	b.atLeast("validation: to the fastest Go validator beside it (jsontext)", ratios[1], 0.9)
	b.guardAtLeast("validation: to jsontext, processor time", t.cpu[1], 0.85)
	b.figures = append(b.figures, figure{what: "validation, one core", unit: "GB/s", asked: 1, measured: float64(len(doc)) / seconds[0] / 1e9})
	return nil
}

func slicesMax(list []int) int {
	most := list[0]
	for _, n := range list {
		most = max(most, n)
	}
	return most
}
