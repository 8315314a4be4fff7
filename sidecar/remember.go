package sidecar

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"time"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// remembered is what a Guard that folds again and again does not have to parse again. The target is read and compared all
// the same, which costs less than to write it: an edit in place of the same length, within one tick of the filesystem's
// clock (4 ms and more before Linux 6.13) or with its time put back, leaves inode, size and mtime as they were.
// Sidecars, which only their owners write, are believed as far as their beginning does not change.
type remembered struct {
	hash     string
	doc      *merge.Document
	content  pieces // of doc
	sidecars map[string]*readSoFar
	forget   *time.Timer
}

// rememberFor is how long a Guard keeps a document in memory that it does not use.
const rememberFor = 5 * time.Second

// recall takes over the document, if the target is still the version that it is. A fold that fails later may have
// changed it: it is remembered again only when it was published.
func (f *fold) recall() {
	r := &f.g.remembered
	if r.doc != nil && f.target.holds(r.content) {
		r.doc.Consolidate()
		f.target.content, f.target.loaded, f.target.hash, f.target.doc = r.content, true, r.hash, r.doc
	}
	r.doc, r.content = nil, nil
}

// remember keeps what was just published.
func (f *fold) remember(hash string) {
	g := f.g
	r := &g.remembered
	if g.session != nil && f.content.size() >= Large {
		return // what a program writes comes with what it was made from, which the target is read beside: see openBeside
	}
	r.hash, r.doc, r.content = hash, f.doc, f.content
	g.forgetLater()
}

// forgetLater ends the remembering of what is large, or keeps something open, unless it is called again.
func (g *Guard) forgetLater() {
	r := &g.remembered
	if r.forget == nil {
		r.forget = time.AfterFunc(rememberFor, func() {
			if g.turn.try() { // else it is being used, which sets the timer again
				r.doc, r.content = nil, nil
				r.closeSidecars()
				g.turn.give()
			}
		})
		return
	}
	r.forget.Reset(rememberFor)
}

// drop ends all remembering.
func (r *remembered) drop() {
	if r.forget != nil {
		r.forget.Stop()
	}
	r.closeSidecars()
	*r = remembered{}
}

func (r *remembered) closeSidecars() {
	for _, known := range r.sidecars {
		known.close()
	}
}

// readSoFar is how far a sidecar was read.
type readSoFar struct {
	inode uint64
	first []byte   // the beginning of the first line: another one after its owner cut the file back
	at    int64    // where that is
	file  vfs.File // who folds for everybody keeps sidecars of the living open; nil: it is not
	readJournal
}

func (r *readSoFar) close() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}

// takeOpen gives away the open file, if the name still leads to it.
func (r *readSoFar) takeOpen(pending vfs.Dir, name string) (vfs.File, error) {
	if r == nil || r.file == nil {
		return nil, nil
	}
	info, err := pending.Stat(name)
	if err != nil || info.Inode != r.inode {
		return nil, err
	}
	file := r.file
	r.file = nil
	return file, nil
}

// firstSize covers the seq of a line.
const firstSize = 32

// readOn reads what was appended since. ok is false where the file has to be read from its beginning.
func (f *fold) readOn(sc *sidecarFile) (ok bool, err error) {
	known, there := f.g.remembered.sidecars[sc.name]
	mark := f.marks[sc.name]
	if !there || known.seqEnd > mark {
		return false, nil
	}
	info, err := sc.file.Stat()
	if err != nil {
		return false, err
	}
	if info.Inode != known.inode || info.Size < known.end || !f.mayWrite(info.UID) {
		return false, nil
	}
	first := make([]byte, len(known.first))
	if _, err := sc.file.ReadAt(first, known.at); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if !bytes.Equal(first, known.first) {
		return false, nil
	}
	buffer := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buffer)
	tail, err := readUsed(sc.file, known.end, info.Size, *buffer)
	*buffer = tail[:0]
	if err != nil {
		return false, err
	}
	r := known.readJournal
	r.parseLines(tail, mark, known.seqEnd)
	if r.damage != "" {
		return false, nil
	}
	r.keepText(tail, known.end)
	sc.readJournal = r
	sc.known = &readSoFar{inode: known.inode, first: known.first, at: known.at, readJournal: r.withoutLines()}
	return true, nil
}

// readUsed reads a sidecar from a place on, up to the zeros behind its last line, into buffer if that is large enough.
func readUsed(file vfs.File, from, size int64, buffer []byte) (tail []byte, err error) {
	const least = 2 << 10 // most often one line is new
	tail = buffer[:0]
	for from < size {
		have := len(tail)
		tail = slices.Grow(tail, int(min(max(least, int64(have)), size-from)))
		part := tail[have : have+int(min(int64(cap(tail)-have), max(least, int64(have)), size-from))]
		n, err := file.ReadAt(part, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return tail, err
		}
		used := bytes.IndexByte(part[:n], 0)
		if used >= 0 || n < len(part) {
			if used >= 0 {
				n = used
			}
			return tail[:have+n], nil
		}
		tail, from = tail[:have+n], from+int64(n)
	}
	return tail, nil
}

// noteRead remembers a sidecar that was read whole.
func (sc *sidecarFile) noteRead(content []byte, inode uint64) {
	header := int64(bytes.IndexByte(content, '\n') + 1)
	first := content[header:]
	if len(first) < firstSize || first[0] == 0 {
		return // nothing to tell it by
	}
	sc.known = &readSoFar{inode: inode, first: bytes.Clone(first[:firstSize]), at: header, readJournal: sc.readJournal.withoutLines()}
}

// keepOpen leaves the file of a living process open for the next fold: to open and to close it costs more than to read it.
func (f *fold) keepOpen(sc *sidecarFile) bool {
	if sc.dead || sc.known == nil || f.keptOpen >= descriptorLimit || !f.s.board.serving() {
		return false
	}
	f.keptOpen++
	sc.known.file, sc.file = sc.file, nil
	return true
}

// noteSeen remembers the sidecars that were read.
func (f *fold) noteSeen() {
	r := &f.g.remembered
	r.closeSidecars() // of those that are kept open, none is in there any more
	r.sidecars = map[string]*readSoFar{}
	for _, sc := range f.sidecars {
		if sc.known != nil {
			r.sidecars[sc.name] = sc.known
		}
	}
	if f.keptOpen > 0 {
		f.g.forgetLater()
	}
}
