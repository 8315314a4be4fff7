package main

import (
	"os"
	"os/exec"
	"path/filepath"
)

// over is what a command takes longer than another one, in ms: they run in turn, often.
func (b *bench) over(bare, with *exec.Cmd) (float64, error) {
	runs := b.runs
	b.runs = max(40, runs)
	defer func() { b.runs = runs }()
	again := func(cmd *exec.Cmd) func() error {
		return func() error {
			one := exec.Command(cmd.Path, cmd.Args[1:]...)
			one.Dir = cmd.Dir
			return one.Run()
		}
	}
	seconds, _, err := b.times(nil, again(bare), again(with))
	if err != nil {
		return 0, err
	}
	show("floor: "+filepath.Base(bare.Path), seconds[0], 0)
	show("jsonguard "+with.Args[1], seconds[1], 0)
	return (seconds[1] - seconds[0]) * 1e3, nil
}

// start: what a verb costs before it does anything, over a Go program that does nothing.
func start(b *bench) error {
	bare, src, path := filepath.Join(b.work, "bare"), filepath.Join(b.work, "bare.go"), filepath.Join(b.work, "start.json")
	if err := os.WriteFile(src, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		return err
	}
	if err := build(b.work, bare, src); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte("{\"a\": 1}\n"), 0o644); err != nil {
		return err
	}
	ms, err := b.over(exec.Command(bare), exec.Command(b.command, "get", path, "/a"))
	if err != nil {
		return err
	}
	b.figures = append(b.figures, figure{what: "start of a verb: over a Go program that does nothing", unit: "ms", asked: 1, atMost: true, guard: 3, measured: ms})
	return nil
}
