package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"jsonguard/merge"
)

// Suffixes of what a repair puts into quarantine.
const (
	damagedSuffix   = ".damaged"
	uncertainSuffix = ".uncertain" // a sidecar of which nobody knows what is in the target
)

// repair does what is safe, and nothing that throws anything away:
//
//   - Commit records that are gone or damaged are made again from what settled says. Where that cannot tell which pending
//     changes are in the target, their sidecars go to quarantine, whole: folded, they might count twice.
//   - What is pending is folded. A target that cannot be parsed stays, and what is pending with it.
//   - Sidecars and versions that are damaged go to quarantine, whole, so that they warn no more.
//   - Lines of the index that cannot be read are left out, versions that are gone are marked so.
//   - A conflict log with lines that cannot be read goes to quarantine; those that can be read stay in the log.
//
// The target's content it never changes otherwise: a damaged one is for Restore.
func (g *Guard) repair(ctx context.Context) (done []Finding, err error) {
	until := g.deadline()
	if err := g.enter(ctx, until); err != nil {
		return nil, err
	}
	defer g.turn.give()
	if err := g.underLocks(ctx, until, func(s *store) error {
		done, err = g.repairCommits(s)
		return err
	}); err != nil {
		return done, err
	}
	result, err := g.fold(ctx, ownChange{}, until)
	var syntax *merge.SyntaxError
	if err != nil && !errors.As(err, &syntax) {
		return done, err
	}
	folded := err == nil
	if result.Folded > 0 {
		done = append(done, Finding{Check: "sidecar", Path: g.Target(), OK: true, Repaired: true, Detail: fmt.Sprintf("folded %d pending changes", result.Folded)})
	}
	err = g.underLocks(ctx, until, func(s *store) error {
		if folded { // else what is in front of the damage would be lost to the target
			moved, err := g.quarantineDamaged(s)
			if done = append(done, moved...); err != nil {
				return err
			}
		}
		for _, mend := range []func(*store) ([]Finding, error){g.repairHistory, g.repairConflicts, g.repairQuarantine} {
			fixed, err := mend(s)
			if done = append(done, fixed...); err != nil {
				return err
			}
		}
		return nil
	})
	return done, err
}

// underLocks does something to a guard directory, if there is one, while nobody folds.
func (g *Guard) underLocks(ctx context.Context, until time.Time, do func(*store) error) error {
	held, err := g.lockAll(ctx, false, until)
	if err != nil {
		return g.fail("repair", err, "")
	}
	defer held.release()
	if held.store == nil {
		return nil
	}
	return g.fail("repair", do(held.store), "")
}

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
	now, err := g.identityNow()
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

func (g *Guard) identityNow() (identity, error) {
	f := &fold{g: g}
	if err := f.readTarget(); err != nil {
		return identity{}, err
	}
	defer f.target.close()
	return f.target.identity()
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
		content, _, err := readJournalFile(file)
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

// moveToQuarantine takes a sidecar out of pending/, and the versions that it names out of views/, after they are on disk
// in quarantine/.
func (s *store) moveToQuarantine(name, suffix string) error {
	if err := s.linkTo(name, name+suffix); err != nil {
		return err
	}
	view, err := s.views.OpenDir(name)
	if err == nil {
		defer view.Close()
		var names []string
		if names, err = view.Names(); err != nil {
			return err
		}
		for _, n := range names {
			if info, err := view.Stat(n); err == nil && info.Mode.IsRegular() {
				if err := ignoreExists(view.Link(n, s.quarantine, name+suffix+"."+n)); err != nil {
					return err
				}
			}
		}
	} else if !isMissing(err) {
		return err
	}
	if err := s.quarantine.Sync(); err != nil {
		return err
	}
	if err := s.pending.Remove(name); err != nil {
		return err
	}
	return s.pending.Sync()
}

// linkTo gives a sidecar a name in quarantine/; where links are not to be had, it is copied.
func (s *store) linkTo(name, to string) error {
	err := ignoreExists(s.pending.Link(name, s.quarantine, to))
	if err == nil {
		return nil
	}
	content, rerr := readFile(s.pending, name)
	if rerr != nil {
		return errors.Join(err, rerr)
	}
	return s.keep(to, content)
}

var errUnsettled = errors.New("a process was stopped in a fold meanwhile; try again")

// quarantineDamaged moves sidecars that are damaged and dead.
func (g *Guard) quarantineDamaged(s *store) (done []Finding, err error) {
	names, err := s.pending.Names()
	if err != nil {
		return nil, err
	}
	last, err := s.newestCommit()
	if err != nil {
		return nil, err
	}
	if s.readSettled() != last.Generation { // what is folded is not known, and the next try settles it
		return nil, errUnsettled
	}
	for _, name := range names {
		damaged, err := s.isDamaged(name, last.After[name])
		if err == nil && damaged {
			err = s.moveToQuarantine(name, damagedSuffix)
		}
		if err != nil {
			return done, err
		}
		if damaged {
			done = append(done, Finding{Check: "sidecar", Path: filepath.Join(g.GuardDir(), pendingName, name), OK: true, Repaired: true, Detail: "damaged: moved to quarantine"})
		}
	}
	return done, nil
}

// isDamaged: a dead process's sidecar that cannot be read to its end. One with changes that are good and not folded yet,
// because the fold could not read it, stays.
func (s *store) isDamaged(name string, watermark uint64) (bool, error) {
	if strings.HasPrefix(name, ".") {
		return false, nil
	}
	file, err := s.pending.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return false, nil // gone, or what verify calls no sidecar
	}
	defer file.Close()
	if dead, err := file.TryLock(); err != nil || !dead {
		return false, err
	}
	content, _, err := readJournalFile(file)
	if errors.Is(err, ErrDamaged) { // too big to be one
		return true, nil
	}
	if err != nil {
		return false, ignoreTarget(err)
	}
	r, err := parseJournal(content, watermark)
	return err != nil || r.damage != "" && len(r.lines) == 0, nil
}

