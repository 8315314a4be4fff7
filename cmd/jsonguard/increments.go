package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"jsonguard/internal/generations"
	"jsonguard/internal/table"
	"jsonguard/lock"
	"jsonguard/sidecar"
)

func (a *app) exportIncrement(ctx context.Context, file string, f exportFlags) error {
	if _, err := parquetTool.find(); err != nil {
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
	bar.part(0, 0.25)
	if err := inc.read(ctx, in.pointer(), source, f.increments, bar); err != nil {
		return err
	}
	bar.part(0.25, 0.4)
	if err := inc.compare(ctx, in, bar); err != nil {
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
	bar.part(0.4, 0.55)
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
	bar.part(0.55, 1)
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

// incrementDone says what became of the directory; t is nil where nothing was to be done.
func (a *app) incrementDone(g *sidecar.Guard, dir string, inc *increments, t *table.Table, written, size int64, notes []table.Note) error {
	names, err := inc.dir.Files()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return incrementsProblem(dir, err)
	}
	read := filepath.Join(dir, strconv.Itoa(inc.dir.Number()), "*.parquet")
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
