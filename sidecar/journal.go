package sidecar

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"jsonguard/internal/vfs"
)

// A journal is one process's sidecar: JSON Lines, first a header, then one change a line, each line sealed
// with a CRC-32C, then zeros. Only its process writes to it, and holds its flock for as long as it lives.
type journal struct {
	dir    vfs.Dir // pending/
	file   vfs.File
	id     string
	inode  uint64
	header header
	seq    uint64 // of the last line
	turn   uint32 // of the board before that was appended
	folded uint64 // as far as this process knows: the last seq that is in the target for good
	size   int64  // what is used of it

	// The file is longer than that, by zeros that are on disk: an fsync that has no new size and no new blocks to write
	// takes half the time (ext4, 17 processes: 62 µs of processor time instead of 82).
	allocated int64
	largest   int64  // that allocated ever was: what is needed again after the file was cut back
	text      []byte // of the last line, for the next one

	headerSize  int64
	entrySynced bool // its name in pending/ is on disk
}

type header struct {
	Version int       `json:"jsonguard"`
	ID      string    `json:"id"`
	Host    string    `json:"host"`
	Boot    string    `json:"boot"`
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
	View    bool      `json:"view,omitempty"` // has a private copy in views/<id>/
}

// journalVersion is written into every header; a reader refuses what is newer.
const journalVersion = 1

// readJournal is what a folder sees of a sidecar.
type readJournal struct {
	header   header
	lines    []entry
	places   []byte // of lines that do nothing but set a value
	text     []byte // of the lines, nil where it was not kept
	textAt   int64  // where that begins in the file
	end      int64  // bytes up to the end of the last valid line
	damage   string // why reading stopped before the end of the file; a torn last line is none
	seqEnd   uint64 // of the last valid line
	lastOurs string // the version that line names, or one before it
}

// newID names a sidecar or a temporary file; 64 random bits are never used again.
func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// createJournal makes the process's sidecar: hidden, locked, and only then under its name, so that nobody ever
// sees one without its lock.
func (s *store) createJournal(command string, view bool) (*journal, error) {
	for {
		j, err := s.tryCreateJournal(command, view)
		if !errors.Is(err, errSweptUnborn) {
			return j, err
		}
	}
}

// errSweptUnborn: a fold took the new file for one of a dead process, in the moment before it was locked.
var errSweptUnborn = errors.New("new sidecar was swept")

func (s *store) tryCreateJournal(command string, view bool) (*journal, error) {
	host, _ := os.Hostname()
	j := &journal{dir: s.pending}
	j.header = header{Version: journalVersion, Host: host, Boot: s.boot, PID: os.Getpid(), Command: command, Since: time.Now().UTC(), View: view}
	j.id = fmt.Sprintf("%s.%d.%s", fileSafe(host), j.header.PID, newID())
	j.header.ID = j.id
	head, err := j.header.marshal()
	if err != nil {
		return nil, err
	}
	hidden := "." + j.id
	if j.file, err = s.pending.OpenFile(hidden, os.O_RDWR|os.O_CREATE|os.O_EXCL, s.perm); err != nil {
		return nil, err
	}
	err = func() error {
		if ok, err := j.file.TryLock(); err != nil {
			return err
		} else if !ok {
			return errSweptUnborn // about to be
		}
		if err := j.write(head); err != nil {
			return err
		}
		j.headerSize = j.size
		info, err := j.file.Stat()
		if err != nil {
			return err
		}
		j.inode = info.Inode
		if err := s.pending.Rename(hidden, j.id); isMissing(err) {
			return errSweptUnborn
		} else if err != nil {
			return err
		}
		return nil
	}()
	if err != nil {
		_ = s.pending.Remove(hidden)
		_ = j.file.Close()
		return nil, err
	}
	return j, nil
}

// fileSafe keeps a host name from being a path.
func fileSafe(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
}