// repairHistory takes out what is not a version any more.
func (g *Guard) repairHistory(s *store) (done []Finding, err error) {
	files, err := s.keptIfAny()
	if err != nil || s.history == nil {
		return nil, err
	}
	lines, broken, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	hashes := map[uint64]string{}
	for _, k := range lines {
		hashes[k.Generation] = k.From.Hash
	}
	dir := filepath.Join(g.GuardDir(), historyName)
	repaired := func(name, detail string) {
		done = append(done, Finding{Check: "history", Path: filepath.Join(dir, name), OK: true, Repaired: true, Detail: detail})
	}
	gone := map[uint64]bool{}
	for _, f := range files {
		if s.damagedVersion(f, hashes[f.generation]) == "" {
			continue
		}
		info, err := s.history.Stat(f.name)
		if err != nil || !info.Mode.IsRegular() {
			continue // not ours to move
		}
		if err := ignoreExists(s.history.Link(f.name, s.quarantine, f.name+damagedSuffix)); err != nil {
			return done, err
		}
		if err := s.quarantine.Sync(); err != nil {
			return done, err
		}
		if err := s.history.Remove(f.name); err != nil {
			return done, err
		}
		gone[f.generation] = true
		repaired(f.name, "not what it was: moved to quarantine")
	}
	missing := 0
	for i, k := range lines {
		if gone[k.Generation] || g.isLost(k, files) {
			lines[i].Gone = true
			missing++
		}
	}
	if broken > 0 || missing > 0 {
		if err := s.writeIndex(lines); err != nil {
			return done, err
		}
		repaired(indexName, fmt.Sprintf("written again: %d lines cannot be read, %d versions are gone", broken, missing))
	}
	return done, nil
}

// repairConflicts leaves the lines out that cannot be read, once the log is whole in quarantine.
func (g *Guard) repairConflicts(s *store) ([]Finding, error) {
	raw, err := readFile(s.guard, conflictsName)
	if err != nil {
		return nil, ignoreMissing(err)
	}
	good, broken := wholeLines(raw)
	if broken == 0 {
		return nil, nil
	}
	name := conflictsName + damagedSuffix
	if err := s.keep(name, raw); err != nil {
		return nil, err
	}
	if err := s.quarantine.Sync(); err != nil {
		return nil, err
	}
	if err := s.overwrite(conflictsName, good, true); err != nil {
		return nil, err
	}
	return []Finding{{Check: "conflicts", Path: filepath.Join(g.GuardDir(), conflictsName), OK: true, Repaired: true,
		Detail: fmt.Sprintf("%d lines cannot be read and were left out; the log as it was is in quarantine: %s", broken, name)}}, nil
}

// wholeLines are the lines that are JSON. A last one without its newline is no damage: a power cut tore it.
func wholeLines(raw []byte) (good []byte, broken int) {
	for text := range bytes.Lines(raw) {
		line, whole := bytes.CutSuffix(text, []byte("\n"))
		switch {
		case json.Valid(line) && whole:
			good = append(good, text...)
		case whole && len(line) > 0:
			broken++
		}
	}
	return good, broken
}

// repairQuarantine marks records that cannot be read.
func (g *Guard) repairQuarantine(s *store) (done []Finding, err error) {
	names, err := s.quarantine.Names()
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if !strings.HasSuffix(n, ".json") || s.checkQuarantined(n) == nil {
			continue
		}
		if err := s.quarantine.Rename(n, n+damagedSuffix); err != nil {
			return done, err
		}
		done = append(done, Finding{Check: "quarantine", Path: g.quarantined(n + damagedSuffix), OK: true, Repaired: true, Detail: "the record cannot be read: marked so"})
	}
	return done, nil
}

func (s *store) checkQuarantined(name string) error {
	var q quarantined
	raw, err := readFile(s.quarantine, name)
	if err == nil {
		err = json.Unmarshal(raw, &q)
	}
	return err
}
