package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"jsonguard/internal/vfs"
)

// entry is one pending change as a fold keeps it: what orders it, and where the rest of it stands. What dead processes
// left may be more than memory, and most of it is read once, in its order.
type entry struct {
	Seq        uint64
	Generation uint64
	Monotonic  int64
	at         int64  // of its line in the file
	size       int    // of its line, without the newline
	place      uint32 // of the pointer in readJournal.places, where the line does nothing but set the value there
	placeSize  uint16 // 0: it does something else
}

// entryOf is a line without its newline as an entry, and the version that it names. An operation is not looked at but for
// its place: the checksum says that it is what its writer had checked.
func (r *readJournal) entryOf(text []byte, watermark uint64) (e entry, ours string, ok bool) {
	body, ok := checked(text)
	if !ok {
		return e, "", false
	}
	s := lineScanner{body, true}
	l := s.beginning()
	if !s.ok || !s.optional(`,"ops":["`) || !bytes.HasSuffix(s.rest, []byte(`"]`)) {
		if l, ok = parseLine(text); !ok {
			return e, "", false
		}
	} else if l.Seq > watermark && len(r.places) < 1<<31 {
		place := placeOfSet(s.rest, len(body))
		e.place, e.placeSize = uint32(len(r.places)), uint16(len(place))
		r.places = append(r.places, place...)
	}
	e.Seq, e.Generation, e.Monotonic, e.size = l.Seq, l.Generation, l.Monotonic, len(text)
	return e, l.Ours, true
}

// placeOfSet is the pointer of a line whose only operation is a set, from behind the opening quotation mark on, if nothing
// else than the document decides whether it is carried out: the value is shorter than the deepest nesting, and so fits
// anywhere. Pointers that may be written in two ways, and those that name another place each time, are left out.
func placeOfSet(ops []byte, size int) []byte {
	const longest = 4 << 10 // less than values may nest, and than a uint16
	rest, ok := bytes.CutPrefix(ops, []byte(`{\"op\":\"set\",\"at\":\"`))
	if !ok || size > longest {
		return nil
	}
	end := bytes.IndexByte(rest, '\\')
	if end < 1 || !bytes.HasPrefix(rest[end:], []byte(`\",\"value\":\"`)) || bytes.Contains(rest, []byte(`","`)) {
		return nil
	}
	if place := rest[:end]; !bytes.Contains(place, []byte("/-")) {
		return place
	}
	return nil
}

// placeOf is what e sets, empty if it does something else.
func (r *readJournal) placeOf(e *entry) []byte {
	return r.places[e.place : e.place+uint32(e.placeSize)]
}

// keepText keeps the text of the lines, of which raw is what stands in the file from at on, if that is little. Of a longer
// sidecar the lines are read a second time.
func (r *readJournal) keepText(raw []byte, at int64) {
	if len(r.lines) == 0 {
		return
	}
	const little = journalLimit
	if first := r.lines[0].at; r.end-first <= little {
		r.text, r.textAt = bytes.Clone(raw[first-at:r.end-at]), first
	}
}

// withoutLines is what is still known when the lines were folded.
func (r readJournal) withoutLines() readJournal {
	r.lines, r.places, r.text = nil, nil, nil
	return r
}

// lineReader reads the lines of sidecars. Those of one process follow each other, or stand between those of others that
// lived at the same time: of each sidecar a part is kept.
type lineReader struct {
	f     *fold
	of    *sidecarFile
	file  vfs.File // of a sidecar whose text was not kept; nil: not open
	ours  bool     // file is to be closed
	parts map[*sidecarFile]partRead
	spare []byte // of a sidecar that was read to its end
}

func newLineReader(f *fold) *lineReader { return &lineReader{f: f, parts: map[*sidecarFile]partRead{}} }

// partRead is what stands in a file from a place on.
type partRead struct {
	text []byte
	at   int64
}

// unreadAgain is why a sidecar that could be read before cannot be read a second time. Changes of it may have been carried
// out in front of others that stand before them, so that the fold has to begin again, without it.
type unreadAgain struct {
	sidecar string
	error
}

func (e unreadAgain) Unwrap() error { return e.error }

