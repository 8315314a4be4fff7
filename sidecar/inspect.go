package sidecar

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"jsonguard/internal/vfs"
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
	sessions, err := s.sessionOwners(marks)
	if err != nil {
		return st, g.fail("status", err, "")
	}
	st.Sidecars = append(st.Sidecars, sessions...)
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
	versions, _, err := g.readHistory() // a fold that comes in between makes it one more or less
	if err != nil {
		return st, g.fail("status", err, "")
	}
	for _, v := range versions {
		if !v.Current && !v.Missing && v.Lost == "" {
			st.Versions++
		}
	}
	return st, nil
}

// unguarded says whether the target is a version that no fold left.
func (g *Guard) unguarded(last *commit, settled bool) (bool, error) {
	if last.initial() {
		return false, nil // no fold yet
	}
	now, err := g.currentVersion(last)
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
		r, content, _, err := readJournalAbove(file, marks[name], nil)
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

// sessionOwners lists those who intercept what programs write: a Session each. What is pending is counted of dead ones only: of a
// living one a scratch file that is closed is folded at once, and to ask whether it is closed would take the lock that says so.
func (s *store) sessionOwners(marks watermarks) (owners []Owner, err error) {
	names, err := s.views.Names()
	if err != nil {
		return nil, err
	}
	for _, id := range names {
		if !strings.HasPrefix(id, sessionPrefix) {
			continue
		}
		dir, err := s.views.OpenDir(id)
		if isMissing(err) {
			continue // it ended
		}
		if err != nil {
			owners = append(owners, Owner{ID: id, Session: true, Damage: err.Error()})
			continue
		}
		o := Owner{ID: id, Session: true}
		head, err := readFile(dir, ownerName)
		if err == nil {
			o.Live, err = inUse(dir)
		}
		if err == nil && !o.Live {
			o.Pending, err = unfolded(dir, id, marks)
		}
		_ = dir.Close()
		if isMissing(err) {
			continue
		}
		if err != nil {
			o.Damage = err.Error()
		}
		var h header
		if json.Unmarshal(head, &h) == nil { // else it is of an older release
			o.Host, o.PID, o.Command, o.Since = h.Host, h.PID, h.Command, h.Since
		}
		owners = append(owners, o)
	}
	return owners, nil
}

// unfolded counts the scratch files of a session that are not in the target.
func unfolded(dir vfs.Dir, session string, marks watermarks) (count int, err error) {
	sidecars, err := scratchesIn(dir, session)
	for _, sidecar := range sidecars {
		if marks[sidecar] == 0 {
			count++
		}
	}
	return count, err
}
