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
	if err := g.underLocks(ctx, "repair", until, func(s *store) error {
		if s != nil {
			done, err = g.repairCommits(s)
		}
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
	err = g.underLocks(ctx, "repair", until, func(s *store) error {
		if s == nil {
			return nil
		}
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
	content, _, err := readJournalFile(file, nil)
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