// added are all, of several.
func (e unreadAgain) added(all map[string]error) map[string]error {
	all = maps.Clone(all)
	if all == nil {
		all = map[string]error{}
	}
	all[e.sidecar] = e.error
	return all
}

// read is the line of p. The error is an unreadAgain.
func (r *lineReader) read(p pendingLine) (line, error) {
	if p.from.made != nil && p.entry == &p.from.lines[len(p.from.lines)-1] {
		return *p.from.made, nil
	}
	text, err := r.text(p)
	if err != nil {
		return line{}, unreadAgain{p.from.name, err}
	}
	l, ok := parseLine(text)
	if !ok || l.Seq != p.Seq {
		return line{}, unreadAgain{p.from.name, fmt.Errorf("its line of seq %d is not what it was a moment ago", p.Seq)}
	}
	l.decode()
	return l, nil
}

func (r *lineReader) text(p pendingLine) ([]byte, error) {
	if kept := p.from.text; kept != nil {
		from := p.at - p.from.textAt
		return kept[from : from+int64(p.size)], nil
	}
	part := r.parts[p.from]
	from := p.at - part.at
	if from < 0 || from+int64(p.size) > int64(len(part.text)) {
		text, err := r.readPart(part.text, p)
		if err != nil {
			return nil, err
		}
		part, from = partRead{text, p.at}, 0
		r.parts[p.from] = part
	}
	if p.Seq == p.from.lastSeq() {
		delete(r.parts, p.from)
		r.spare = part.text
	}
	return part.text[from : from+int64(p.size)], nil
}

// readPart reads the line of p, and those behind it as far as there is room for them; into buffer, if that is large enough.
func (r *lineReader) readPart(buffer []byte, p pendingLine) ([]byte, error) {
	if err := r.open(p.from); err != nil {
		return nil, err
	}
	const most, least, ofAll = 256 << 10, 8 << 10, 16 << 20
	size := max(p.size, min(most, max(least, ofAll/len(r.f.sidecars))))
	if cap(buffer) < size {
		buffer, r.spare = r.spare, nil
	}
	if cap(buffer) < size {
		buffer = make([]byte, size)
	}
	n, err := r.file.ReadAt(buffer[:size], p.at)
	if n >= p.size {
		return buffer[:n], nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}

func (r *lineReader) open(sc *sidecarFile) error {
	if r.of == sc {
		return nil
	}
	r.close()
	if r.file = sc.file; r.file == nil {
		file, err := r.f.s.pending.OpenFile(sc.name, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		r.file, r.ours = file, true
	}
	r.of = sc
	return nil
}

func (r *lineReader) close() {
	if r.ours {
		_ = r.file.Close()
	}
	r.of, r.file, r.ours = nil, nil, false
}

// readAhead reads the lines that are carried out, while those in front of them are.
type readAhead struct {
	batches chan []readLine
	quit    chan struct{}
	now     []readLine
}

type readLine struct {
	line
	err error
}

func (f *fold) readAhead(steps []step) *readAhead {
	const batch, batches = 64, 4
	a := &readAhead{make(chan []readLine, batches), make(chan struct{}), nil}
	lines := newLineReader(f)
	read := func(some []step) []readLine {
		all := make([]readLine, len(some))
		for i, s := range some {
			all[i].line, all[i].err = lines.read(f.pending[s.last])
		}
		return all
	}
	if len(steps) <= batch { // it is not worth the goroutine
		a.now = read(steps)
		lines.close()
		close(a.batches)
		return a
	}
	go func() {
		defer close(a.batches)
		defer lines.close()
		for some := range slices.Chunk(steps, batch) {
			select {
			case a.batches <- read(some):
			case <-a.quit:
				return
			}
		}
	}()
	return a
}

// next is the line of the next step.
func (a *readAhead) next() (line, error) {
	if len(a.now) == 0 {
		a.now = <-a.batches
	}
	l := a.now[0]
	a.now = a.now[1:]
	return l.line, l.err
}

// stop returns when nothing is read any more.
func (a *readAhead) stop() {
	close(a.quit)
	for range a.batches {
	}
}
