package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"jsonguard/merge"
)

type rejection struct {
	pendingLine
	change line
	reason error
}

// apply brings every change into the document. What is refused is noted with its reason and holds up nothing.
func (f *fold) apply() error {
	if f.appendOnly() {
		return nil
	}
	for _, apply := range []func() (done bool, err error){f.takeWhole, f.applyExcerpts} {
		if done, err := apply(); done || err != nil {
			return err
		}
	}
	begin := f.open
	if f.own.restore != nil {
		begin = f.restore
	}
	if err := begin(); err != nil {
		return err
	}
	if err := f.doc.Under(f.g.Policy()); err != nil {
		return err
	}
	if err := f.applyChanges(); err != nil {
		return err
	}
	return f.derive()
}

func (f *fold) applyChanges() error {
	written := map[string]writtenPlace{}
	f.movedAfter = maps.Clone(f.moved)
	if err := f.applyPending(written); err != nil {
		return err
	}
	if f.own.apply == nil && len(f.own.ops) == 0 {
		return nil
	}
	if f.own.apply == nil {
		f.ownErr = f.doc.Do(f.own.ops...)
		if f.ownErr == nil {
			f.noteConflicts(nil, overwritten(f.own.ops, written, nil))
		}
		return nil
	}
	// fn may do half of its work and then fail: it works on a document of its own. A change is merged or not.
	trial := f.doc
	if f.own.change == nil {
		var err error
		if trial, err = f.doc.Clone(); err != nil {
			return err
		}
	}
	conflicts, err := f.own.apply(trial)
	if err != nil {
		f.ownErr = err
		return nil
	}
	f.doc = trial
	f.noteConflicts(nil, conflicts)
	return nil
}

// applyPending carries out what others left, each change with its own verdict.
func (f *fold) applyPending(written map[string]writtenPlace) error {
	lines := newLineReader(f)
	defer lines.close()
	steps, of := f.plan()
	ahead := f.readAhead(steps)
	defer ahead.stop()
	f.oneAtATime()
	for i, p := range f.pending {
		s := &steps[of[i]]
		begins := int(s.first) == i
		var l line
		var err error
		if begins {
			if l, err = ahead.next(); err != nil {
				return err
			}
			if s.first != s.last {
				together, err := f.applyTogether(lines, *s, l, written)
				if err != nil {
					return err
				}
				s.apart = !together
			}
		}
		if s.first != s.last {
			if !s.apart {
				f.folded++
				continue
			}
			if l, err = lines.read(p); err != nil {
				return err
			}
		}
		f.applyOne(p, l, written)
	}
	for _, sc := range f.sidecars {
		sc.note(f.after)
	}
	for _, p := range f.pending {
		if p.from.scratch != nil {
			p.from.note(f.after)
		}
	}
	return nil
}

// note moves the watermark of sc to what this fold brought in of it.
func (sc *sidecarFile) note(after watermarks) {
	if sc.applied > 0 {
		after[sc.name] = sc.applied
	}
}

// applyOne carries out one change, unless it has to wait for another fold.
func (f *fold) applyOne(p pendingLine, l line, written map[string]writtenPlace) {
	if p.from.stuck {
		return
	}
	conflicts, err := f.applyLine(p, l, written)
	switch {
	case errors.Is(err, errDiscarded):
		return
	case errors.Is(err, errUnreadable):
		p.from.stuck = true
		f.passOver(p.from.name, err)
		return
	case err != nil:
		f.rejected = append(f.rejected, rejection{p, l, err})
	default:
		f.folded++
		f.noteConflicts(&p, conflicts)
	}
	p.from.applied = max(p.from.applied, p.Seq)
}

// applyTogether carries out the last change of a step, l, for all of them. It has done nothing where it returns false.
func (f *fold) applyTogether(lines *lineReader, s step, l line, written map[string]writtenPlace) (done bool, err error) {
	first, last := f.pending[s.first], f.pending[s.last]
	if last.from.stuck || l.undecoded != nil {
		return false, nil
	}
	var met line // another process had set the place: the first one is in conflict with that
	if before, there := written[l.decoded[0].At]; there && before.by != last.from {
		if met, err = lines.read(first); err != nil || met.undecoded != nil {
			return false, err
		}
	}
	if f.doc.Do(l.decoded...) != nil {
		return false, nil
	}
	f.noteConflicts(&first, overwritten(met.decoded, written, last.from))
	overwritten(l.decoded, written, last.from)
	last.from.applied = max(last.from.applied, last.Seq)
	return true, nil
}

