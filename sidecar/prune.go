package sidecar

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"time"

	"jsonguard/internal/vfs"
)

// dueBetween says whether versions are to be looked through once the generation has gone from one number to another. A
// fold in eight of what is kept is one, whoever folds: listing the directory at each would cost more than keeping.
func (h *History) dueBetween(from, to uint64, size int64) bool {
	step := int64(h.keep()) / 8
	if h.Size > 0 {
		step = min(step, h.Size/8/max(1, size))
	}
	n := uint64(max(1, step))
	return from/n != to/n
}

// pruneHistory sees to it that the versions go that are beyond the bounds. Nothing is synced: one that a power cut brings
// back goes the next time. To free a file takes as long as a fifth of a fold and more, so that nobody waits for it: neither
// the caller nor, with the locks, everybody else. Only the index is replaced under them, because other folds append to it.
func (f *fold) pruneHistory() error {
	h, now := f.g.Keeps(), time.Now()
	if !f.pruneDue || h == nil {
		return nil
	}
	f.pruneDue = false
	if err := f.s.compactIndex(h, now); err != nil {
		return err
	}
	history := f.s.history
	f.g.hurry() // folds do not outrun it
	f.g.pruning.Wait()
	rest := f.g.resting()
	f.g.pruning.Add(1)
	f.g.later(func() {
		defer f.g.pruning.Done()
		if err := prune(history, h, now, rest); err != nil {
			f.g.warn("not tidied up: %v", err)
		}
	})
	return nil
}

// resting returns how to rest after something that took a while, four times as long: files that are freed one right after the other
// hold up the syncs of the folds that go on meanwhile for longer than it takes to free them. Nobody rests once somebody
// waits for it, see hurry.
func (g *Guard) resting() (rest func(took time.Duration)) {
	waited := make(chan struct{})
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hurried = func() { close(waited) }
	if g.closed {
		g.hurryLocked()
	}
	return func(took time.Duration) {
		select {
		case <-waited:
		case <-time.After(4 * took):
		}
	}
}

func (g *Guard) hurry() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hurryLocked()
}

// hurryLocked is hurry for who has g.mu.
func (g *Guard) hurryLocked() {
	if g.hurried != nil {
		g.hurried()
		g.hurried = nil
	}
}

// prune removes the oldest versions, down to the bounds, with a rest behind each. It needs no lock: a fold keeps newer ones, and a
// reader that finds one gone is told so.
func prune(history vfs.Dir, h *History, now time.Time, rest func(took time.Duration)) error {
	files, err := keptFiles(history)
	if err != nil {
		return err
	}
	from, err := h.firstWithin(history, files, now)
	if err != nil {
		return err
	}
	for _, f := range files[:from] {
		began := time.Now()
		if err := ignoreMissing(history.Remove(f.name)); err != nil {
			return err
		}
		rest(time.Since(began))
	}
	return nil
}

// firstWithin is the index of the oldest file that is within the bounds.
func (h *History) firstWithin(history vfs.Dir, files []keptFile, now time.Time) (int, error) {
	from := max(0, len(files)-h.keep())
	for from < len(files) && h.expired(files[from].replaced, now) {
		from++
	}
	if h.Size == 0 {
		return from, nil
	}
	total := int64(0)
	for i, f := range slices.Backward(files) {
		if i < from {
			break
		}
		info, err := history.Stat(f.name)
		if err != nil && !isMissing(err) {
			return from, err
		}
		if total += info.Size; total > h.Size && i < len(files)-1 {
			return i + 1, nil
		}
	}
	return from, nil
}

func (h *History) expired(replaced, now time.Time) bool {
	return h.For > 0 && now.Sub(replaced) > h.For
}

// indexHead is the first line of an index that was written again: how long it was then, in bytes. It is written again
// when it has doubled.
type indexHead struct {
	Written int64 `json:"written"`
}

// indexAtLeast is the size under which nobody writes an index again, in bytes.
const indexAtLeast = 64 << 10

// compactIndex leaves out of the index what is beyond the bounds.
func (s *store) compactIndex(h *History, now time.Time) error {
	info, err := s.history.Stat(indexName)
	if err != nil || info.Size < indexAtLeast {
		return ignoreMissing(err)
	}
	raw, err := readFile(s.history, indexName)
	if err != nil {
		return err
	}
	if info.Size < 2*headOf(raw).Written {
		return nil
	}
	lines, _ := parseIndex(raw)
	from := max(0, len(lines)-h.keep()-1) // the one before the oldest tells who made that
	for from < len(lines)-1 && h.expired(lines[from+1].Time, now) {
		from++
	}
	return s.writeIndex(lines[from:])
}

// writeIndex replaces the index. It is synced: it holds what many folds wrote.
func (s *store) writeIndex(lines []kept) error {
	var body []byte
	for _, k := range lines {
		object, err := json.Marshal(k)
		if err != nil {
			return err
		}
		body = append(body, sealed(object)...)
	}
	head, err := json.Marshal(indexHead{int64(len(body))})
	if err != nil {
		return err
	}
	if err := ignoreMissing(s.history.Remove(indexNewName)); err != nil {
		return err
	}
	if err := writeNew(s.history, indexNewName, append(sealed(head), body...), s.perm); err != nil {
		return err
	}
	return s.history.Rename(indexNewName, indexName)
}

func headOf(raw []byte) (head indexHead) {
	const longest = 256
	raw = raw[:min(len(raw), longest)]
	for i, b := range raw {
		if b == '\n' {
			if object, ok := unsealed(raw[:i]); ok {
				_ = json.Unmarshal(object, &head)
			}
			break
		}
	}
	return head
}

// cleanHistory prunes to the bounds, exactly; with none it keeps what is there.
func (g *Guard) cleanHistory(s *store) error {
	h := g.Keeps()
	files, err := s.keptIfAny()
	if err != nil || len(files) == 0 || h == nil {
		return err
	}
	now := time.Now()
	if err := prune(s.history, h, now, func(time.Duration) {}); err != nil {
		return err
	}
	return s.compactIndex(h, now)
}

// ForgetHistory removes every version that is kept, and returns their paths.
func (g *Guard) ForgetHistory(ctx context.Context) (removed []string, err error) {
	err = g.alone(ctx, "forget history", func(s *store) error {
		if s == nil {
			return nil
		}
		files, err := s.keptIfAny()
		if err != nil || s.history == nil {
			return err
		}
		for _, f := range files {
			if err := ignoreMissing(s.history.Remove(f.name)); err != nil {
				return err
			}
			removed = append(removed, filepath.Join(g.GuardDir(), historyName, f.name))
		}
		for _, name := range []string{indexName, indexNewName, partName} {
			if err := ignoreMissing(s.history.Remove(name)); err != nil {
				return err
			}
		}
		return nil
	})
	return removed, err
}

// keptIfAny lists the versions; where no history/ is, none is made.
func (s *store) keptIfAny() ([]keptFile, error) {
	if s.history == nil {
		dir, err := s.guard.OpenDir(historyName)
		if err != nil {
			return nil, ignoreMissing(err)
		}
		s.history = dir
	}
	return keptFiles(s.history)
}
