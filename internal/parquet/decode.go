package parquet

import (
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/parquet-go/parquet-go"

	"jsonguard/internal/table"
)

// ErrNotParquet: no Parquet file, or a damaged one.
var ErrNotParquet = errors.New("not a Parquet file that can be read")

// Decode reads a Parquet file and writes its rows as a stream of package table: those of Encode as they were, and of a file of
// others as well as JSON can say it. For such a file pattern says where its rows belong in a document: a column for each
// wildcard, named as table.StepNames does, all others being members of the records. Without a column for the last wildcard the
// rows are elements of a list.
func Decode(w io.Writer, r io.ReaderAt, size int64, pattern string) (err error) {
	defer damaged(&err)
	f, t, err := open(r, size)
	if err != nil {
		return err
	}
	a, t, err := layout(f, t, pattern)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotParquet, err)
	}
	out, err := table.NewWriter(w, t)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	d := decoder{assembler: a, out: out, places: map[string]int64{}}
	for _, g := range f.RowGroups() {
		if err := d.group(g); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func open(r io.ReaderAt, size int64) (*parquet.File, *table.Table, error) {
	f, err := parquet.OpenFile(r, size, parquet.SkipBloomFilters(true), parquet.SkipPageIndex(true))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNotParquet, err)
	}
	t, err := tableOf(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrNotParquet, err)
	}
	return f, t, nil
}

// damaged makes an error of what a damaged file does to the library that reads it.
func damaged(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrNotParquet, p)
	}
}

type decoder struct {
	*assembler
	out    *table.Writer
	buf    []byte
	places map[string]int64 // the next element of each list, for a wildcard without a column
}

func (d *decoder) group(g parquet.RowGroup) (err error) {
	rows := g.Rows()
	defer func() { err = errors.Join(err, rows.Close()) }()
	buf := make([]parquet.Row, 64)
	for {
		n, err := rows.ReadRows(buf)
		for _, row := range buf[:n] {
			if werr := d.row(row); werr != nil {
				return werr
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", ErrNotParquet, err)
		case n == 0:
			return fmt.Errorf("%w: no more rows, although there should be", ErrNotParquet)
		}
	}
}

func (d *decoder) row(values parquet.Row) error {
	var row table.Row
	var err error
	if d.buf, err = d.assembler.row(values, &row, d.buf); err != nil {
		return fmt.Errorf("%w: %w", ErrNotParquet, err)
	}
	if last := len(d.steps) - 1; last >= 0 && d.steps[last] == nil {
		var list []byte
		for _, s := range row.Steps[:last] {
			list = append(append(list, s...), 0)
		}
		row.Steps[last] = strconv.AppendInt(nil, d.places[string(list)], 10)
		d.places[string(list)]++
	}
	if err := d.out.Write(row); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// Keys writes the steps and hashes of the rows of a file that Encode made, each with the record null: what an increment
// holds, without reading it all.
func Keys(w io.Writer, r io.ReaderAt, size int64) (err error) {
	defer damaged(&err)
	f, t, err := open(r, size)
	if err != nil {
		return err
	}
	if t == nil || t.Hash == "" {
		return fmt.Errorf("%w: jsonguard did not make it as an increment", ErrNotParquet)
	}
	a, t, err := layout(f, t, t.Pattern)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotParquet, err)
	}
	out, err := table.NewWriter(w, t)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	for _, g := range f.RowGroups() {
		if err := keysOf(out, a, g); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func keysOf(out *table.Writer, a *assembler, g parquet.RowGroup) error {
	chunks := g.ColumnChunks()
	hashes, err := flat(chunks[a.hash])
	if err != nil {
		return err
	}
	steps := make([][]parquet.Value, len(a.steps))
	for i, n := range a.steps {
		if steps[i], err = flat(chunks[n.first]); err != nil {
			return err
		}
		if len(steps[i]) != len(hashes) {
			return fmt.Errorf("%w: columns of different length", ErrNotParquet)
		}
	}
	row := table.Row{Steps: make([][]byte, len(steps)), Raw: []byte("null")}
	for k := range hashes {
		row.Hash = uint64(hashes[k].Int64())
		for i, n := range a.steps {
			row.Steps[i] = n.append(row.Steps[i][:0], steps[i][k])
		}
		if err := out.Write(row); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// flat reads a column that is never NULL.
func flat(c parquet.ColumnChunk) (values []parquet.Value, err error) {
	pages := c.Pages()
	defer func() { err = errors.Join(err, pages.Close()) }()
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotParquet, err)
		}
		start := len(values)
		values = append(values, make([]parquet.Value, page.NumValues())...)
		n, err := page.Values().ReadValues(values[start:])
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%w: %w", ErrNotParquet, err)
		}
		values = values[:start+n]
		for i := start; i < len(values); i++ {
			values[i] = values[i].Clone() // the page goes back to where it came from
		}
		parquet.Release(page)
	}
}