// write puts b behind what is there, whole, or cuts back what it wrote of it: half a line would end the journal for its
// readers.
func (j *journal) write(b []byte) error {
	end := j.size + int64(len(b))
	if end > j.allocated {
		padded := append(b, make([]byte, j.grown(end)-end)...)
		if n, err := j.put(padded, len(b)); err == nil {
			j.size, j.allocated = end, j.size+int64(n)
			j.largest = max(j.largest, j.allocated)
			return nil
		}
		// A disk that is nearly full may have room for b alone.
	}
	if _, err := j.put(b, len(b)); err != nil {
		return err
	}
	j.size, j.allocated = end, max(end, j.allocated)
	return nil
}

// grown is how long a file is made that needs end: in whole pages, longer and longer, because few processes keep more
// than one change in it.
func (j *journal) grown(end int64) int64 {
	const page, growAtMost = 4 << 10, 128 << 10
	return max(j.largest, (end+min(end, growAtMost)+page-1)/page*page)
}

// put writes b, or cuts back to what was there if not even its first bytes, a line, are whole. Where they are, somebody may
// have folded them already.
func (j *journal) put(b []byte, line int) (n int, err error) {
	n, err = j.file.WriteAt(b, j.size)
	if n >= line {
		return n, nil
	}
	if err == nil {
		err = io.ErrShortWrite
	}
	j.allocated = j.size
	if cut := j.file.Truncate(j.size); cut != nil {
		err = errors.Join(err, fmt.Errorf("cut back: %w", cut))
	}
	return n, err
}

// append writes l as the next line and, with sync, makes it durable. An error with a seq of 0: the line is not there. With
// another the file must be abandoned: whether the line counts, the watermark tells. Before anybody is told, the caller
// makes sure that the file is where it will be found.
func (j *journal) append(l line, sync bool) (uint64, error) {
	l.Seq = j.seq + 1
	j.text = l.appendTo(j.text[:0])
	if err := j.write(j.text); err != nil {
		return 0, err
	}
	j.seq++
	if sync {
		if err := j.file.SyncData(); err != nil {
			return j.seq, fmt.Errorf("%w: %w", ErrNotDurable, err)
		}
	}
	return j.seq, nil
}

// linked: nobody would ever fold a sidecar that was removed under our feet (rm -r of the guard).
func (j *journal) linked() error {
	if info, err := j.dir.Stat(j.id); err != nil || info.Inode != j.inode {
		return fmt.Errorf("sidecar was removed: %w", errors.Join(err, ErrDamaged))
	}
	return nil
}

// close gives up the sidecar; with remove its file goes too, while its lock is still held.
func (j *journal) close(remove bool) error {
	var err error
	if remove {
		err = j.dir.Remove(j.id)
	}
	return errors.Join(err, j.file.Close())
}

// parseJournal reads lines above the watermark, as long as they are valid and their seqs follow each other.
func parseJournal(raw []byte, watermark uint64) (readJournal, error) {
	var r readJournal
	first, rest, ok := bytes.Cut(raw, []byte("\n"))
	object, valid := unsealed(first)
	if !ok || !valid {
		return r, fmt.Errorf("%w: header", ErrDamaged)
	}
	if err := json.Unmarshal(object, &r.header); err != nil {
		return r, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	}
	if r.header.Version > journalVersion {
		return r, fmt.Errorf("%w: written by a newer jsonguard (format %d, this one reads %d)", ErrDamaged, r.header.Version, journalVersion)
	}
	r.end = int64(len(first)) + 1
	r.parseLines(rest, watermark, 0)
	return r, nil
}

// parseLines reads lines above the watermark behind the one that is named by previous (0: none was read), as long as
// they are valid and their seqs follow each other. Lines below the watermark may be missing: they were folded, and a
// power cut took what was not on disk.
func (r *readJournal) parseLines(rest []byte, watermark, previous uint64) {
	for {
		previous, rest = r.parseRun(rest, watermark, previous)
		if r.damage != "" {
			return
		}
		// The last line may be torn across sectors, or not be there at all. What is valid behind it is one that follows, or
		// means damage.
		at := nextValid(rest)
		if at < 0 {
			return
		}
		if at == 0 {
			r.damage = fmt.Sprintf("line after seq %d is none, and has a checksum", max(previous, watermark))
			return
		}
		rest = rest[at:]
		r.end += int64(at)
	}
}

