package sidecar

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"jsonguard/merge"
)

// Folds that keep what they replace: stopped anywhere, no version is lost that a kill alone cannot lose, and none is wrong.
func init() {
	scripts = append(scripts,
		&script{name: "history", target: "a.json", content: document, options: Options{History: &History{Keep: 100}}, run: func(w *world) {
			g := w.open()
			check(w.apply(g, 0))
			check(w.apply(g, 1, 2))
			check(w.journal(g, 3))
			h := w.open()
			check(w.update(h, 4))
			check(h.Close())
			check(w.apply(g, 5))
			w.killAtRename(func() error { return w.apply(g, 6) })
			w.kill()
			check(w.apply(w.open(), 7))
		}},
		&script{name: "history makes the file", target: "a.json", options: Options{History: &History{Keep: 100}}, run: func(w *world) {
			g := w.open()
			check(w.apply(g, 0))
			check(w.journal(g, 1))
			check(w.flush(g))
			check(g.Close())
		}},
		&script{name: "history pruned", target: "a.json", content: document, options: Options{History: &History{Keep: 2}}, run: func(w *world) {
			for i := range 6 {
				g := w.open()
				check(w.apply(g, i))
				check(g.Close())
			}
		}},
		&script{name: "history of lines", target: "a.jsonl", content: lines, options: Options{History: &History{Keep: 100}}, run: func(w *world) {
			g := w.open()
			check(w.apply(g, 0))
			check(w.apply(g, 1, 2))
			check(w.update(g, 3))
			check(w.apply(g, 4))
			w.kill()
			check(w.apply(w.open(), 5))
		}},
		&script{name: "history-of-a-mount-point", target: "a.json", content: document, fault: busy, options: Options{History: &History{Keep: 100}}, run: func(w *world) {
			g := w.open()
			check(w.apply(g, 0))
			check(w.apply(g, 1))
			check(g.Close())
		}},
		&script{name: "restore", target: "a.json", content: document, changes: true, options: Options{History: &History{Keep: 100}}, run: func(w *world) {
			g := w.open()
			check(w.apply(g, 0))
			check(w.apply(g, 1))
			w.restore(g, 1<<0, 1<<1)
			check(w.apply(g, 2))
			w.restore(g, 1<<0|1<<1, 1<<2)
			check(w.apply(g, 3))
		}},
	)
}

// restore brings back the version with these changes, and without those.
func (w *world) restore(g *Guard, with, without uint64) {
	versions := must(g.History(context.Background()))
	for _, v := range versions {
		content, err := g.Content(context.Background(), v)
		if errors.Is(err, ErrNoVersion) {
			continue
		}
		check(err)
		if w.changesIn(content) != with {
			continue
		}
		w.acked &^= without
		_, err = g.Restore(context.Background(), v, "")
		check(err)
		w.acked |= with
		w.observe()
		return
	}
	if !w.unkept {
		check(fmt.Errorf("no version has the changes %b: %+v", with, versions))
	}
}

// changesIn is the set of the changes in a version.
func (w *world) changesIn(content []byte) (set uint64) {
	counts, err := w.countsIn(content)
	check(err)
	for i := range counts {
		set |= 1 << i
	}
	return set
}

// observe remembers what readers see now.
func (w *world) observe() {
	if w.script.options.History == nil {
		return
	}
	raw, err := readFile(must(w.mem.OpenDir(home)), w.script.target)
	if err == nil && !slices.Contains(w.observed, string(raw)) {
		w.observed = append(slices.Clip(w.observed), string(raw))
	}
}

// verifyHistory: whatever is listed as a version is one, and after a kill none is missing that is within the bounds.
func (w *world) verifyHistory(powerCut bool) error {
	g := w.open()
	defer g.Close()
	versions, err := g.History(context.Background())
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	var contents []string
	before := map[int]int{}
	for i, v := range versions {
		if v.Missing {
			continue
		}
		content, err := g.Content(context.Background(), v)
		if errors.Is(err, ErrNoVersion) && powerCut {
			continue
		}
		if err != nil {
			return fmt.Errorf("version %d of %d, %+v: %w", i, len(versions), v, err)
		}
		if err := merge.Valid(content, g.format); err != nil {
			return fmt.Errorf("version %+v: %w", v, err)
		}
		counts, err := w.countsIn(content)
		if err != nil {
			return fmt.Errorf("version %+v: %w", v, err)
		}
		for change, n := range before {
			if counts[change] != n && !w.script.changes {
				return fmt.Errorf("version %+v has change %d %d times, the one before %d times", v, change, counts[change], n)
			}
		}
		if before = counts; len(contents) > 0 && contents[len(contents)-1] == string(content) && !powerCut {
			return fmt.Errorf("version %+v is the one before again", v)
		}
		contents = append(contents, string(content))
	}
	keep := w.script.options.History.Keep
	if len(versions) > keep+1 {
		return fmt.Errorf("%d versions are listed, %d are to be kept", len(versions), keep)
	}
	if powerCut || w.unkept {
		return nil
	}
	const lastOnes = 2 // the recovery may have replaced one, and a change may have come with it
	for i, seen := range w.observed {
		if !slices.Contains(contents, seen) && (keep > len(w.observed) || i >= len(w.observed)+lastOnes-1-keep) {
			return fmt.Errorf("the target was %q, which is no version: %q", seen, contents)
		}
	}
	return nil
}
