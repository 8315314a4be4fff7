package sidecar

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// repairCommits makes sure that there are two valid records.
func (g *Guard) repairCommits(s *store) ([]Finding, error) {
	last, err := s.newestCommit()
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, err
	}
	hint := s.settledHint()
	if last != nil && hint.Generation <= last.Generation {
		return g.repairOlder(s, last, hint)
	}
	// The record of the last fold is gone. settled says how far it was, unless it is gone as well, or another fold came
	// after it, whose record would be where the older one is.
	sure := hint.Generation > 0 && last != nil && last.Generation+1 == hint.Generation
	var done []Finding
	if !sure {
		if done, err = g.setAside(s, hint.After); err != nil {
			return done, err
		}
	}
	g.seen.Store(nil)
	now, err := g.currentVersion(&commit{})
	if err != nil {
		return done, err
	}
	newest, err := s.newestGeneration(hint.Generation)
	if err != nil {
		return done, err
	}
	marks := hint.After
	if marks == nil {
		marks = watermarks{}
	}
	for _, generation := range []uint64{newest + 1, newest + 2} {
		c := &commit{Generation: generation, Kind: kindNone, Before: marks, After: marks, From: now, To: now}
		if err := s.writeCommit(c); err != nil {
			return done, err
		}
	}
	if err := s.guard.Sync(); err != nil {
		return done, err
	}
	if err := s.writeSettled(&commit{Generation: newest + 2, After: marks}, true); err != nil {
		return done, err
	}
	return append(done, Finding{Check: "commit", Path: g.GuardDir(), OK: true, Repaired: true,
		Detail: fmt.Sprintf("the commit records were made again, from generation %d on", newest+1)}), nil
}

// repairOlder writes the older record again, where it is damaged and nothing is open: a record that changes nothing.
func (g *Guard) repairOlder(s *store, last *commit, hint settledHint) ([]Finding, error) {
	other := commitName(last.Generation + 1)
	raw, err := readFile(s.guard, other)
	if err != nil && !isMissing(err) || parseCommit(raw) != nil || hint.Generation != last.Generation {
		return nil, ignoreMissing(err)
	}
	next := &commit{Generation: last.Generation + 1, Kind: kindNone, Before: last.After, After: last.After, From: last.To, To: last.To}
	next.MovedBefore, next.MovedAfter = last.MovedAfter, last.MovedAfter
	if err := s.writeCommit(next); err != nil {
		return nil, err
	}
	if err := s.guard.Sync(); err != nil { // it may be new
		return nil, err
	}
	if err := s.writeSettled(next, false); err != nil {
		return nil, err
	}
	return []Finding{{Check: "commit", Path: filepath.Join(g.GuardDir(), other), OK: true, Repaired: true, Detail: "written again"}}, nil
}

// newestGeneration is the greatest that anything in the guard directory knows of.
func (s *store) newestGeneration(known uint64) (uint64, error) {
	files, err := s.keptIfAny()
	if err != nil || s.history == nil {
		return known, err
	}
	lines, _, err := s.readIndex()
	for _, k := range lines {
		known = max(known, k.Generation)
	}
	for _, f := range files {
		known = max(known, f.generation)
	}
	return known, err
}

// setAside puts every sidecar into quarantine that has a change above the watermark: it may be in the target, or not.
func (g *Guard) setAside(s *store, marks watermarks) (done []Finding, err error) {
	names, err := s.pending.Names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		file, err := s.pending.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			continue // gone, or what verify calls no sidecar
		}
		content, _, err := readJournalFile(file, nil)
		free, lockErr := file.TryLock()
		_ = file.Close()
		r, perr := parseJournal(content, marks[name])
		if err == nil && perr == nil && r.damage == "" && len(r.lines) == 0 {
			continue
		}
		if !free && lockErr == nil {
			return done, fmt.Errorf("%w: no commit record says which changes of process %d (%s) are in the target: stop it, then repair again", ErrDamaged, r.header.PID, r.header.Command)
		}
		if err := s.moveToQuarantine(name, uncertainSuffix); err != nil {
			return done, err
		}
		done = append(done, Finding{Check: "sidecar", Path: g.quarantined(name + uncertainSuffix), OK: true, Repaired: true,
			Detail: fmt.Sprintf("%d changes of process %d (%s) may be in the file or not: moved to quarantine, not folded", len(r.lines), r.header.PID, r.header.Command)})
	}
	return done, nil
}
