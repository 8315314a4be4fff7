package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"jsonguard/internal/records"
	"jsonguard/internal/stats"
	"jsonguard/merge"
	"jsonguard/sidecar"
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
	flags.StringSliceVar(&f.agg, "agg", nil, "calculate these: `FUNC:FIELD,…` (default count)")
	flags.StringArrayVar(&f.expect, "expect", nil, "`LIST` of the values or combinations that there should be")
	flags.IntVar(&f.each, "expect-count", 1, "records that each of them should have")
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

// nearestName is the name that somebody who wrote text may have meant, "" if there is none.
func nearestName(text string, names []string) string {
	best, distance := "", 1+max(2, len(text)/3)
	for _, name := range names {
		d := editDistance(strings.ToLower(text), strings.ToLower(name))
		if text != "" && strings.HasPrefix(name, text) {
			d = min(d, 2)
		}
		if d < distance && d < len(name) {
			best, distance = name, d
		}
	}
	return best
}

// statsProblem says what there is instead of what was looked for.
func statsProblem(file, pattern string, err error) error {
	p := &problem{op: "stats", path: file, err: err}
	var none *stats.NoRecordsError
	var field *stats.NoFieldError
	var syntax *merge.SyntaxError
	switch {
	case errors.As(err, &none):
		p.status, p.hint = statusMissing, nearestHint(none.Pattern, none.Nearest)
	case errors.As(err, &field):
		p.status, p.hint = statusMissing, fieldHint(field)
	case !errors.As(err, &syntax):
		return usage("", "stats: %v", err) // about the query
	}
	return p
}

// nearestHint says how far a pattern leads, and what there is.
func nearestHint(pattern merge.Pattern, n records.Nearest) string {
	place := "the document"
	if len(n.At) > 0 {
		place = n.At.String()
	}
	next := ""
	if n.Steps < len(pattern) {
		next = pattern[n.Steps]
	}
	switch {
	case n.Kind == 0:
		return place + " is empty"
	case n.Kind == '{' && len(n.Names) == 0, n.Kind == '[' && n.Members == 0:
		return place + " is there, and empty"
	case n.Kind == '{':
		if near := nearestName(next, n.Names); near != "" {
			meant := slices.Clone(pattern)
			meant[n.Steps] = near
			return fmt.Sprintf("%s has no %q: did you mean %s?", place, next, shellQuote(merge.Pointer(meant).String()))
		}
		return fmt.Sprintf("%s has %s", place, listed(n.Names))
	case n.Kind == '[':
		return fmt.Sprintf("%s is a list of %d: its elements are * or a number", place, n.Members)
	}
	return place + " is no object and no list"
}

// fieldHint says what fields the records have.
func fieldHint(e *stats.NoFieldError) string {
	if len(e.Names) == 0 {
		return "the records are no objects; without a field an aggregate is about the record itself"
	}
	first := ""
	if len(e.Field.At) > 0 {
		first = e.Field.At[0]
	}
	if head, rest, dotted := strings.Cut(first, "."); dotted && slices.Contains(e.Names, head) {
		return "did you mean /" + head + "/" + strings.ReplaceAll(rest, ".", "/") + "?"
	}
	if near := nearestName(first, e.Names); near != "" && near != first {
		if len(e.Field.At) > 1 || strings.ContainsAny(near, "/,=@") {
			near = append(merge.Pointer{near}, e.Field.At[1:]...).String()
		}
		return "did you mean " + shellQuote(near) + "?"
	}
	return "the records have " + listed(e.Names)
}

func listed(names []string) string {
	const some = 12
	text := make([]string, 0, some)
	for _, name := range names[:min(some, len(names))] {
		text = append(text, printable(name))
	}
	if len(names) > some {
		text = append(text, "…")
	}
	return strings.Join(text, ", ")
}

type gaps struct{ complete, incomplete, missing, unexpected int }

func gapsIn(covered []stats.Covered) (g gaps) {
	for _, c := range covered {
		switch c.State {
		case stats.Complete:
			g.complete++
		case stats.Incomplete:
			g.incomplete++
		case stats.Missing:
			g.missing++
		case stats.Unexpected:
			g.unexpected++
		}
	}
	return g
}

