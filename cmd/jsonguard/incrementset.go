package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"jsonguard/internal/generations"
	"jsonguard/internal/table"
	"jsonguard/merge"
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

// read takes in what the current generation holds.
func (inc *increments) read(ctx context.Context, pattern, source, dir string, bar *progress) error {
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
			if file.rows++; file.rows%1024 == 0 {
				bar.at((float64(number) + float64(file.rows)/float64(file.table.Rows)) / float64(len(names)))
			}
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
func (inc *increments) compare(ctx context.Context, in *exportInput, bar *progress) error {
	var buf []byte
	err := in.each(ctx, func(row *table.Row) error {
		if len(inc.place)%1024 == 0 {
			bar.at(in.place(row.Raw))
		}
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
