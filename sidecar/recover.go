package sidecar

import (
	"bytes"
	"context"
	"os"
	"strings"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// Salvaged is a torn document whose complete part was folded.
type Salvaged struct {
	File string `json:"file"` // name in quarantine/
	Kept int    `json:"kept"` // bytes of the torn document that were complete records; 0: there was none
	Cut  int    `json:"cut"`  // bytes behind them
}

// Recover folds everything that is pending, adopts what dead exec and edit runs left in their copies, and removes
// what is not needed any more. With salvage, torn documents in quarantine give their complete leading records, as
// additions only.
func (g *Guard) Recover(ctx context.Context, salvage bool) (Result, []Salvaged, error) {
	until := g.deadline()
	if err := g.enter(ctx, until); err != nil {
		return Result{}, nil, err
	}
	defer g.turn.give()
	// Before salvaging: adopting a dead view may bring a torn document into quarantine.
	result, err := g.fold(ctx, ownChange{}, until)
	if err != nil || !salvage {
		return result, nil, err
	}
	var salvaged []Salvaged
	err = g.underLocks(ctx, "salvage", until, func(s *store) error {
		salvaged, err = g.salvage(s)
		return err
	})
	if err != nil || len(salvaged) == 0 {
		return result, nil, err
	}
	torn := result.Torn
	result, err = g.fold(ctx, ownChange{}, until)
	result.Torn = torn
	return result, salvaged, err
}

// salvage turns each torn document into a sidecar of a dead process. The sidecar's name comes from the document's,
// and it is on disk before the document counts as salvaged: a kill between the two repeats only what is there.
func (g *Guard) salvage(s *store) ([]Salvaged, error) {
	if s == nil {
		return nil, nil
	}
	names, err := s.quarantine.Names()
	if err != nil {
		return nil, err
	}
	var all []Salvaged
	for _, name := range names {
		id, ok := strings.CutSuffix(name, tornSuffixName)
		if !ok {
			continue
		}
		one, err := g.salvageOne(s, id)
		if err != nil {
			return all, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (g *Guard) salvageOne(s *store, id string) (Salvaged, error) {
	name := id + tornSuffixName
	content, err := readFile(s.quarantine, name)
	if err != nil {
		return Salvaged{}, err
	}
	complete, cut, err := merge.Salvage(content, g.format)
	if err != nil { // nothing of it is complete: it stays, for a person to look at, and holds up no other
		return Salvaged{File: name, Cut: len(content)}, nil
	}
	// Who was killed when it had put it here, and before it was gone from views/, put it here once more.
	before, err := readFile(s.quarantine, name+salvagedSuffix)
	again := err == nil
	if err != nil && !isMissing(err) {
		return Salvaged{}, err
	}
	if !again || !bytes.Equal(before, content) {
		if err := g.plantSalvaged(s, id, complete, again); err != nil {
			return Salvaged{}, err
		}
	}
	if err := s.quarantine.Rename(name, name+salvagedSuffix); err != nil {
		return Salvaged{}, err
	}
	return Salvaged{File: name + salvagedSuffix, Kept: len(content) - int(cut), Cut: int(cut)}, s.quarantine.Sync()
}

// plantSalvaged makes the sidecar of what is complete. again: some of that was salvaged before.
func (g *Guard) plantSalvaged(s *store, id string, complete []byte, again bool) error {
	base, err := readFile(s.quarantine, id+tornBaseSuffix)
	if err != nil && !isMissing(err) {
		return err
	}
	_, err = s.quarantine.Stat(id + tornUnknownSuffix)
	if err != nil && !isMissing(err) {
		return err
	}
	known := isMissing(err) && !again
	sidecar := salvagePrefix + id
	if _, err := s.pending.Stat(sidecar); !isMissing(err) {
		return err // it is there
	}
	return s.plantVersion(sidecar, base, complete, known, g.options.Command)
}

// finishSalvage comes before the sidecar of what was salvaged is removed: a document that would still be torn then, or again after a
// power cut, would be salvaged again.
func (s *store) finishSalvage(sidecar string) error {
	id, ok := strings.CutPrefix(sidecar, salvagePrefix)
	if !ok {
		return nil
	}
	name := id + tornSuffixName
	if err := ignoreMissing(s.quarantine.Rename(name, name+salvagedSuffix)); err != nil {
		return err
	}
	return s.quarantine.Sync()
}

// plantVersion writes a sidecar with one change, base → ours, additions only, under a name that is given.
func (s *store) plantVersion(id string, base, ours []byte, known bool, command string) error {
	if err := vfs.RemoveAll(s.views, id); err != nil { // a try that was killed
		return err
	}
	if err := s.views.Mkdir(id, dirPerm(s.perm)); err != nil {
		return err
	}
	view, err := s.views.OpenDir(id)
	if err != nil {
		return err
	}
	defer view.Close()
	l := line{Monotonic: monotonic(), Additions: true, New: true}
	switch {
	case !known:
		last, err := s.newestCommit()
		if err != nil {
			return err
		}
		l.Base, l.Generation = baseUnknown, last.Generation+1 // behind what others are known to have
	case base != nil:
		l.Base, l.New = baseName, false
		if err := writeNew(view, baseName, base, s.perm); err != nil {
			return err
		}
	}
	if err := s.views.Sync(); err != nil {
		return err
	}
	hidden := "." + id
	_ = s.pending.Remove(hidden)
	file, err := s.pending.OpenFile(hidden, os.O_RDWR|os.O_CREATE|os.O_EXCL, s.perm)
	if err != nil {
		return err
	}
	defer file.Close()
	host, _ := os.Hostname()
	head, err := header{Version: journalVersion, ID: id, Host: host, Boot: s.boot, PID: os.Getpid(), Command: command, Since: time.Now().UTC(), View: true}.marshal()
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	j := &journal{dir: s.pending, file: file, id: hidden, inode: info.Inode}
	if err := j.write(head); err != nil {
		return err
	}
	if _, err := j.appendVersion(view, l, ours, s.perm); err != nil {
		return err
	}
	if err := s.pending.Rename(hidden, id); err != nil {
		return err
	}
	return s.pending.Sync()
}
