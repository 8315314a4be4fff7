package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"jsonguard/internal/generations"
	"jsonguard/internal/table"
	"jsonguard/lock"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

// Increments: a directory whose current generation holds the records of FILE as of the last export, each once, in one or more
// Parquet files that are never changed. What was exported is known from those files alone: each row has its place (the steps) and a
// hash. A file whose rows are all as they are in FILE stays; the records that are in none of those that stay make one new file. So
// what was only added to FILE makes one more file and no other difference; what was changed or deleted makes the files that held
// it go, and their other records join the new one.

// increment is a file of the current generation.
type increment struct {
	name  string
	table *table.Table
	rows  int64
	alive int64 // rows that are in FILE as they are here
	stays bool
}

// increments is what an export knows of the directory and of FILE.
type increments struct {
	dir   *generations.Dir
	files []*increment
	known map[string]exportedRow
	place []int32 // for each record of FILE: the file that holds it, -1: none

	added, changed, deleted int64
}

type exportedRow struct {
	hash uint64
	file int32
	seen bool
}

func (a *app) exportIncrement(ctx context.Context, file string, f exportFlags) error {
	if _, err := findParquetTool(); err != nil {
		return err
	}
	g, _, err := a.exported(ctx, file, f.records) // mistakes are said before there is a directory
	if err != nil {
		return err
	}
	defer g.Close()
	dir, err := generations.Open(ctx, f.increments, lock.Timeout(a.timeout))
	if err != nil {
		return incrementsProblem(f.increments, err)
	}
	defer dir.Close()
	// What was written while we waited belongs to this export too.
	in, err := a.readExported(ctx, g, file, f.records)
	if err != nil {
		return err
	}
	source, err := sourceOf(f.increments, g.Target())
	if err != nil {
		return err
	}
	inc := &increments{dir: dir, known: map[string]exportedRow{}}
	bar := a.progressBar("export")
	defer bar.done()
	if err := inc.read(ctx, in.pointer(), source, f.increments); err != nil {
		return err
	}
	if err := inc.compare(ctx, in); err != nil {
		return err
	}
	if f.compact && !inc.isCompact() {
		for _, file := range inc.files {
			file.stays = false
		}
	}
	if inc.added+inc.changed+inc.deleted == 0 && inc.allStay() {
		return a.incrementDone(g, f.increments, inc, nil, 0, 0, nil)
	}
	t, notes, err := inc.table(ctx, in, bar)
	if err != nil {
		return err
	}
	t.Source = source
	next, err := dir.Begin()
	if err != nil {
		return incrementsProblem(f.increments, err)
	}
	defer next.Abort()
	size, err := inc.write(ctx, in, bar, next, t)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return &problem{op: "export", path: f.increments, err: err}
	}
	if err := next.Publish(); err != nil {
		return incrementsProblem(f.increments, err)
	}
	bar.done()
	return a.incrementDone(g, f.increments, inc, t, t.Rows, size, notes)
}

func incrementsProblem(dir string, err error) error {
	p := &problem{op: "export to", path: dir, err: bare(err), status: dataStatus(err, writes)}
	var path *fs.PathError
	switch {
	case errors.Is(err, generations.ErrForeign):
		p.status, p.hint = statusCreate, "it is left as it is; increments want a directory of their own"
	case errors.Is(err, lock.ErrTimeout):
		p.err, p.hint = err, "another export is at it; --timeout waits longer"
	case errors.As(err, &path) && path.Op == "symlink":
		p.hint = "increments need a filesystem with symbolic links"
	}
	return p
}

// sourceOf names the file by its way from the directory: both can be moved together.
func sourceOf(dir, target string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	if way, err := filepath.Rel(abs, target); err == nil {
		return filepath.ToSlash(way), nil
	}
	return filepath.ToSlash(target), nil // another drive
}

// read takes in what the current generation holds.
func (inc *increments) read(ctx context.Context, pattern, source, dir string) error {
	names, err := inc.dir.Files()
	if err != nil {
		return incrementsProblem(dir, err)
	}
	for _, name := range names {
		file := &increment{name: name, stays: true}
		number := int32(len(inc.files))
		err := readParquet(ctx, inc.dir.Path(name), []string{"keys"}, func(t *table.Table) error {
			file.table = t
			switch {
			case t.Pattern != pattern:
				return usage("one directory is for one pattern", "export: %s has the records %s, not %s", dir, t.Pattern, pattern)
			case t.Source != source:
				return usage("one directory is for one file; if that file was moved, move the directory with it", "export: %s has the records of %s, not of %s", dir, t.Source, source)
			case len(t.Profile) != len(t.Steps)+1:
				return &problem{op: "read", path: inc.dir.Path(name), err: errors.New("jsonguard did not make it as an increment"), status: statusData}
			}
			return nil
		}, func(row table.Row) error {
			file.rows++
			inc.known[keyOf(row.Steps)] = exportedRow{hash: row.Hash, file: number}
			return nil
		})
		if err != nil {
			return err
		}
		inc.files = append(inc.files, file)
	}
	return nil
}