// printStats prints groups, or what covers them where something was expected.
func (a *app) printStats(g *sidecar.Guard, q stats.Query, found *stats.Result, covered []stats.Covered, f statsFlags) {
	coverage := covered != nil
	if !coverage {
		for _, group := range found.Groups {
			covered = append(covered, stats.Covered{Group: group})
		}
	}
	switch {
	case a.json:
		a.println(statsJSON(g, q, found, covered, coverage).String())
	case f.csv:
		a.statsCSV(q, covered, coverage)
	case coverage && len(q.By) == 2 && len(f.agg) == 0 && a.printCrossed(q, covered):
		a.printGaps(covered)
	default:
		a.printGroups(q, covered, coverage)
		if coverage {
			a.printGaps(covered)
		}
	}
}

func statsJSON(g *sidecar.Guard, q stats.Query, found *stats.Result, covered []stats.Covered, coverage bool) *object {
	var groups [][]byte
	for _, c := range covered {
		var key, values, o object
		for i, raw := range c.Key {
			if raw != nil {
				key.raw(q.By[i].Name, finite(oneLine(raw)))
			}
		}
		for i, agg := range q.Aggregates {
			switch {
			case c.Values == nil: // a missing combination
			case c.Values[i] == nil:
				values.raw(agg.Name, []byte("null"))
			default:
				values.raw(agg.Name, c.Values[i])
			}
		}
		o.raw("key", []byte(key.String()))
		o.add("records", c.Records)
		o.raw("values", []byte(values.String()))
		if coverage {
			o.add("expected", c.Expected)
			o.add("state", c.State)
		}
		groups = append(groups, []byte(o.String()))
	}
	var skipped [][]byte
	for _, s := range found.Skipped {
		var o object
		o.add("aggregate", s.Aggregate.Name)
		o.add("values", s.Count)
		o.add("example", string(s.Example))
		skipped = append(skipped, []byte(o.String()))
	}
	var o object
	o.add("file", g.Target())
	o.add("records", found.Records)
	o.raw("groups", jsonList(groups))
	o.raw("skipped", jsonList(skipped))
	if coverage {
		gaps := gapsIn(covered)
		o.add("complete", gaps.complete)
		o.add("incomplete", gaps.incomplete)
		o.add("missing", gaps.missing)
		o.add("unexpected", gaps.unexpected)
	}
	return &o
}

func jsonList(texts [][]byte) []byte {
	out := []byte{'['}
	for i, text := range texts {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, text...)
	}
	return append(out, ']')
}

// finite makes a string of a number that JSON has no word for. Inside of an object or a list it stays.
func finite(raw []byte) []byte {
	if last := raw[len(raw)-1]; last == 'N' || last == 'y' {
		return append(append([]byte{'"'}, raw...), '"')
	}
	return raw
}

func (a *app) statsCSV(q stats.Query, covered []stats.Covered, coverage bool) {
	w := csv.NewWriter(a.stdout)
	head := columnNames(q)
	if coverage {
		head = append(head, "records", "expected", "state")
	}
	_ = w.Write(head) // that stdout failed is known to run
	for _, c := range covered {
		var line []string
		for _, raw := range append(slices.Clone(c.Key), valuesOf(c, q)...) {
			line = append(line, csvText(raw))
		}
		if coverage {
			line = append(line, strconv.Itoa(c.Records), strconv.Itoa(c.Expected), string(c.State))
		}
		_ = w.Write(line)
	}
	w.Flush()
}

// valuesOf has a place for each aggregate, of a missing combination too.
func valuesOf(c stats.Covered, q stats.Query) [][]byte {
	if c.Values == nil {
		return make([][]byte, len(q.Aggregates))
	}
	return c.Values
}

// csvText: a string without quotes, anything else as JSON, nothing where there is no value.
func csvText(raw []byte) string {
	switch {
	case raw == nil:
		return ""
	case raw[0] == '"':
		return text(raw)
	}
	return string(oneLine(raw))
}

