package sidecar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"jsonguard/merge"
)

// Status describes target and guard directory as they are now. It takes no lock and changes nothing.
func (g *Guard) Status(ctx context.Context) (Status, error) {
	st := Status{Target: g.Target(), Sidecars: []Owner{}}
	info, err := g.parent.Stat(g.name)
	if err != nil && !isMissing(err) {
		return st, g.fail("status", err, "")
	}
	if err == nil {
		st.Exists, st.Size, st.Modified = true, info.Size, info.MTime
	}
	s, err := g.openStore(false)
	if isMissing(err) {
		st.Settled = true
		return st, nil
	}
	if err != nil {
		return st, g.fail("status", err, "")
	}
	defer s.close()
	last, err := s.newestCommit()
	if err != nil {
		return st, g.fail("status", fmt.Errorf("commit record: %w", err), hintFor(err))
	}
	st.Generation, st.Settled = last.Generation, s.readSettled() == last.Generation
	if st.Unguarded, err = g.unguarded(last, st.Settled); err != nil {
		return st, g.fail("status", err, "")
	}
	marks, err := g.marksNow(last, st.Settled)
	if err != nil {
		return st, g.fail("status", err, "")
	}
	if st.Sidecars, err = g.owners(s, marks); err != nil {
		return st, g.fail("status", err, "")
	}
	for _, o := range st.Sidecars {
		st.Pending += o.Pending
	}
	conflicts, err := g.Conflicts(ctx)
	if err != nil {
		return st, err
	}
	st.Conflicts = len(conflicts)
	names, err := s.quarantine.Names()
	if err != nil {
		return st, g.fail("status", err, "")
	}
	for _, n := range names {
		if strings.HasSuffix(n, ".json") || strings.HasSuffix(n, tornSuffixName) {
			st.Quarantined++
		}
	}
	return st, nil
}

// unguarded says whether the target is a version that no fold left.
func (g *Guard) unguarded(last *commit, settled bool) (bool, error) {
	if last.initial() {
		return false, nil // no fold yet
	}
	f := &fold{g: g}
	if err := f.readTarget(); err != nil {
		return false, err
	}
	defer f.target.close()
	f.target.knownAs(last.To)
	now, err := f.target.identity()
	if err != nil {
		return false, err
	}
	return !now.same(last.To) && (settled || !now.same(last.From)), nil
}

// marksNow are the watermarks that count, judged as a fold would.
func (g *Guard) marksNow(last *commit, settled bool) (watermarks, error) {
	if settled || last.Kind == kindNone || last.Kind == kindAppend || last.Kind == kindOverwrite {
		return last.After, nil
	}
	f := &fold{g: g, last: last}
	if err := f.readTarget(); err != nil {
		return nil, err
	}
	defer f.target.close()
	happened, err := f.happened()
	if err != nil || happened {
		return last.After, err
	}
	return last.Before, nil
}

// owners lists the sidecars. Whether an owner lives is asked by trying its lock, which is given back at once.
func (g *Guard) owners(s *store, marks watermarks) ([]Owner, error) {
	names, err := s.pending.Names()
	if err != nil {
		return nil, err
	}
	owners := []Owner{}
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		file, err := s.pending.OpenFile(name, os.O_RDONLY, 0)
		if isMissing(err) {
			continue
		}
		if err != nil { // a symbolic link, say
			owners = append(owners, Owner{ID: name, Damage: err.Error()})
			continue
		}
		r, content, _, err := readJournalAbove(file, marks[name])
		free, lockErr := file.TryLock()
		_ = file.Close()
		o := Owner{ID: name, Live: !free && lockErr == nil}
		if content != nil {
			if err != nil && free && unborn(content) {
				err = nil // nothing was promised by it: the next fold sweeps it away
			}
			h := r.header
			o.Host, o.PID, o.Command, o.Since, o.View = h.Host, h.PID, h.Command, h.Since, h.View
			o.Pending, o.Damage = len(r.lines), r.damage
		}
		if err != nil {
			o.Damage = err.Error()
		}
		owners = append(owners, o)
	}
	return owners, nil
}

// Verify checks everything on disk that belongs to the target. With repair it first folds what is pending and moves
// damaged sidecars to quarantine; it never touches the target's content otherwise.
func (g *Guard) Verify(ctx context.Context, repair bool) ([]Finding, error) {
	var repaired []Finding
	if repair {
		var err error
		if repaired, err = g.repair(ctx); err != nil {
			return nil, err
		}
	}
	findings := []Finding{g.verifyTarget()}
	s, err := g.openStore(false)
	if isMissing(err) {
		return append(findings, repaired...), nil
	}
	if err != nil {
		return nil, g.fail("verify", err, "")
	}
	defer s.close()
	findings = append(findings, g.verifyStore(s)...)
	return append(findings, repaired...), nil
}

func (g *Guard) verifyTarget() Finding {
	found := Finding{Check: "target", Path: g.Target()}
	f := &fold{g: g}
	err := f.readTarget()
	if err == nil {
		defer f.target.close()
		var content []byte
		if content, err = f.target.read(); err == nil {
			_, err = merge.Parse(content, g.format)
			found.Detail = fmt.Sprintf("%d bytes", len(content))
		}
	}
	switch {
	case err != nil:
		found.Detail = err.Error()
	case f.target.missing:
		found.OK, found.Detail = true, "does not exist"
	default:
		found.OK = true
	}
	return found
}