// open makes a document of the target.
func (f *fold) open() error {
	if f.doc = f.target.doc; f.doc != nil {
		return nil
	}
	change := f.preparedChange()
	if done, err := f.openBeside(change); done || err != nil {
		return err
	}
	content, err := f.target.read()
	if err != nil {
		return err
	}
	if change != nil {
		f.doc, err = change.ParseTheirs(content)
	} else {
		f.doc, err = merge.Parse(content, f.g.format)
	}
	if err != nil {
		return unparsableTarget{err}
	}
	if len(content) == 0 && f.wasEmptied() {
		text := fmt.Sprintf("%s was empty, without jsonguard; the last fold left %d bytes", f.g.Target(), f.last.To.Size)
		if offer := f.g.RestoreHint(context.Background()); offer != "" {
			text += "; " + offer
		}
		f.g.warn("%s", text)
	}
	return nil
}

// wasEmptied: the target is there, and holds nothing, which no fold made so.
func (f *fold) wasEmptied() bool {
	return !f.target.missing && f.last != nil && !f.last.initial() && f.last.To.Size > 0
}

// openBeside is open for a large target that has most in common with the base of a change, and so is not kept in memory a
// second time.
func (f *fold) openBeside(change *merge.Change) (done bool, err error) {
	if change == nil || f.target.missing || f.target.loaded || f.target.info.Size < Large {
		return false, nil
	}
	f.doc, err = change.ReadTheirs(f.target.file, f.target.info.Size)
	if f.doc == nil || err != nil {
		return false, err
	}
	f.target.content, f.target.loaded = f.doc.Parts(), true
	return true, nil
}

// unparsableTarget is the *merge.SyntaxError of the target itself.
type unparsableTarget struct{ error }

func (e unparsableTarget) Unwrap() error { return e.error }

// preparedChange is one that was found before the lock was taken, nil if there is none: the target will have much in common
// with what it was made from.
func (f *fold) preparedChange() *merge.Change {
	if f.own.change != nil {
		return f.own.change
	}
	if f.own.prepared.diff != nil {
		return f.own.prepared.diff
	}
	for _, p := range f.pending {
		if p.from.scratch != nil {
			if made := f.g.session.preparedFor(p.from.name); made.change != nil {
				return made.change
			}
		}
	}
	return nil
}

// writtenPlace is who set a place in this very fold, and to what.
type writtenPlace struct {
	by    *sidecarFile
	value []byte
}

func (f *fold) applyLine(p pendingLine, l line, written map[string]writtenPlace) ([]merge.Conflict, error) {
	if p.from.scratch != nil {
		return f.applyScratch(&p)
	}
	if f.target.missing && f.doc.Missing() && !l.New {
		return nil, errRemoved()
	}
	if l.Ours != "" {
		return f.applyVersion(p, l)
	}
	if l.undecoded != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, l.undecoded)
	}
	conflicts := overwritten(l.decoded, written, p.from)
	return conflicts, f.doc.Do(l.decoded...)
}

// overwritten lists values that another writer set within this fold and that nobody will ever have seen: an
// operation has no base, so that this is all that can be known of two writers having meant the same place.
func overwritten(ops []merge.Op, written map[string]writtenPlace, by *sidecarFile) []merge.Conflict {
	var lost []merge.Conflict
	for _, op := range ops {
		if op.Kind != "set" && op.Kind != "delete" {
			continue
		}
		before, there := written[op.At]
		if there && before.by != by && string(before.value) != string(op.Value) {
			lost = append(lost, merge.Conflict{At: op.At, Ours: op.Value, Theirs: before.value, Taken: "ours", Reason: "set twice within one fold"})
		}
		written[op.At] = writtenPlace{by, op.Value}
	}
	return lost
}

func (f *fold) noteConflicts(p *pendingLine, conflicts []merge.Conflict) {
	if len(conflicts) == 0 {
		return
	}
	host, _ := os.Hostname()
	for _, c := range conflicts {
		entry := Conflict{
			Time: time.Now().UTC(), Host: host, PID: os.Getpid(), Command: f.g.options.Command,
			At: c.At, Base: text(c.Base), Ours: text(c.Ours), Theirs: text(c.Theirs),
			Taken: c.Taken, Refused: c.Refused, Reason: c.Reason,
		}
		if p != nil {
			h := p.from.header
			entry.Sidecar, entry.Seq, entry.Host, entry.PID, entry.Command = p.from.name, p.Seq, h.Host, h.PID, h.Command
		}
		f.conflicts = append(f.conflicts, entry)
	}
}

func text(raw []byte) *string {
	if raw == nil {
		return nil
	}
	s := string(raw)
	return &s
}
