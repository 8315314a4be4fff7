package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"path/filepath"
	"time"

	"jsonguard/internal/generations"
	"jsonguard/internal/table"
)

// table is the one of the new file. All files of a generation have the same columns, so that they can be read as one: those
// that have others do not stay.
func (inc *increments) table(ctx context.Context, in *exportInput, bar *progress) (*table.Table, []table.Note, error) {
	for {
		seen := table.NewInference(in.pointer())
		number := 0
		if err := in.each(ctx, func(row *table.Row) error {
			if inc.fresh(number) {
				seen.Add(row.Steps, row.Raw)
			}
			if number++; number%1024 == 0 {
				bar.at(in.place(row.Raw))
			}
			return nil
		}, func() {}); err != nil {
			return nil, nil, err
		}
		all := table.NewInference(in.pointer())
		for _, file := range inc.files {
			if file.stays {
				all.Include(file.table.Profile) // first, so that the columns keep their order
			}
		}
		all.Include(seen.Profile())
		t, notes := all.Table(true)
		t.Rows, t.Profile = seen.Rows(), seen.Profile()
		same := true
		for _, file := range inc.files {
			if file.stays && !t.SameColumns(file.table) {
				file.stays, same = false, false
			}
		}
		if same {
			return t, notes, nil
		}
	}
}

// write makes the files of the next generation and returns the size of the new one.
func (inc *increments) write(ctx context.Context, in *exportInput, bar *progress, next *generations.Next, t *table.Table) (size int64, err error) {
	for _, file := range inc.files {
		if file.stays {
			if err := next.Keep(file.name); err != nil {
				return 0, incrementsProblem(next.Dir(), err)
			}
		}
	}
	if t.Rows == 0 {
		return 0, nil // records were deleted, and that is all
	}
	name := filepath.Join(next.Dir(), incrementName(time.Now()))
	out, err := createParquet(name)
	if err != nil {
		return 0, err
	}
	defer out.close()
	var buf []byte
	if err := encodeParquet(ctx, out, name, t, func(w *table.Writer) error {
		number := -1
		return in.write(ctx, bar, int64(len(inc.place)), func(row *table.Row) error {
			if number++; !inc.fresh(number) {
				return nil
			}
			row.Hash, buf = hashOf(buf, row.Raw)
			return w.Write(*row)
		})
	}); err != nil {
		return 0, err
	}
	if err := out.publish(); err != nil {
		return 0, &problem{op: "write", path: name, err: bare(err), status: dataStatus(err, writes)}
	}
	if info, err := out.Stat(); err == nil {
		size = info.Size
	}
	return size, nil
}

// incrementName is never used again; names sort by time.
func incrementName(now time.Time) string {
	var random [4]byte
	_, _ = rand.Read(random[:]) // it cannot fail
	return now.UTC().Format("20060102T150405.000Z") + "-" + hex.EncodeToString(random[:]) + ".parquet"
}