// keyOf is the place of a record, however its names are written.
func keyOf(steps [][]byte) string {
	var key []byte
	for _, s := range steps {
		if len(s) > 0 && s[0] == '"' {
			key = table.AppendQuoted(key, table.AppendUnquoted(nil, s))
		} else {
			key = append(key, s...)
		}
		key = append(key, 0) // in a quoted name it is escaped
	}
	return string(key)
}

// hashOf is the same for records that differ in white space only.
func hashOf(buf, raw []byte) (uint64, []byte) {
	buf = merge.Compact(buf[:0], raw)
	sum := sha256.Sum256(buf)
	return binary.LittleEndian.Uint64(sum[:]), buf
}

// compare finds out which records of FILE are in which file, and which files stay.
func (inc *increments) compare(ctx context.Context, in *exportInput) error {
	var buf []byte
	err := in.each(ctx, func(row *table.Row) error {
		var hash uint64
		hash, buf = hashOf(buf, row.Raw)
		key := keyOf(row.Steps)
		have, known := inc.known[key]
		switch {
		case !known:
			inc.added++
			inc.place = append(inc.place, -1)
			return nil
		case have.hash != hash:
			inc.changed++
			inc.place = append(inc.place, -1)
		default:
			inc.files[have.file].alive++
			inc.place = append(inc.place, have.file)
		}
		have.seen = true
		inc.known[key] = have
		return nil
	}, func() { // names that come twice: what was counted so far did not count
		inc.place, inc.added, inc.changed = inc.place[:0], 0, 0
		for key, have := range inc.known {
			have.seen = false
			inc.known[key] = have
		}
		for _, file := range inc.files {
			file.alive = 0
		}
	})
	if err != nil {
		return err
	}
	if len(inc.place) == 0 {
		return in.none() // also where there were some: that FILE is empty now is a mistake more often than not
	}
	for _, have := range inc.known {
		if !have.seen {
			inc.deleted++
		}
	}
	for _, file := range inc.files {
		file.stays = file.alive == file.rows
	}
	return nil
}

func (inc *increments) allStay() bool {
	for _, file := range inc.files {
		if !file.stays {
			return false
		}
	}
	return true
}

// isCompact: one file, and nothing to be added to it.
func (inc *increments) isCompact() bool {
	return len(inc.files) == 1 && inc.files[0].stays && inc.added+inc.changed == 0
}

// fresh says whether a record, by its number, goes into the new file.
func (inc *increments) fresh(number int) bool {
	file := inc.place[number]
	return file < 0 || !inc.files[file].stays
}

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
				bar.at(inferShare * in.place(row.Raw))
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

// incrementDone says what became of the directory; t is nil where nothing was to be done.
func (a *app) incrementDone(g *sidecar.Guard, dir string, inc *increments, t *table.Table, written, size int64, notes []table.Note) error {
	names, err := inc.dir.Files()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return incrementsProblem(dir, err)
	}
	read := filepath.Join(dir, generations.Link, "*.parquet")
	if a.json {
		var o object
		o.add("file", g.Target())
		o.add("increments", dir)
		o.add("generation", inc.dir.Number())
		o.add("files", len(names))
		o.add("records", len(inc.place))
		o.add("added", inc.added)
		o.add("changed", inc.changed)
		o.add("deleted", inc.deleted)
		o.add("written", written)
		o.add("bytes", size)
		o.add("notes", notNil(notes))
		a.println(o.String())
		return nil
	}
	if t == nil {
		a.warn(fmt.Sprintf("%s: nothing new since generation %d, %s in %s", dir, inc.dir.Number(), count(len(inc.place), "record"), count(len(names), "file")))
		return nil
	}
	a.explain(notes)
	a.warn(fmt.Sprintf("%s: %d added, %d changed, %d deleted; %s in a new file of %s; generation %d has %s in %s: %s", dir,
		inc.added, inc.changed, inc.deleted, count(int(written), "record"), byteCount(size), inc.dir.Number(), count(len(inc.place), "record"), count(len(names), "file"), read))
	return nil
}
