package table

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A stream is a table and its rows, for another process: a line that names the format, the table as JSON, the rows, and an end, so
// that a stream that was cut is told from one that is whole. Numbers are unsigned varints.
//
//	stream = magic, length, table, { row }, 0.
//	row    = length of the rest of it, which is never 0; { length, step }, [hash: 8 bytes], record.

const magic = "jsonguard table 1\n"

// MaxRow bounds a row, in bytes, and also the table: what claims to be longer is damage.
const MaxRow = 1 << 30

// ErrFormat: a stream of another version, or no stream at all.
var ErrFormat = errors.New("not a stream of tables of this version")

// ErrCut: the stream ends before its end.
var ErrCut = errors.New("the stream was cut")

// Row is a record on its way: what the wildcards stand for and the record itself, both as JSON text.
type Row struct {
	Steps [][]byte
	Hash  uint64 // where the table has such a column
	Raw   []byte
}

// Writer writes a stream.
type Writer struct {
	w      *bufio.Writer
	hashed bool
	few    []byte
}

// NewWriter begins a stream with its table.
func NewWriter(w io.Writer, t *Table) (*Writer, error) {
	out := &Writer{w: bufio.NewWriterSize(w, 1<<18), hashed: t.Hash != ""}
	text, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	_, _ = out.w.WriteString(magic)
	_, _ = out.w.Write(binary.AppendUvarint(nil, uint64(len(text))))
	_, err = out.w.Write(text)
	return out, err
}

// Write adds a row.
func (w *Writer) Write(row Row) error {
	head := w.few[:0]
	for _, s := range row.Steps {
		head = binary.AppendUvarint(head, uint64(len(s)))
		head = append(head, s...)
	}
	if w.hashed {
		head = binary.LittleEndian.AppendUint64(head, row.Hash)
	}
	w.few = head
	size := len(head) + len(row.Raw)
	if size > MaxRow {
		return fmt.Errorf("a record of %d bytes: at most %d are taken", size, MaxRow)
	}
	var length [binary.MaxVarintLen64]byte
	_, _ = w.w.Write(length[:binary.PutUvarint(length[:], uint64(size))])
	_, _ = w.w.Write(head)
	_, err := w.w.Write(row.Raw)
	return err
}

// Close writes the end.
func (w *Writer) Close() error {
	_ = w.w.WriteByte(0)
	return w.w.Flush()
}

// Reader reads a stream.
type Reader struct {
	Table *Table
	r     *bufio.Reader
}

// NewReader reads as far as the table. ErrFormat: it is no stream.
func NewReader(r io.Reader) (*Reader, error) {
	in := &Reader{r: bufio.NewReaderSize(r, 1<<18)}
	line := make([]byte, len(magic))
	if _, err := io.ReadFull(in.r, line); err != nil {
		return nil, cut(err)
	}
	if string(line) != magic {
		return nil, ErrFormat
	}
	text, err := in.part(nil)
	if err != nil {
		return nil, err
	}
	in.Table = new(Table)
	if err := json.Unmarshal(text, in.Table); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return in, in.Table.Check()
}

// Next reads a row. buf, which may be nil, is appended to: what the row refers to is a part of what it returns. io.EOF: that was
// the last one. ErrCut: it was not.
func (r *Reader) Next(buf []byte, row *Row) ([]byte, error) {
	start := len(buf)
	buf, err := r.part(buf)
	if err != nil {
		return buf, err
	}
	rest := buf[start:]
	if len(rest) == 0 {
		return buf, io.EOF
	}
	row.Steps = row.Steps[:0]
	for range r.Table.Steps {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return buf, ErrFormat
		}
		row.Steps = append(row.Steps, rest[size:size+int(n)])
		rest = rest[size+int(n):]
	}
	if r.Table.Hash != "" {
		if len(rest) < 8 {
			return buf, ErrFormat
		}
		row.Hash = binary.LittleEndian.Uint64(rest)
		rest = rest[8:]
	}
	row.Raw = rest
	return buf, nil
}

func (r *Reader) part(buf []byte) ([]byte, error) {
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		return buf, cut(err)
	}
	if n > MaxRow {
		return buf, ErrFormat
	}
	start := len(buf)
	// In steps: a length is only believed as far as there are bytes.
	for n > 0 {
		step := min(n, 1<<20)
		buf = append(buf, make([]byte, step)...)
		if _, err := io.ReadFull(r.r, buf[uint64(len(buf))-step:]); err != nil {
			return buf[:start], cut(err)
		}
		n -= step
	}
	return buf, nil
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return err
}
