package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"jsonguard/internal/records"
	"jsonguard/internal/stats"
	"jsonguard/merge"
)

type statsFlags struct {
	records string
	by, agg []string
	expect  []string
	each    int
	csv     bool
}

func (a *app) statsCommand() *cobra.Command {
	var f statsFlags
	cmd := a.verb(groupLook, "stats FILE --records PATTERN [--by FIELD,…] [--agg FUNC:FIELD,…] [--expect LIST]...", "Count, sum and average records by groups; find the missing ones",
		`Group the records of FILE, as it is published, and calculate with their fields. It takes no lock, changes nothing, and reads the
text once: 100 MB take a fraction of a second.

--records PATTERN says what a record is: a pointer in which * stands for any one step, ** for any number of them. In JSON
Lines it is /*, each line, where nothing is said.
--by FIELD,…  groups them. FIELD is the name of a member (success), a pointer from the record (/usage/tokens), or @N: what the
N-th * of the pattern stands for, such as the name of the model in /models/*/results/*. NAME=FIELD calls the column NAME, NAME=
alone is the record itself. A record that lacks the field is in the group "(missing)"; a field that no record has is an error.
--agg FUNC:FIELD,…  is what is calculated: count (of records; count:FIELD of those that have a value), sum, mean, min, max,
median, p90 (any percentile), distinct. true counts as 1 and false as 0, so that mean:success is a rate. null is no value. What
cannot be calculated with (a string in a mean, NaN) is left out and said. Sums are exact. Without --agg: count.

--expect LIST shows what is missing: COLUMN=VALUE,VALUE, or a file (CSV with the columns' names, a JSON array or lines of objects,
or one object with a list for each column, all combinations of them). Columns that no list speaks of are expected with every value
they have. A member or column "count" is how many records there should be; --expect-count is that of all the others.

Exit status 1: no such record or field; with --expect, something is missing or incomplete.`,
		`  jsonguard stats tests.json --records '/models/*/results/*' --by model=@1,prompt_type --agg mean:success,count
  jsonguard stats tests.json --records '/models/*/results/*' --by model=@1 --agg rate=mean:success,p90:seconds --csv
  jsonguard stats tests.json --records '/models/*/results/*' --by model=@1,prompt_type --expect model=gpt,falcon --expect-count 2
  jsonguard stats log.jsonl --by event`,
		between(1, 1), nil)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return a.stats(cmd, args[0], f) }
	flags := cmd.Flags()
	flags.StringVar(&f.records, "records", "", "`PATTERN` of the records")
	flags.StringSliceVar(&f.by, "by", nil, "group by these `FIELDS`")
	flags.StringSliceVar(&f.agg, "agg", nil, "calculate these: `FUNC:FIELD,...` (default count)")
	flags.StringArrayVar(&f.expect, "expect", nil, "`LIST` of the values or combinations that there should be")
	flags.IntVar(&f.each, "expect-count", 1, "`N` records that each of them should have")
	flags.BoolVar(&f.csv, "csv", false, "print CSV")
	return reads.mark(cmd)
}

func (a *app) stats(cmd *cobra.Command, file string, f statsFlags) error {
	q, err := f.query()
	if err != nil {
		return err
	}
	switch {
	case f.csv && a.json:
		return usage("", "stats: --csv and --json are two forms of the same")
	case len(f.expect) == 0 && cmd.Flags().Changed("expect-count"):
		return usage("--expect says what there should be", "stats: --expect-count needs --expect")
	case f.each < 1:
		return usage("", "stats: --expect-count is at least 1")
	}
	expected, err := f.expectations(q.By)
	if err != nil {
		return err
	}
	a.followLinks = true // reading takes nothing away from the other names
	g, err := a.guard(file)
	if err != nil {
		return err
	}
	defer g.Close()
	q.Format = g.Format()
	if q.Records, err = recordsPattern("stats", f.records, g.Format()); err != nil {
		return err
	}
	src, err := g.Published()
	if err != nil {
		return err
	}
	if q.Format == merge.Lines {
		var cut int
		if src, cut = records.CompleteLines(src); cut > 0 {
			a.warn(fmt.Sprintf("%s: its last line is incomplete and not counted", file))
		}
	}
	found, err := stats.Run(src, q)
	if err != nil {
		return statsProblem(file, f.records, err)
	}
	for _, s := range found.Skipped {
		a.warn(fmt.Sprintf("%s: %s of %s left out of %s: the first is %s", file, count(s.Count, "value"), s.Aggregate.Field, s.Aggregate.Name, shortened(s.Example)))
	}
	if expected == nil {
		a.printStats(g, q, found, nil, f)
		return nil
	}
	covered, err := stats.Cover(found, q.By, expected, f.each)
	if err != nil {
		return usage("", "stats: --expect: %v", err)
	}
	a.printStats(g, q, found, covered, f)
	if gaps := gapsIn(covered); gaps.missing+gaps.incomplete > 0 {
		return ended{status: statusMissing}
	}
	return nil
}

