package parquet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"jsonguard/internal/table"
)

const (
	// rowsOfGroup and bytesOfGroup bound a row group, and so what Encode keeps in memory. DuckDB reads groups of this many
	// rows in parallel.
	rowsOfGroup  = 122_880
	bytesOfGroup = 64 << 20 // of JSON text

	batchBytes = 1 << 20 // of JSON text that is taken apart before it goes to the columns

	// A dictionary that grows beyond this does not pay: the column goes on without it.
	dictionaryBytes = 256 << 10
)

var errOther = errors.New("a record is not as the table says")

// Encode reads a stream of package table and writes it as a Parquet file. It returns how many rows there were.
func Encode(w io.Writer, r io.Reader) (rows int64, err error) {
	in, err := table.NewReader(r)
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	text, err := json.Marshal(in.Table)
	if err != nil {
		return 0, err
	}
	out := parquet.NewWriter(w, schemaOf(in.Table),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}),
		parquet.DictionaryMaxBytes(dictionaryBytes),
		parquet.CreatedBy("jsonguard", "1", ""),
		parquet.KeyValueMetadata(metadataKey, string(text)))
	e := encoder{in: in, out: out, shredder: newShredder(in.Table)}
	for {
		if err := e.batch(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return e.rows, err
		}
	}
	if err := out.Close(); err != nil {
		return e.rows, fmt.Errorf("write: %w", err)
	}
	return e.rows, nil
}

type encoder struct {
	*shredder
	in   *table.Reader
	out  *parquet.Writer
	buf  []byte
	rows int64

	groupRows, groupBytes int64
}

// batch takes some rows. io.EOF: those were the last.
func (e *encoder) batch() error {
	e.buf = e.buf[:0]
	var row table.Row
	var end error
	for len(e.buf) < batchBytes && e.groupRows < rowsOfGroup {
		if e.buf, end = e.in.Next(e.buf, &row); end != nil {
			break
		}
		if err := e.add(&row); err != nil {
			return fmt.Errorf("row %d: %w", e.rows+1, err)
		}
		e.rows++
		e.groupRows++
	}
	if end != nil && !errors.Is(end, io.EOF) {
		return fmt.Errorf("read: %w", end)
	}
	e.groupBytes += int64(len(e.buf))
	for i, c := range e.out.ColumnWriters() {
		if _, err := c.WriteRowValues(e.columns[i]); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		e.columns[i] = e.columns[i][:0]
	}
	if e.groupRows >= rowsOfGroup || e.groupBytes >= bytesOfGroup {
		if err := e.out.Flush(); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		e.groupRows, e.groupBytes = 0, 0
	}
	return end
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func escapePointer(name string) string { return pointerEscapes.Replace(name) }