// parseRun is parseLines up to the first line that is not whole. It returns the seq in front of that, and where it begins.
func (r *readJournal) parseRun(rest []byte, watermark, previous uint64) (uint64, []byte) {
	for len(rest) > 0 && rest[0] != 0 {
		text, next, complete := bytes.Cut(rest, []byte("\n"))
		if !complete {
			break // torn: it was never acknowledged
		}
		l, ours, valid := r.entryOf(text, watermark)
		if !valid {
			break
		}
		if last := max(previous, watermark); l.Seq <= previous || l.Seq > last+1 {
			r.damage = fmt.Sprintf("seq %d follows %d: what was between them is not there, or does not match its checksum", l.Seq, last)
			break
		}
		previous = l.Seq
		r.seqEnd = l.Seq
		if ours != "" {
			r.lastOurs = ours
		}
		if l.Seq > watermark {
			if r.lines == nil { // most are as long as the first one
				r.lines = make([]entry, 0, 1+len(next)/(len(text)+1))
			}
			l.at = r.end
			r.lines = append(r.lines, l)
		}
		rest = next
		r.end += int64(len(text)) + 1
	}
	return previous, rest
}

// readJournalFile reads a file of pending/. One that is no sidecar is not read into memory: a terabyte costs nothing to make.
// buffer is used for the content, if that fits in.
func readJournalFile(file vfs.File, buffer []byte) ([]byte, vfs.Info, error) {
	const huge, headerLimit = 16 << 20, 64 << 10
	info, err := file.Stat()
	if err == nil && info.Mode.IsRegular() && info.Size > huge {
		head := make([]byte, headerLimit)
		var n int
		if n, err = file.ReadAt(head, 0); err == nil {
			first, _, _ := bytes.Cut(head[:n], []byte("\n"))
			if _, ok := unsealed(first); !ok {
				err = fmt.Errorf("%w: %d bytes without a header", ErrDamaged, info.Size)
			}
		}
	}
	if err != nil {
		return nil, info, err
	}
	return readAllInto(buffer, file)
}

// nextValid is where the next valid line begins, also one in front of which a sector was lost; negative: there is none.
func nextValid(raw []byte) int {
	for at := 0; at < len(raw); {
		at += leadingZeros(raw[at:])
		text, _, complete := bytes.Cut(raw[at:], []byte("\n"))
		begin := bytes.LastIndexByte(text, 0) + 1
		if _, ok := checked(text[begin:]); ok && complete {
			return at + begin
		}
		at += len(text) + 1
	}
	return -1
}

func leadingZeros(raw []byte) (n int) {
	var zeros [4096]byte
	for len(raw)-n >= len(zeros) && bytes.Equal(raw[n:n+len(zeros)], zeros[:]) {
		n += len(zeros)
	}
	for n < len(raw) && raw[n] == 0 {
		n++
	}
	return n
}

// readJournalAbove reads a sidecar whole. While it is being read, its owner may write two lines, of which only the second
// is seen: what looks damaged is read again, and is damaged where it looks so at the same place. content is what was read,
// in buffer if that is large enough.
func readJournalAbove(file vfs.File, watermark uint64, buffer []byte) (r readJournal, content []byte, info vfs.Info, err error) {
	const attempts = 10 // each needs an owner who writes two lines in the same moment
	at := int64(-1)
	for range attempts {
		if content, info, err = readJournalFile(file, buffer); err != nil {
			return r, nil, info, err
		}
		r, err = parseJournal(content, watermark)
		if r.damage == "" || r.end == at {
			break
		}
		at = r.end
	}
	r.keepText(content, 0)
	return r, content, info, err
}

// commandLine is the default of Options.Command.
func commandLine() string {
	args := append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)
	text := strings.Join(args, " ")
	const limit = 200 // enough to recognise it; a value may be of any length
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// marshal is what a journal starts with.
func (h header) marshal() ([]byte, error) {
	object, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	return sealed(object), nil
}
