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
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// single are measurements that run in a process of their own, so that its memory is theirs.
var single = map[string]func(args []string) int{"merge": mergeOnce, "pending": leavePending}

// times runs each of fs b.runs times in turn, behind a warm-up, and returns their medians, in seconds, and the medians of
// what each took against the first in the same turn. before prepares each turn, untimed.
func (b *bench) times(before func() error, fs ...func() error) (seconds, ratios []float64, err error) {
	took := make([][]float64, len(fs))
	for run := range b.runs + 1 {
		for i, f := range fs {
			if before != nil {
				if err := before(); err != nil {
					return nil, nil, err
				}
			}
			began := time.Now()
			if err := f(); err != nil {
				return nil, nil, err
			}
			if run > 0 {
				took[i] = append(took[i], time.Since(began).Seconds())
			}
		}
	}
	for _, t := range took {
		seconds, ratios = append(seconds, median(t)), append(ratios, medianRatio(t, took[0]))
	}
	return seconds, ratios, nil
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
		if err := b.smallChangeIn(megabytes); err != nil {
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
	seconds, ratios, err := b.times(nil, floor,
		func() error { return exec.Command(b.command, "set", paths[0], place, next()).Run() },
		func() error {
			_, err := g.Apply(context.Background(), merge.Op{Kind: merge.OpSet, At: place, Value: merge.Raw(next())})
			return err
		})
	if err != nil {
		return err
	}
	for i, what := range []string{"floor: read, write, fsync, rename", "jsonguard set", "Guard.Apply"} {
		show(fmt.Sprintf("%s, %d MB", what, megabytes), seconds[i], len(doc))
	}
	if megabytes == slicesMax(b.sizes) {
		b.atMost(fmt.Sprintf("one small change, %d MB, by verb: to a raw rewrite", megabytes), ratios[1], 1.5, 5)
		b.atMost(fmt.Sprintf("one small change, %d MB, by library: to a raw rewrite", megabytes), ratios[2], 1.5, 3)
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
		}{{"same style", ours, 3, 12}, {"every line restyled", restyled(ours), 4.5, 20}} {
			floor, seconds, ratio, memory, err := b.mergeApart(doc, style.ours, theirs)
			if err != nil {
				return err
			}
			show(fmt.Sprintf("floor: read, write, fsync, rename, %d MB", megabytes), floor, len(doc))
			show(fmt.Sprintf("three-way merge and publication, %d MB, %s", megabytes, style.name), seconds, len(doc))
			memory /= float64(len(doc))
			fmt.Printf("  %-60s %10.2f × the document\n", "its anonymous memory", memory)
			if megabytes == slicesMax(b.sizes) {
				b.atMost(fmt.Sprintf("full merge, %d MB, %s: to a raw rewrite", megabytes, style.name), ratio, style.asked, style.guard)
				if megabytes >= 100 { // the runtime itself takes some MB
					b.atMost(fmt.Sprintf("full merge, %d MB, %s: anonymous memory to the document", megabytes, style.name), memory, 2.5, 0)
				}
			}
		}
	}
	return nil
}

// mergeApart merges in a process of its own, in turn with the floor.
func (b *bench) mergeApart(base, ours, theirs []byte) (floor, seconds, ratio, memory float64, err error) {
	rewriting, remove, err := b.floor(base)
	defer remove()
	dir := filepath.Join(b.work, "merge")
	defer os.RemoveAll(dir)
	err = errors.Join(err, os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "base"), base, 0o644), os.WriteFile(filepath.Join(dir, "ours"), ours, 0o644))
	if err != nil {
		return 0, 0, 0, 0, err
	}
	var floors, all, memories []float64
	for run := range b.runs + 1 {
		began := time.Now()
		if err := rewriting(); err != nil {
			return 0, 0, 0, 0, err
		}
		f := time.Since(began).Seconds()
		if err := os.WriteFile(filepath.Join(dir, "data.json"), theirs, 0o644); err != nil {
			return 0, 0, 0, 0, err
		}
		cmd := exec.Command(b.self, dir)
		cmd.Env = append(os.Environ(), "BENCH_ROLE=merge")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return 0, 0, 0, 0, err
		}
		var s, m float64
		if _, err := fmt.Sscan(string(out), &s, &m); err != nil {
			return 0, 0, 0, 0, err
		}
		if run > 0 {
			floors, all, memories = append(floors, f), append(all, s), append(memories, m)
		}
	}
	return median(floors), median(all), medianRatio(all, floors), median(memories), nil
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
	doc := document(slicesMax(b.sizes))
	there := make([]byte, len(doc))
	seconds, ratios, err := b.times(nil,
		func() error { return merge.Valid(doc, merge.JSON) },
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
	for i, what := range []string{"merge.Valid", "jsontext ReadValue", "floor: memcpy"} {
		show(what, seconds[i], len(doc))
	}
	b.atLeast("validation: to the fastest Go validator beside it (jsontext)", ratios[1], 0.9, 0.45)
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
