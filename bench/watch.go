package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// watching: the processor time that watch takes while nothing happens, of what passes. What it takes to begin (to start, and
// to read the file) is in a short run as well as in a long one, and their difference counts. Once the version is one that a
// fold left, with versions kept, and once an outsider made it, which no record describes.
func watching(b *bench) error {
	if b.halved {
		b.skip("watch", "its bound is for a poll that reads the file each time, and half the speed keeps it")
		return nil
	}
	dir := filepath.Join(b.work, "watch")
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "data.json")
	write := func(name string, content []byte) error { return os.WriteFile(filepath.Join(dir, name), content, 0o644) }
	doc := document(slicesMax(b.sizes))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := write("data.json", doc); err != nil {
		return err
	}
	if err := write("jsonguard.json", []byte(`{"history": {}}`)); err != nil {
		return err
	}
	for range 5 {
		if out, err := exec.Command(b.command, "incr", path, "/n").CombinedOutput(); err != nil {
			return fmt.Errorf("incr: %w: %s", err, out)
		}
	}
	idle := func(what string) error {
		percent, err := b.idle(path)
		if err != nil {
			return err
		}
		b.figures = append(b.figures, figure{what: "watch while nothing happens, " + what + ": of one processor", unit: "%", asked: 1, atMost: true, measured: percent})
		if b.check { // far from what is usual: a poll that reads the file each time
			b.figures = append(b.figures, figure{what: "watch while nothing happens, " + what, unit: "%", asked: 5, atMost: true, guard: true, measured: percent})
		}
		return nil
	}
	if err := idle("a version of a fold"); err != nil {
		return err
	}
	if err := write("data.json", doc); err != nil {
		return err
	}
	return idle("a version of an outsider")
}

// idle is the share of one processor, in percent.
func (b *bench) idle(path string) (float64, error) {
	const short, long = 2 * time.Second, 10 * time.Second
	used := func(d time.Duration) (time.Duration, error) {
		cmd := exec.Command(b.command, "watch", path, "--records", "/records/*", "--for", d.String())
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("watch: %w: %s", err, out)
		}
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
	}
	begin, err := used(short)
	if err != nil {
		return 0, err
	}
	all, err := used(long)
	return 100 * max(0, all-begin).Seconds() / (long - short).Seconds(), err
}
