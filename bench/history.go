package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// history: what keeping the version that is replaced adds to a fold. The folds with and without it take turns; both have
// a commit record, and what is pruned is in the time.
func history(b *bench) error {
	const megabytes, each = 1, 12
	blocks := 100
	if b.check {
		blocks = 40
	}
	doc := document(megabytes)
	var guards [2]*sidecar.Guard
	for i, o := range []sidecar.Options{{}, {History: &sidecar.History{Keep: 50}}} {
		dir := filepath.Join(b.work, "history"+strconv.Itoa(i))
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "data.json")
		if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(path, doc, 0o644)); err != nil {
			return err
		}
		g, err := sidecar.Open(path, o)
		if err != nil {
			return err
		}
		defer g.Close()
		// A sidecar makes the guard directory, without which a lone change needs no record.
		if err := g.Journal(context.Background(), merge.Op{Kind: merge.OpSet, At: "/warm", Value: merge.Raw("1")}); err != nil {
			return err
		}
		guards[i] = g
	}
	n := 0
	fold := func(g *sidecar.Guard) (time.Duration, error) {
		n++
		began := time.Now()
		_, err := g.Apply(context.Background(), merge.Op{Kind: merge.OpSet, At: "/records/r0000007/score", Value: merge.Raw(strconv.Itoa(n))})
		return time.Since(began), err
	}
	var ratios, without, with []float64
	for block := range blocks + 4 { // the first ones fill the history, so that it is pruned
		var sums [2]time.Duration
		for k := range each {
			for i := range guards {
				i = (i + k) % 2
				folds := 1
				if b.halved && i == 1 {
					folds = 2
				}
				for range folds {
					took, err := fold(guards[i])
					if err != nil {
						return err
					}
					sums[i] += took
				}
			}
		}
		if block < 4 {
			continue
		}
		without = append(without, sums[0].Seconds()/each)
		with = append(with, sums[1].Seconds()/each)
		ratios = append(ratios, sums[1].Seconds()/sums[0].Seconds())
	}
	show(fmt.Sprintf("a fold, %d MB", megabytes), median(without), len(doc))
	show(fmt.Sprintf("a fold that keeps what it replaces, %d MB", megabytes), median(with), len(doc))
	fmt.Printf("  %-60s %10.3f\n", "the fastest blocks, to each other", slices.Min(with)/slices.Min(without))
	b.atMost(fmt.Sprintf("a fold that keeps the version it replaces, %d MB: to one that does not", megabytes), median(ratios), 1.05)
	b.guardAtMost("a fold that keeps the version it replaces: to one that does not", median(ratios), 1.5)
	return nil
}
