package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"jsonguard/internal/records"
	"jsonguard/internal/table"
	"jsonguard/internal/vfs"
	"jsonguard/merge"
	"jsonguard/sidecar"
)

type exportFlags struct {
	records    string
	output     string
	increments string
	compact    bool
}

func (a *app) exportCommand() *cobra.Command {
	var f exportFlags
	cmd := a.verb(groupLook, "export FILE --records PATTERN -o OUT.parquet | --increments DIR [--compact]", "Write the records of a file as Parquet, for DuckDB and pandas",
		`Write the records of FILE as a Parquet file: zstd, a column for each member, nested ones as structs, lists and maps.
--records PATTERN says what a record is: a pointer in which * stands for any one step, such as /models/*/results/*. In JSON Lines
it is /*, each line, where nothing is said.
Each * becomes a column, named as the step before it (models, results; key where there is none): that says which model a row is of,
and brings it back to its place with jsonguard import.
The types of the columns hold all records without loss: whole numbers with fractions among them become doubles where those are
exact, and what no type holds (numbers and strings mixed, more digits than 64 bits have) is kept as JSON text. Each such case is said.
OUT.parquet appears when it is whole and on disk. One that is there is replaced in one step; a file that is no Parquet is not.
FILE is not locked and not changed. The executable jsonguard-parquet does the writing.

--increments DIR writes only what DIR does not have yet, as one more file that is never changed: each process or each day its own.
DIR/current leads to a directory with the records of FILE as of the last export, each once, in files with the same columns, whoever
is killed when. Read it through the link once, as $(readlink -f DIR/current)/*.parquet: what is read then is of one export, and stays
for a minute after the next. DIR mirrors FILE and is no archive: a record that was changed or deleted takes the files that hold it with
it, and their other records are written again, into the new file. One DIR is for one FILE and one PATTERN. --compact joins all files
into one.

Exit status 1: no such record. 69: jsonguard-parquet is missing.`,
		`  jsonguard export results.json --records '/models/*' -o results.parquet
  jsonguard export log.jsonl -o log.parquet
  jsonguard export results.json --records '/models/*' --increments results.parquets`,
		between(1, 1), nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := a.interruptible(cmd.Context())
		defer stop()
		switch {
		case f.output != "" && f.increments != "":
			return usage("", "export: -o writes one file, --increments a directory of them: one or the other")
		case f.compact && f.increments == "":
			return usage("--increments DIR says which", "export: --compact joins the files of a directory")
		case f.increments != "":
			return a.exportIncrement(ctx, args[0], f)
		}
		return a.export(ctx, args[0], f)
	}
	flags := cmd.Flags()
	flags.StringVar(&f.records, "records", "", "`PATTERN` of the records")
	flags.StringVarP(&f.output, "output", "o", "", "the Parquet `FILE` to write")
	flags.StringVar(&f.increments, "increments", "", "write what is new into this `DIR`")
	flags.BoolVar(&f.compact, "compact", false, "join all files of --increments into one")
	return startsPrograms(reads.mark(cmd))
}

func (a *app) export(ctx context.Context, file string, f exportFlags) error {
	if f.output == "" {
		return usage("-o "+shellQuote(strings.TrimSuffix(strings.TrimSuffix(file, ".json"), ".jsonl")+".parquet"), "export: -o OUT.parquet says where to")
	}
	if _, err := parquetTool.find(); err != nil {
		return err
	}
	g, in, err := a.exported(ctx, file, f.records)
	if err != nil {
		return err
	}
	defer g.Close()
	out, err := createParquet(f.output)
	if err != nil {
		return err
	}
	defer out.close()

	bar := a.progressBar("export")
	defer bar.done()
	bar.part(0, inferShare)
	seen, err := in.infer(ctx, bar)
	if err != nil {
		return err
	}
	t, notes := seen.Table(false)
	bar.part(inferShare, 1)
	if err := encodeParquet(ctx, out, f.output, t, func(w *table.Writer) error {
		return in.write(ctx, bar, t.Rows, func(row *table.Row) error { return w.Write(*row) })
	}); err != nil {
		return err
	}
	if err := out.publish(); err != nil {
		return &problem{op: "write", path: f.output, err: bare(err), status: dataStatus(err, writes)}
	}
	bar.done()
	return a.exportDone(g, f.output, out, t, notes)
}

func createParquet(name string) (*newFile, error) {
	out, err := createFile(vfs.OS, name, isParquet)
	if err == nil {
		return out, nil
	}
	p := &problem{op: "write", path: name, err: bare(err), hint: "nothing was changed", status: dataStatus(err, writes)}
	if errors.Is(err, errNoParquet) {
		p.hint = "it is left as it is; another name, or remove it first"
	}
	return nil, p
}

// errNoParquet comes with os.ErrExist: the output cannot be created.
var errNoParquet = errors.New("there is a file that is no Parquet")

