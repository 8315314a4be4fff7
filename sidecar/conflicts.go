package sidecar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
)

const conflictsName = "conflicts.jsonl"

// logConflicts appends to the conflict log and syncs it, before the commit that made the values lose.
func (f *fold) logConflicts() error {
	if len(f.conflicts) == 0 && len(f.rejected) == 0 {
		return nil
	}
	var block []byte
	for i := range f.conflicts {
		f.conflicts[i].Generation = f.last.Generation + 1
		object, err := json.Marshal(f.conflicts[i])
		if err != nil {
			return err
		}
		block = append(append(block, object...), '\n')
	}
	for _, r := range f.rejected {
		h := r.from.header
		object, err := json.Marshal(Conflict{
			Time: h.Since, Generation: f.last.Generation + 1, Sidecar: r.from.name, Seq: r.Seq,
			Host: h.Host, PID: h.PID, Command: h.Command, Taken: "theirs", Refused: true, Reason: r.reason.Error(),
		})
		if err != nil {
			return err
		}
		block = append(append(block, object...), '\n')
	}
	file, err := f.s.openOrCreate(conflictsName, os.O_RDWR)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil && info.Size == 0 {
		err = f.s.guard.Sync() // it may be new
	}
	if err == nil && info.Size > 0 {
		var last [1]byte
		if _, rerr := file.ReadAt(last[:], info.Size-1); rerr != nil && !errors.Is(rerr, io.EOF) {
			err = rerr
		} else if last[0] != '\n' { // torn by a crash: its fold did not happen either
			block = append([]byte{'\n'}, block...)
		}
	}
	if err == nil {
		err = writeWhole(file, block, info.Size)
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// Conflicts reads the conflict log, oldest first.
func (g *Guard) Conflicts(ctx context.Context) ([]Conflict, error) {
	s, err := g.openStore(false)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, g.fail("read conflicts", err, "")
	}
	defer s.close()
	raw, err := readFile(s.guard, conflictsName)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, g.fail("read conflicts", err, "")
	}
	return parseConflicts(raw), nil
}

// parseConflicts drops what a fold logged that was killed before it happened: the fold that did happen logged the
// same places again, with a later generation.
func parseConflicts(raw []byte) []Conflict {
	type place struct {
		sidecar string
		seq     uint64
		at      string
	}
	var log []Conflict
	index := map[place]int{}
	for text := range bytes.Lines(raw) {
		var c Conflict
		if json.Unmarshal(text, &c) != nil {
			continue // torn
		}
		key := place{c.Sidecar, c.Seq, c.At}
		if i, again := index[key]; again && c.Sidecar != "" {
			log[i] = c
			continue
		}
		index[key] = len(log)
		log = append(log, c)
	}
	return log
}
