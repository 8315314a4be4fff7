package main

import (
	"os"
	"os/exec"
	"path/filepath"
)

// over is what a command takes longer than another one, in ms, and how much more processor time it takes: they run in turn,
// often.
func (b *bench) over(bare, with *exec.Cmd) (ms, cpu float64, err error) {
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
	t, err := b.turns(nil, again(bare), b.own(again(with)))
	if err != nil {
		return 0, 0, err
	}
	show("floor: "+filepath.Base(bare.Path), t.seconds[0], 0)
	show("jsonguard "+with.Args[1], t.seconds[1], 0)
	return (t.seconds[1] - t.seconds[0]) * 1e3, t.cpu[1], nil
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
	ms, cpu, err := b.over(exec.Command(bare), exec.Command(b.command, "get", path, "/a"))
	if err != nil {
		return err
	}
	b.figures = append(b.figures, figure{what: "start of a verb: over a Go program that does nothing", unit: "ms", asked: 1, atMost: true, measured: ms})
	b.guardAtMost("start of a verb: processor time to a Go program that does nothing", cpu, 3.3)
	return nil
}