// isParquet lets an empty file (mktemp) pass too.
func isParquet(old io.Reader) error {
	begin := make([]byte, 4)
	n, err := io.ReadFull(old, begin)
	switch {
	case n == 0 && errors.Is(err, io.EOF), string(begin[:n]) == "PAR1":
		return nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	return fmt.Errorf("%w: %w", errNoParquet, os.ErrExist)
}

// exportDone says what was written.
func (a *app) exportDone(g *sidecar.Guard, output string, out *newFile, t *table.Table, notes []table.Note) error {
	size := int64(0)
	if info, err := out.Stat(); err == nil {
		size = info.Size
	}
	if a.json {
		var o object
		o.add("file", g.Target())
		o.add("output", output)
		o.add("records", t.Rows)
		o.add("columns", t.Names())
		o.add("bytes", size)
		o.add("notes", notNil(notes))
		a.println(o.String())
		return nil
	}
	a.explain(notes)
	a.warn(fmt.Sprintf("%s: %s in %s, %s", output, count(int(t.Rows), "record"), count(len(t.Names()), "column"), byteCount(size)))
	return nil
}

// explain prints notes, the first of many.
func (a *app) explain(notes []table.Note) {
	const most = 20
	for i, n := range notes {
		if i == most && !a.verbose {
			a.warn(fmt.Sprintf("… and %d more of this kind: -v shows all", len(notes)-most))
			return
		}
		a.warn(n.String())
	}
}

// byteCount is a size for people.
func byteCount(n int64) string {
	switch {
	case n < 10_000:
		return count(int(n), "byte")
	case n < 10_000_000:
		return fmt.Sprintf("%d kB", (n+500)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// exportInput is a version of a file and the pattern of its records.
type exportInput struct {
	file    string
	pattern merge.Pattern
	src     []byte
	scan    *records.Scan
}

// exported reads FILE, with what is pending where that can be had without waiting.
func (a *app) exported(ctx context.Context, file, pattern string) (*sidecar.Guard, *exportInput, error) {
	a.followLinks = true // reading takes nothing away from the other names
	g, err := a.guard(file)
	if err != nil {
		return nil, nil, err
	}
	in, err := a.readExported(ctx, g, file, pattern)
	if err != nil {
		_ = g.Close()
		return nil, nil, err
	}
	return g, in, nil
}

func (a *app) readExported(ctx context.Context, g *sidecar.Guard, file, text string) (*exportInput, error) {
	pattern, err := recordsPattern("export", text, g.Format())
	if err != nil {
		return nil, err
	}
	src, err := g.Read(ctx)
	if err != nil {
		return nil, err
	}
	scan, err := records.New(src, g.Format(), pattern)
	if err != nil {
		return nil, usage("", "export: --records: %v", err)
	}
	return &exportInput{file: file, pattern: pattern, src: src, scan: scan}, nil
}

// each calls f for all records. again: those before did not count. The row is valid until f returns.
func (in *exportInput) each(ctx context.Context, f func(row *table.Row) error, again func()) error {
	row := table.Row{Steps: make([][]byte, in.scan.Wildcards())}
	n := 0
	err := in.scan.Each(func(r *records.Record) error {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		for i := range row.Steps {
			row.Steps[i] = r.Wildcard(i)
		}
		row.Raw = r.Raw
		return f(&row)
	}, again)
	var syntax *merge.SyntaxError
	if errors.As(err, &syntax) || errors.Is(err, context.Canceled) {
		return &problem{op: "export", path: in.file, err: err}
	}
	return err
}

// inferShare of the work is looking at all records.
const inferShare = 0.25

// infer looks at all records. There must be some.
func (in *exportInput) infer(ctx context.Context, bar *progress) (*table.Inference, error) {
	seen := table.NewInference(in.pointer())
	err := in.each(ctx, func(row *table.Row) error {
		seen.Add(row.Steps, row.Raw)
		if seen.Rows()%1024 == 0 {
			bar.at(in.place(row.Raw))
		}
		return nil
	}, func() { seen = table.NewInference(in.pointer()) })
	if err == nil && seen.Rows() == 0 {
		err = in.none()
	}
	return seen, err
}

// place says how far into the document a record is, from 0 to 1.
func (in *exportInput) place(raw []byte) float64 {
	before := cap(in.src) - cap(raw) // a record is a part of the document, unless that is one of lines
	return float64(before) / float64(len(in.src)+1)
}

func (in *exportInput) write(ctx context.Context, bar *progress, rows int64, f func(row *table.Row) error) error {
	n := int64(0)
	return in.each(ctx, func(row *table.Row) error {
		if n++; n%1024 == 0 {
			bar.at(float64(n) / float64(rows))
		}
		return f(row)
	}, func() {}) // the scan knows names that come twice by now
}

// none explains that no record was found.
func (in *exportInput) none() error {
	return &problem{op: "export", path: in.file, err: fmt.Errorf("no record matches %s", in.pointer()), status: statusMissing,
		hint: nearestHint(in.pattern, in.scan.Nearest())}
}

// pointer is the pattern as it is written.
func (in *exportInput) pointer() string { return merge.Pointer(in.pattern).String() }