// shortened is JSON text for a message.
func shortened(raw []byte) string {
	const most = 60
	text := []rune(printable(string(oneLine(raw))))
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

func (f statsFlags) query() (q stats.Query, err error) {
	for _, text := range f.by {
		field, err := stats.ParseField(text)
		if err != nil {
			return q, usage("success, /usage/tokens, model=@1", "stats: --by: %v", err)
		}
		q.By = append(q.By, field)
	}
	if len(f.agg) == 0 {
		f.agg = []string{"count"}
	}
	for _, text := range f.agg {
		agg, err := stats.ParseAggregate(text)
		var unknown *stats.UnknownFunc
		if errors.As(err, &unknown) {
			hint := "there are " + strings.Join(stats.FuncNames(), ", ") + " and p0 to p100"
			if near := nearestName(unknown.Name, stats.FuncNames()); near != "" {
				hint = "did you mean " + near + "?"
			}
			return q, usage(hint, "stats: --agg: %v", err)
		}
		if err != nil {
			return q, usage("count, mean:success, p90:/usage/seconds, models=distinct:@1", "stats: --agg: %v", err)
		}
		q.Aggregates = append(q.Aggregates, agg)
	}
	names := map[string]bool{}
	for _, name := range columnNames(q) {
		if names[name] {
			return q, usage("NAME=… gives a column another name", "stats: two columns are called %q", name)
		}
		names[name] = true
	}
	return q, nil
}

func columnNames(q stats.Query) (names []string) {
	for _, f := range q.By {
		names = append(names, f.Name)
	}
	for _, agg := range q.Aggregates {
		names = append(names, agg.Name)
	}
	return names
}

// recordsPattern reads --records. In JSON Lines it may be left out.
func recordsPattern(verb, text string, f merge.Format) (merge.Pattern, error) {
	if text == "" {
		if f == merge.Lines {
			return merge.Pattern{"*"}, nil
		}
		return nil, usage("for example --records '/models/*/results/*'; * stands for any one step, ** for any number", "%s: --records PATTERN says which values are the records", verb)
	}
	if _, err := pointer(text); err != nil {
		return nil, err
	}
	p, err := merge.ParsePattern(text)
	if err != nil {
		return nil, usage("", "%s: --records: %v", verb, err)
	}
	return p, nil
}

func (f statsFlags) expectations(by []stats.Field) (all []stats.Expectation, err error) {
	if len(f.expect) > 0 && len(by) == 0 {
		return nil, usage("--by FIELD,… names them", "stats: --expect is about the columns of --by, and there are none")
	}
	for _, text := range f.expect {
		if strings.TrimSpace(text) == "" {
			return nil, usage("COLUMN=VALUE,VALUE or the name of a file", "stats: --expect: an empty list")
		}
		one, ok, err := stats.ParseWords(text, by)
		if err != nil {
			return nil, usage("values with commas or quotes are written as in CSV: '\"a,b\",c'", "stats: --expect: %v", err)
		}
		if ok {
			all = append(all, one)
			continue
		}
		list, from := []byte(text), "the list"
		if !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
			from = text
			if list, err = os.ReadFile(text); err != nil {
				return nil, expectFileProblem(text, by, err)
			}
		}
		more, err := stats.ParseList(list, by)
		if err != nil {
			return nil, &problem{op: "stats: --expect:", path: from, err: err, status: statusUsage}
		}
		all = append(all, more...)
	}
	return all, nil
}

func expectFileProblem(text string, by []stats.Field, err error) error {
	name, _, isWords := strings.Cut(text, "=")
	if !isWords || !errors.Is(err, fs.ErrNotExist) {
		return &problem{op: "stats: --expect: read", path: text, err: bare(err)}
	}
	var names []string
	for _, f := range by {
		names = append(names, f.Name)
	}
	hint := "the columns of --by are " + strings.Join(names, ", ")
	if near := nearestName(name, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return usage(hint, "stats: --expect: %q is none of the columns of --by, and %s is no file", name, text)
}