func (g *Guard) verifyStore(s *store) []Finding {
	commitFinding := Finding{Check: "commit", Path: g.GuardDir()}
	last, err := s.newestCommit()
	if err != nil {
		commitFinding.Detail = err.Error()
		return []Finding{commitFinding}
	}
	settled := s.readSettled() == last.Generation
	commitFinding.OK = true
	commitFinding.Detail = fmt.Sprintf("generation %d", last.Generation)
	if !settled {
		commitFinding.Detail += ", a fold was stopped or is under way"
	}
	findings := []Finding{commitFinding}

	unguarded, err := g.unguarded(last, settled)
	outside := Finding{Check: "unguarded", Path: g.Target(), OK: !unguarded && err == nil, Detail: "the target is what the last fold left"}
	switch {
	case err != nil:
		outside.Detail = err.Error()
	case unguarded:
		outside.Detail = "somebody without jsonguard changed the target after the last fold"
	}
	findings = append(findings, outside)

	marks, err := g.marksNow(last, settled)
	if err == nil {
		var owners []Owner
		if owners, err = g.owners(s, marks); err == nil {
			findings = append(findings, verifyOwners(g, owners)...)
		}
	}
	if err != nil {
		findings = append(findings, Finding{Check: "sidecar", Path: filepath.Join(g.GuardDir(), pendingName), Detail: err.Error()})
	}
	return append(findings, g.verifyLeftovers(s)...)
}

func verifyOwners(g *Guard, owners []Owner) []Finding {
	var findings []Finding
	for _, o := range owners {
		found := Finding{Check: "sidecar", Path: filepath.Join(g.GuardDir(), pendingName, o.ID), OK: o.Damage == "", Detail: o.Damage}
		if found.OK {
			life := "dead"
			if o.Live {
				life = "live"
			}
			found.Detail = fmt.Sprintf("%d pending, process %d (%s) is %s", o.Pending, o.PID, o.Command, life)
		}
		findings = append(findings, found)
	}
	return findings
}

func (g *Guard) verifyLeftovers(s *store) []Finding {
	var findings []Finding
	if names, err := s.quarantine.Names(); err == nil {
		for _, n := range names {
			if strings.HasSuffix(n, ".json") || strings.HasSuffix(n, tornSuffixName) {
				findings = append(findings, Finding{Check: "quarantine", Path: filepath.Join(g.GuardDir(), quarantineName, n), OK: true, Detail: "kept for a person to look at"})
			}
		}
	}
	if names, err := g.parent.Names(); err == nil {
		for _, n := range names {
			if g.isTemp(n) {
				findings = append(findings, Finding{Check: "temp", Path: filepath.Join(g.dirPath, n), OK: true, Detail: "of a fold that was stopped or is under way"})
			}
		}
	}
	return findings
}

// repair does what is safe: fold what can be folded, and move sidecars that are damaged and dead to quarantine,
// whole, so that they warn no more.
func (g *Guard) repair(ctx context.Context) ([]Finding, error) {
	until := g.deadline()
	if err := g.enter(ctx, until); err != nil {
		return nil, err
	}
	defer g.turn.give()
	result, err := g.fold(ctx, ownChange{}, until)
	if err != nil {
		return nil, err
	}
	var done []Finding
	if result.Folded > 0 {
		done = append(done, Finding{Check: "sidecar", Path: g.Target(), OK: true, Repaired: true, Detail: fmt.Sprintf("folded %d pending changes", result.Folded)})
	}
	held, err := g.lockAll(ctx, false, until)
	if err != nil {
		return done, g.fail("repair", err, "")
	}
	defer held.release()
	s := held.store
	if s == nil {
		return done, nil
	}
	names, err := s.pending.Names()
	if err != nil {
		return done, g.fail("repair", err, "")
	}
	last, err := s.newestCommit()
	if err != nil {
		return done, g.fail("repair", err, "")
	}
	if s.readSettled() != last.Generation { // somebody was killed since: what is folded is not known, and the next try settles it
		return done, g.fail("repair", errUnsettled, "try again")
	}
	for _, name := range names {
		moved, err := s.quarantineDamaged(name, last.After[name])
		if err != nil {
			return done, g.fail("repair", err, "")
		}
		if moved {
			done = append(done, Finding{Check: "sidecar", Path: filepath.Join(g.GuardDir(), pendingName, name), OK: true, Repaired: true, Detail: "damaged: moved to quarantine"})
		}
	}
	return done, nil
}

const damagedSuffix = ".damaged"

var errUnsettled = errors.New("a process was stopped in a fold meanwhile")

// quarantineDamaged puts a damaged sidecar into quarantine/ before it takes it out of pending/. One with changes that are
// good and not folded yet, because the fold could not read it, stays.
func (s *store) quarantineDamaged(name string, watermark uint64) (bool, error) {
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
	switch {
	case errors.Is(err, ErrDamaged): // too big to be copied
		err = s.pending.Link(name, s.quarantine, name+damagedSuffix)
	case err == nil:
		r, err := parseJournal(content, watermark)
		if err == nil && (r.damage == "" || len(r.lines) > 0) {
			return false, nil
		}
		if err := s.keep(name+damagedSuffix, content); err != nil {
			return false, err
		}
	}
	if err != nil {
		return false, ignoreTarget(err)
	}
	if err := s.quarantine.Sync(); err != nil {
		return false, err
	}
	if err := s.pending.Remove(name); err != nil {
		return false, err
	}
	return true, s.pending.Sync()
}

func ignoreMissing(err error) error {
	if isMissing(err) {
		return nil
	}
	return err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func ignoreTarget(err error) error {
	if errors.Is(err, ErrTarget) {
		return nil
	}
	return err
}