func (a *app) printGroups(q stats.Query, covered []stats.Covered, coverage bool) {
	var head []cell
	for i, name := range columnNames(q) {
		head = append(head, cell{name, "dim", i >= len(q.By)})
	}
	if coverage {
		head = append(head, cell{"records", "dim", true}, cell{"expected", "dim", true}, cell{"state", "dim", false})
	}
	lines := [][]cell{head}
	for _, c := range covered {
		var line []cell
		for _, raw := range c.Key {
			line = append(line, keyCell(raw))
		}
		for _, raw := range valuesOf(c, q) {
			line = append(line, number(rounded(raw)))
		}
		if coverage {
			line = append(line, number(strconv.Itoa(c.Records)), number(strconv.Itoa(c.Expected)), cell{text: string(c.State), colour: stateColour[c.State]})
		}
		lines = append(lines, line)
	}
	a.printTable(lines)
}

func number(text string) cell { return cell{text: text, right: true} }

var stateColour = map[stats.State]string{stats.Complete: "green", stats.Incomplete: "yellow", stats.Missing: "red", stats.Unexpected: "yellow"}

func keyCell(raw []byte) cell {
	if raw == nil {
		return cell{text: "(missing)", colour: "dim"}
	}
	return cell{text: readable(raw)}
}

// rounded is a result for people: four digits behind the point. --json and --csv have all of them.
func rounded(raw []byte) string {
	if raw == nil {
		return "-"
	}
	text := readable(raw)
	if _, fraction, ok := strings.Cut(text, "."); !ok || len(fraction) <= 4 || raw[0] == '"' {
		return text
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return text
	}
	if f < 0.001 && f > -0.001 || f >= 1e15 || f <= -1e15 {
		return strconv.FormatFloat(f, 'g', 4, 64)
	}
	return strconv.FormatFloat(f, 'f', 4, 64)
}

// printCrossed prints coverage by two columns as one against the other. false: the second has too many values for that.
func (a *app) printCrossed(q stats.Query, covered []stats.Covered) bool {
	const most = 12
	var across, down [][]byte
	for _, c := range covered {
		for i, list := range []*[][]byte{&down, &across} {
			if at, found := slices.BinarySearchFunc(*list, c.Key[i], stats.Compare); !found {
				*list = slices.Insert(*list, at, c.Key[i])
			}
		}
	}
	if len(across) > most {
		return false
	}
	head := []cell{{text: q.By[0].Name + " \\ " + q.By[1].Name, colour: "dim"}}
	for _, raw := range across {
		head = append(head, cell{keyCell(raw).text, "dim", true})
	}
	lines := [][]cell{head}
	for _, raw := range down {
		line := make([]cell, 1+len(across))
		line[0] = keyCell(raw)
		lines = append(lines, line)
	}
	for _, c := range covered {
		i, _ := slices.BinarySearchFunc(down, c.Key[0], stats.Compare)
		j, _ := slices.BinarySearchFunc(across, c.Key[1], stats.Compare)
		text := strconv.Itoa(c.Records)
		switch c.State {
		case stats.Incomplete, stats.Missing:
			text += "/" + strconv.Itoa(c.Expected)
		case stats.Unexpected:
			text += "?"
		}
		lines[1+i][1+j] = cell{text, stateColour[c.State], true}
	}
	a.printTable(lines)
	return true
}

func (a *app) printGaps(covered []stats.Covered) {
	g := gapsIn(covered)
	a.printf("\n%s expected: ", count(g.complete+g.incomplete+g.missing, "combination"))
	a.printf("%s, ", paint(a.stdout, "green", fmt.Sprintf("%d complete", g.complete)))
	a.printf("%s, ", paint(a.stdout, "yellow", fmt.Sprintf("%d incomplete", g.incomplete)))
	a.printf("%s", paint(a.stdout, "red", fmt.Sprintf("%d missing", g.missing)))
	if g.unexpected > 0 {
		a.printf("; %s", paint(a.stdout, "yellow", fmt.Sprintf("%d not expected", g.unexpected)))
	}
	a.println()
}
