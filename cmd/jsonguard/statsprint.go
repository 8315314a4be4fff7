package main

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"jsonguard/internal/stats"
	"jsonguard/sidecar"
)

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
			line = append(line, number(strconv.Itoa(c.Records)), number(strconv.Itoa(c.Expected)), cell{text: string(c.State), colour: stateColour(c.State)})
		}
		lines = append(lines, line)
	}
	a.printTable(lines)
}

func number(text string) cell { return cell{text: text, right: true} }

func stateColour(state stats.State) string {
	switch state {
	case stats.Complete:
		return "green"
	case stats.Missing:
		return "red"
	case stats.Incomplete, stats.Unexpected:
		return "yellow"
	}
	return ""
}

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
		lines[1+i][1+j] = cell{text, stateColour(c.State), true}
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
