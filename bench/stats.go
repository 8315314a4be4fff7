package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"jsonguard/merge"
)

// stats: a group-by over a large file, on one processor, by the processor time that the command takes: start and reading of
// the file included.
func stats(b *bench) error {
	path, doc := filepath.Join(b.work, "stats.json"), document(slicesMax(b.sizes))
	if err := os.WriteFile(path, doc, 0o644); err != nil {
		return err
	}
	defer os.Remove(path)
	var took []float64
	t, err := b.turns(nil, func() error { return merge.Valid(doc, merge.JSON) }, b.own(func() error {
		cmd := exec.Command(b.command, "stats", path, "--records", "/records/*", "--by", "ok", "--agg", "mean:score,count")
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("stats: %w: %s", err, out)
		}
		took = append(took, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
		return nil
	}))
	if err != nil {
		return err
	}
	seconds := median(took[1:])
	show("jsonguard stats, processor time", seconds, len(doc))
	b.figures = append(b.figures, figure{what: "stats: mean and count by a field, one core", unit: "GB/s", asked: 0.5, measured: float64(len(doc)) / seconds / 1e9})
	b.guardAtMost("stats: processor time to validation", t.cpu[1], 6)
	return nil
}
