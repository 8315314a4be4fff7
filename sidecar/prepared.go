package sidecar

import (
	"jsonguard/merge"
)

// preparedScratch is what was found out about a scratch file before any lock was taken: its diff, or that it is whole.
type preparedScratch struct {
	change *merge.Change
	isNew  bool // made from a missing document
	wholeText
}

// Prepare diffs a version that the writer has closed, before any lock is taken, and returns which of bases, the ones of
// Create, it was made from. ErrTorn: the version is not complete.
func (x *Scratch) Prepare(content []byte, bases Bases) (int, error) {
	if err := Complete(content, x.s.g.format); err != nil {
		return 0, err
	}
	var base []byte
	i := 0
	if len(bases.Versions) > 0 {
		i = bases.madeFrom(content, x.s.g)
		base = bases.Versions[i]
	}
	made, err := x.s.g.prepareScratch(base, content, x.about.Additions)
	if err != nil {
		return 0, x.s.g.fail("diff", err, "")
	}
	x.s.note(x.Sidecar(), made)
	if _, err := x.s.dir.Stat(x.n + scratchSuffix); err != nil { // another has folded it meanwhile
		x.s.forget(x.Sidecar())
	}
	return i, nil
}

func (g *Guard) prepareScratch(base, ours []byte, additions bool) (preparedScratch, error) {
	change, err := g.changeOf(base, ours, additions)
	return preparedScratch{change: change, isNew: base == nil}, err
}

// changeOf is prepare for what a scratch file holds. additions: of lines, all may be the beginning of a rewrite; a document is whole, and
// what it counts in its sums goes with what it adds.
func (g *Guard) changeOf(base, ours []byte, additions bool) (*merge.Change, error) {
	change, err := prepare(base, ours, false, g)
	switch {
	case err != nil || !additions:
		return change, err
	case g.format == merge.JSON:
		return change.GrowthOnly(), nil
	}
	return change.AdditionsOnly(), nil
}

func (s *Session) note(sidecar string, made preparedScratch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepared[sidecar] = made
}

func (s *Session) preparedFor(sidecar string) preparedScratch {
	if s == nil {
		return preparedScratch{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prepared[sidecar]
}

// forget drops a diff that has served.
func (s *Session) forget(sidecar string) {
	if s != nil {
		s.mu.Lock()
		delete(s.prepared, sidecar)
		s.mu.Unlock()
	}
}

// preparedChange is a diff that was made before the lock was taken.
type preparedChange struct {
	of   change
	diff *merge.Change
}

func prepare(base, ours []byte, additions bool, g *Guard) (*merge.Change, error) {
	change, err := merge.Diff(base, ours, g.format, g.Policy())
	if err == nil && additions {
		change = change.AdditionsOnly()
	}
	return change, err
}
