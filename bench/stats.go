package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	for range b.runs + 1 {
		cmd := exec.Command(b.command, "stats", path, "--records", "/records/*", "--by", "ok", "--agg", "mean:score,count")
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("stats: %w: %s", err, out)
		}
		took = append(took, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	}
	seconds := median(took[1:])
	show("jsonguard stats, processor time", seconds, len(doc))
	b.figures = append(b.figures, figure{what: "stats: mean and count by a field, one core", unit: "GB/s", asked: 0.5, guard: 0.2, measured: float64(len(doc)) / seconds / 1e9})
	return nil
}
