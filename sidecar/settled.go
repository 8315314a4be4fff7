package sidecar

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"

	"jsonguard/internal/vfs"
)

// settledReader looks into settled again and again: for each change that is journaled, and for each that somebody waits
// for. It keeps the descriptor, and parses no more than is asked for.
type settledReader struct {
	mu   sync.Mutex
	file vfs.File // nil until it was opened
	text []byte   // as long as settled ever was
}

// open is under mu. Who fills a new guard directory removes what an earlier one left, and nobody else ever does.
func (r *settledReader) open(guard vfs.Dir) bool {
	if r.file == nil {
		file, err := guard.OpenFile(settledName, os.O_RDONLY, 0)
		if err != nil {
			return false
		}
		r.file = file
	}
	return true
}

func (r *settledReader) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}

// seenGeneration is what a writer knows that holds no lock: never more than is durable. It is the first key of the order
// in which changes are folded.
func (s *store) seenGeneration() uint64 {
	s.settled.mu.Lock()
	defer s.settled.mu.Unlock()
	if !s.settled.open(s.guard) {
		return 0
	}
	return generationIn(s.settled.file)
}

// generationIn is the generation that a record, or settled, begins with.
func generationIn(file vfs.File) uint64 {
	var head [64]byte
	n, _ := file.ReadAt(head[:], 0)
	generation, _, _ := cutNumber(head[:n], `{"generation":`)
	return generation
}

// unsettled says whether a fold is under way, or was stopped between its record and its end: what it was about to change may be there
// in part. It takes no lock, and being wrong costs a fold that finds nothing.
func (s *store) unsettled() bool {
	seen := s.seenGeneration()
	for even := range uint64(2) {
		file, err := s.guard.OpenFile(commitName(even), os.O_RDONLY, 0)
		if err != nil {
			continue // a fold says what is wrong
		}
		newer := generationIn(file) > seen
		_ = file.Close()
		if newer {
			return true
		}
	}
	return false
}

// settledCovers is settledHint().After.cover(c), with the generation.
func (s *store) settledCovers(c change) (generation uint64, covered bool) {
	s.settled.mu.Lock()
	defer s.settled.mu.Unlock()
	if c.seq == 0 || !s.settled.open(s.guard) {
		return 0, false
	}
	body, ok := checked(bytes.TrimSuffix(s.settled.read(), []byte("\n")))
	if !ok {
		return 0, false
	}
	generation, rest, ok := cutNumber(body, `{"generation":`)
	key := `"` + c.sidecar + `":`
	at := bytes.Index(rest, []byte(key))
	if !ok || at < 0 {
		return generation, false
	}
	seq, _, ok := cutNumber(rest[at:], key)
	return generation, ok && seq >= c.seq
}

// read returns all of it, in one call most often. Under mu.
func (r *settledReader) read() []byte {
	for {
		if cap(r.text) == 0 {
			r.text = make([]byte, 0, 4<<10)
		}
		n, err := r.file.ReadAt(r.text[:cap(r.text)], 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil
		}
		if n < cap(r.text) {
			return r.text[:n]
		}
		r.text = make([]byte, 0, 2*cap(r.text))
	}
}

// cutNumber reads the digits behind a word.
func cutNumber(text []byte, word string) (v uint64, rest []byte, ok bool) {
	text, ok = bytes.CutPrefix(text, []byte(word))
	n := 0
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	v, err := strconv.ParseUint(string(text[:n]), 10, 64)
	return v, text[n:], ok && err == nil
}
