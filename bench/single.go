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
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// single are measurements that run in a process of their own, so that its memory is theirs.
var single = map[string]func(args []string) int{"merge": mergeOnce, "pending": leavePending}

// times runs f b.runs times behind a warm-up and returns the median, in seconds. before prepares each run untimed.
func (b *bench) times(before func() error, f func() error) (float64, error) {
	var all []float64
	for run := range b.runs + 1 {
		if before != nil {
			if err := before(); err != nil {
				return 0, err
			}
		}
		began := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		if run > 0 {
			all = append(all, time.Since(began).Seconds())
		}
	}
	return median(all), nil
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

// floor measures rewrite on a document that was just written.
func (b *bench) floor(doc []byte) (float64, error) {
	path := filepath.Join(b.work, "floor.json")
	if err := os.WriteFile(path, doc, 0o644); err != nil {
		return 0, err
	}
	defer os.Remove(path)
	return b.times(nil, func() error { return rewrite(path) })
}

func smallChange(b *bench) error {
	for _, megabytes := range b.sizes {
		doc := document(megabytes)
		floor, err := b.floor(doc)
		if err != nil {
			return err
		}
		show(fmt.Sprintf("floor: read, write, fsync, rename, %d MB", megabytes), floor, len(doc))
		dir := filepath.Join(b.work, "small")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		path := filepath.Join(dir, "data.json")
		if err := os.WriteFile(path, doc, 0o644); err != nil {
			return err
		}
		i := 0
		verb, err := b.times(nil, func() error {
			i++
			return exec.Command(b.command, "set", path, "/records/r0000007/score", strconv.Itoa(i)).Run()
		})
		if err != nil {
			return err
		}
		show(fmt.Sprintf("jsonguard set, %d MB", megabytes), verb, len(doc))
		g, err := sidecar.Open(path, sidecar.Options{})
		if err != nil {
			return err
		}
		library, err := b.times(nil, func() error {
			i++
			_, err := g.Apply(context.Background(), merge.Op{Kind: merge.OpSet, At: "/records/r0000007/score", Value: merge.Raw(strconv.Itoa(i))})
			return err
		})
		if err = errors.Join(err, g.Close(), os.RemoveAll(dir)); err != nil {
			return err
		}
		show(fmt.Sprintf("Guard.Apply, %d MB", megabytes), library, len(doc))
		if megabytes == 100 {
			b.promise("small change by verb : raw rewrite, 100 MB", verb/floor, 1.5, true)
			b.promise("small change by library : raw rewrite, 100 MB", library/floor, 1.5, true)
		}
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
		floor, err := b.floor(doc)
		if err != nil {
			return err
		}
		show(fmt.Sprintf("floor: read, write, fsync, rename, %d MB", megabytes), floor, len(doc))
		ours := bytes.Replace(doc, []byte(`"r0000011": {`), []byte(`"r0000011": { "mine": 1,`), 1)
		theirs := bytes.Replace(doc, []byte(`"r0000017": {`), []byte(`"r0000017": { "theirs": 1,`), 1)
		for _, style := range []struct {
			name  string
			ours  []byte
			bound float64
		}{{"same style", ours, 3}, {"every line restyled", restyled(ours), 4.5}} {
			seconds, memory, err := b.mergeApart(doc, style.ours, theirs)
			if err != nil {
				return err
			}
			show(fmt.Sprintf("three-way merge and publication, %d MB, %s", megabytes, style.name), seconds, len(doc))
			fmt.Printf("  %-60s %10.2f × the document\n", "its anonymous memory", memory/float64(len(doc)))
			if megabytes == 100 {
				b.promise("full merge ("+style.name+") : raw rewrite, 100 MB", seconds/floor, style.bound, true)
				b.promise("anonymous memory of it ("+style.name+") : document", memory/float64(len(doc)), 2.5, true)
			}
		}
	}
	return nil
}

func (b *bench) mergeApart(base, ours, theirs []byte) (seconds, memory float64, err error) {
	dir := filepath.Join(b.work, "merge")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	for name, content := range map[string][]byte{"base": base, "ours": ours} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return 0, 0, err
		}
	}
	var all, memories []float64
	for range b.runs {
		if err := os.WriteFile(filepath.Join(dir, "data.json"), theirs, 0o644); err != nil {
			return 0, 0, err
		}
		cmd := exec.Command(b.self, dir)
		cmd.Env = append(os.Environ(), "BENCH_ROLE=merge")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return 0, 0, err
		}
		var s, m float64
		if _, err := fmt.Sscan(string(out), &s, &m); err != nil {
			return 0, 0, err
		}
		all, memories = append(all, s), append(memories, m)
	}
	return median(all), median(memories), nil
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
	floor, err := b.times(nil, func() error { copy(make([]byte, len(doc)), doc); return nil })
	if err != nil {
		return err
	}
	show("floor: memcpy", floor, len(doc))
	ours, err := b.times(nil, func() error { return merge.Valid(doc, merge.JSON) })
	if err != nil {
		return err
	}
	show("merge.Valid", ours, len(doc))
	peer, err := b.times(nil, func() error {
		d := jsontext.NewDecoder(bytes.NewBuffer(doc), jsontext.AllowDuplicateNames(true))
		if _, err := d.ReadValue(); err != nil {
			return err
		}
		_, err := d.ReadToken()
		if !errors.Is(err, io.EOF) {
			return fmt.Errorf("after the document: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	show("jsontext ReadValue", peer, len(doc))
	b.promise("validation : jsontext", peer/ours, 0.9, false)
	return nil
}

func slicesMax(list []int) int {
	most := list[0]
	for _, n := range list {
		most = max(most, n)
	}
	return most
}

// recovery: what dead processes left. It is made in memory, where an fsync costs nothing, and then copied here.
func recovery(b *bench) error {
	const owners, each = 1000, 1000
	made, err := b.madePending(owners, each)
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	var here string
	copied := func() error {
		here = filepath.Join(b.work, "recover")
		if err := os.RemoveAll(here); err != nil {
			return err
		}
		return exec.Command("cp", "-r", made, here).Run()
	}
	defer func() { _ = os.RemoveAll(here) }()
	size := 0
	floor, err := b.times(copied, func() error {
		size = 0
		files, err := filepath.Glob(filepath.Join(here, ".data.json.guard", "pending", "*"))
		for _, f := range files {
			content, rerr := os.ReadFile(f)
			err = errors.Join(err, rerr)
			size += len(content)
		}
		return errors.Join(err, rewrite(filepath.Join(here, "data.json")))
	})
	if err != nil {
		return err
	}
	show(fmt.Sprintf("floor: read %d sidecars, one rewrite", owners), floor, size)
	seconds, err := b.times(copied, func() error { return exec.Command(b.command, "recover", filepath.Join(here, "data.json")).Run() })
	if err != nil {
		return err
	}
	show(fmt.Sprintf("jsonguard recover, %d changes", owners*each), seconds, size)
	b.promise("recovery of 1,000,000 changes : reading them + one rewrite", seconds/floor, 3, true)
	return nil
}

// madePending is a directory in memory with a document of 1 MB and what dead processes left for it.
func (b *bench) madePending(owners, each int) (string, error) {
	made, err := os.MkdirTemp("/dev/shm", "jsonguard-bench-")
	if err != nil {
		return "", err
	}
	err = os.WriteFile(filepath.Join(made, "data.json"), document(1), 0o644)
	if err == nil {
		cmd := exec.Command(b.self, made, strconv.Itoa(owners), strconv.Itoa(each))
		cmd.Env = append(os.Environ(), "BENCH_ROLE=pending")
		cmd.Stderr = os.Stderr
		err = cmd.Run()
	}
	if err != nil {
		_ = os.RemoveAll(made)
	}
	return made, err
}

// leavePending makes sidecars and dies without folding them.
func leavePending(args []string) int {
	owners, _ := strconv.Atoi(args[1])
	each, _ := strconv.Atoi(args[2])
	path := filepath.Join(args[0], "data.json")
	hold, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return report(err)
	}
	if err := flock(hold); err != nil { // so that nobody folds meanwhile
		return report(err)
	}
	for owner := range owners {
		g, err := sidecar.Open(path, sidecar.Options{Timeout: -1})
		if err != nil {
			return report(err)
		}
		for i := range each {
			op := merge.Op{Kind: merge.OpSet, At: fmt.Sprintf("/added/w%d-%d", owner, i), Value: merge.Raw(strconv.Itoa(i))}
			if err := g.Journal(context.Background(), op); err != nil {
				return report(err)
			}
		}
		runtime.KeepAlive(g)
	}
	return 0
}

// growth shows how the time of one fold grows with the document, the pending changes and the sidecars.
func growth(b *bench) error {
	picture := b.chart("Time of one small change", "MB", "ms")
	for _, megabytes := range b.sizes {
		dir := filepath.Join(b.work, "growth")
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		path := filepath.Join(dir, "data.json")
		if err := os.WriteFile(path, document(megabytes), 0o644); err != nil {
			return err
		}
		i := 0
		seconds, err := b.times(nil, func() error {
			i++
			return exec.Command(b.command, "set", path, "/added/x", strconv.Itoa(i)).Run()
		})
		if err != nil {
			return err
		}
		picture.add("jsonguard set", float64(megabytes), seconds*1e3)
		show(fmt.Sprintf("one change, document of %d MB", megabytes), seconds, 0)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	for _, shape := range [][2]int{{1, 1000}, {1, 10_000}, {1, 100_000}, {10, 1000}, {100, 100}, {1000, 10}} {
		seconds, err := b.recoverTime(shape[0], shape[1])
		if err != nil {
			return err
		}
		show(fmt.Sprintf("fold of %d sidecars with %d changes each, 1 MB", shape[0], shape[1]), seconds, 0)
	}
	return nil
}

func (b *bench) recoverTime(owners, each int) (float64, error) {
	made, err := b.madePending(owners, each)
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(made)
	here := filepath.Join(b.work, "recover")
	defer os.RemoveAll(here)
	return b.times(func() error {
		if err := os.RemoveAll(here); err != nil {
			return err
		}
		return exec.Command("cp", "-r", made, here).Run()
	}, func() error { return exec.Command(b.command, "recover", filepath.Join(here, "data.json")).Run() })
}

// start: what a verb costs before it does anything.
func start(b *bench) error {
	bare := filepath.Join(b.work, "bare")
	src := filepath.Join(b.work, "bare.go")
	if err := os.WriteFile(src, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		return err
	}
	if err := build(b.work, bare, src); err != nil {
		return err
	}
	path := filepath.Join(b.work, "start.json")
	if err := os.WriteFile(path, []byte("{\"a\": 1}\n"), 0o644); err != nil {
		return err
	}
	runs := b.runs
	b.runs = max(40, runs)
	defer func() { b.runs = runs }()
	var floor, get []float64
	for range b.runs { // in turn, so that both see the same machine
		for _, m := range []struct {
			into *[]float64
			cmd  *exec.Cmd
		}{{&floor, exec.Command(bare)}, {&get, exec.Command(b.command, "get", path, "/a")}} {
			began := time.Now()
			if err := m.cmd.Run(); err != nil {
				return err
			}
			*m.into = append(*m.into, time.Since(began).Seconds())
		}
	}
	show("floor: a Go program that does nothing", median(floor), 0)
	show("jsonguard get", median(get), 0)
	over := (median(get) - median(floor)) * 1e3
	fmt.Printf("  %-60s %10.2f ms (promised: at most 1)\n", "difference", over)
	return nil
}
