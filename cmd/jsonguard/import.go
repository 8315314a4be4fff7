package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"jsonguard/internal/table"
	"jsonguard/merge"
)

type importFlags struct {
	records string
	output  string
}

func (a *app) importCommand() *cobra.Command {
	var f importFlags
	cmd := a.verb(groupChange, "import IN.parquet -o FILE [--records PATTERN]", "Put the rows of a Parquet file into a file as records",
		`Put each row of IN.parquet into FILE as a record, at the place it came from: the way back from jsonguard export, in one guarded
change. A record that is there is replaced, others stay; a record that equals its row keeps its bytes. What FILE lacks on the
way (the model, the list of its results) is made. All or nothing: when one row has no place, nothing is changed (65).
IN.parquet from another program has its types and names taken as they are; --records PATTERN says where its rows belong, with a
column for each *, named as the step before it (models for /models/*). Without a column for the last * the rows become the
elements of a list.

Exit status 65: no Parquet, or damaged, or a row has no place. 69: jsonguard-parquet is missing.`,
		`  jsonguard export results.json --records '/models/*' -o results.parquet && jsonguard import results.parquet -o restored.json`,
		between(1, 1), func(cmd *cobra.Command, args []string) error { return a.imports(cmd, args[0], f) })
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", "", "the JSON `FILE` to change or make")
	flags.StringVar(&f.records, "records", "", "`PATTERN` of the records, for a Parquet file of another program")
	return startsPrograms(writes.mark(cmd))
}

func (a *app) imports(cmd *cobra.Command, input string, f importFlags) error {
	if f.output == "" {
		return usage("-o "+shellQuote(strings.TrimSuffix(input, ".parquet")+".json"), "import: -o FILE says where to")
	}
	bar := a.progressBar("import")
	defer bar.done()
	bar.part(0, 0.3)
	rows, err := importedRows(cmd.Context(), input, f.records, bar)
	if err != nil {
		return err
	}
	g, err := a.guard(f.output)
	if err != nil {
		return err
	}
	defer g.Close()
	result, err := g.Update(cmd.Context(), func(d *merge.Document) error {
		p := placer{doc: d, lines: g.Format() == merge.Lines, made: map[string]bool{}}
		bar.part(0.3, 0.6) // writing it takes the rest
		for i := range rows.list {
			if i%1024 == 0 {
				if err := cmd.Context().Err(); err != nil {
					return err
				}
				bar.at(float64(i) / float64(len(rows.list)))
			}
			if err := p.put(rows.pattern, rows.list[i]); err != nil {
				return &problem{op: "import", path: input, err: fmt.Errorf("row %d: %w", i+1, err), hint: "nothing was changed", status: statusData}
			}
		}
		return nil
	})
	if err != nil {
		return a.named(cmd, f.output, err)
	}
	bar.done()
	if !a.json {
		a.warn(fmt.Sprintf("%s: %s of %s", f.output, count(len(rows.list), "record"), input))
	}
	return a.done(g, result, func(o *object) {
		o.add("input", input)
		o.add("records", len(rows.list))
	})
}

// imported are the rows of a Parquet file.
type imported struct {
	pattern merge.Pattern
	list    []table.Row
}

// importedRows reads all of it before anything is locked.
func importedRows(ctx context.Context, input, pattern string, bar *progress) (*imported, error) {
	args := []string{"decode"}
	if pattern != "" {
		if _, err := pointer(pattern); err != nil {
			return nil, err
		}
		args = append(args, pattern)
	}
	rows := new(imported)
	all := int64(0)
	err := readParquet(ctx, input, args, func(t *table.Table) error {
		var err error
		all = t.Rows
		if rows.pattern, err = merge.ParsePattern(t.Pattern); err != nil {
			return &problem{op: "read", path: input, err: err, status: statusData}
		}
		switch {
		case t.Foreign && pattern == "":
			return usage("for example --records '/rows/*': the rows become the elements of the list rows", "import: %s was not made by jsonguard export: --records PATTERN says where its rows belong", input)
		case !t.Foreign && pattern != "" && t.Pattern != pattern:
			return usage("leave --records out: the file knows where its rows belong", "import: the records of %s are %s", input, t.Pattern)
		}
		return nil
	}, func(row table.Row) error {
		if rows.list = append(rows.list, row); len(rows.list)%1024 == 0 {
			bar.at(float64(len(rows.list)) / float64(all))
		}
		return nil
	})
	return rows, err
}

// placer puts records into a document.
type placer struct {
	doc   *merge.Document
	lines bool
	made  map[string]bool // containers that are there
}

// put sets the record at the place that its steps say, and makes what is missing on the way.
func (p *placer) put(pattern merge.Pattern, row table.Row) error {
	at, indexes, err := place(pattern, row.Steps)
	if err != nil {
		return err
	}
	for i := range at {
		if err := p.container(at[:i], indexes[i]); err != nil {
			return err
		}
	}
	return p.doc.Do(merge.Op{Kind: merge.OpSet, At: at.String(), Value: row.Raw})
}

// container makes what is at p, if nothing is: a list where the step below it is an index.
func (p *placer) container(at merge.Pointer, list bool) error {
	text := at.String()
	if p.made[text] {
		return nil
	}
	p.made[text] = true
	if len(at) == 0 && (p.lines || !p.doc.Missing()) {
		return nil
	}
	if _, err := p.doc.Get(at); !errors.Is(err, merge.ErrNotFound) {
		return err
	}
	empty := merge.Raw("{}")
	if list {
		empty = merge.Raw("[]")
	}
	return p.doc.Do(merge.Op{Kind: merge.OpSet, At: text, Value: empty})
}

// place puts what the wildcards stood for into the pattern. indexes says which steps are places in a list.
func place(pattern merge.Pattern, steps [][]byte) (at merge.Pointer, indexes []bool, err error) {
	for _, name := range pattern {
		if name != "*" && name != "**" {
			at, indexes = append(at, name), append(indexes, false)
			continue
		}
		if len(steps) == 0 {
			return nil, nil, errors.New("fewer steps than its pattern has wildcards")
		}
		step := bytes.TrimSpace(steps[0])
		steps = steps[1:]
		switch {
		case len(step) > 0 && step[0] == '"' && name == "**":
			several, err := merge.ParsePointer(text(step))
			if err != nil {
				return nil, nil, err
			}
			for _, s := range several {
				_, isIndex := merge.ArrayIndex(s)
				at, indexes = append(at, s), append(indexes, isIndex)
			}
		case len(step) > 0 && step[0] == '"':
			at, indexes = append(at, merge.Unquote(step)), append(indexes, false)
		default:
			if _, ok := merge.ArrayIndex(string(step)); !ok {
				return nil, nil, fmt.Errorf("%s stands for a *, and is neither a name nor a place in a list", brief(step))
			}
			at, indexes = append(at, string(step)), append(indexes, true)
		}
	}
	return at, indexes, nil
}
