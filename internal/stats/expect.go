package stats

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"jsonguard/internal/records"
	"jsonguard/merge"
)

// Expectation says which values there should be in some of the columns of By: one row for each combination of theirs.
// Columns that no expectation speaks of are expected with every value that they have.
type Expectation struct {
	columns []int // of By
	rows    []expectedRow
}

type expectedRow struct {
	values []wanted
	count  int // records; 0: not said
}

// wanted is a value as JSON text, or a word whose kind is not known: 1 may be a number or a name.
type wanted struct {
	raw  []byte
	word string
}

// countName is the member, or column, of a list that says how many records there should be.
const countName = "count"

// maxCombinations bounds the table that expectations multiply to.
const maxCombinations = 1_000_000

// ParseWords reads COLUMN=VALUE,VALUE: these values of one column. Commas in a value are as in CSV: "a,b".
// ok: text begins with the name of a column.
func ParseWords(text string, by []Field) (e Expectation, ok bool, err error) {
	name, list, found := strings.Cut(text, "=")
	column := columnOf(by, name)
	if !found || column < 0 {
		return e, false, nil
	}
	words, err := csv.NewReader(strings.NewReader(list)).Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return e, true, err
	}
	e.columns = []int{column}
	for _, word := range words {
		e.rows = append(e.rows, expectedRow{values: []wanted{{word: word}}})
	}
	return e, true, nil
}

func columnOf(by []Field, name string) int {
	return slices.IndexFunc(by, func(f Field) bool { return f.Name == name })
}

// ParseList reads the text of a list: a JSON object with a list of values for each column (all combinations of them), a
// JSON array or lines of objects that are combinations, or CSV whose first line names the columns. Combinations may have a
// count, of records.
func ParseList(text []byte, by []Field) ([]Expectation, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	trimmed := bytes.TrimSpace(text)
	if len(trimmed) == 0 {
		return nil, errors.New("the list is empty")
	}
	switch trimmed[0] {
	case '{':
		if merge.Valid(trimmed, merge.JSON) != nil || !listsOnly(trimmed) {
			return parseObjects(trimmed, merge.Lines, by)
		}
		return parseLists(trimmed, by)
	case '[':
		return parseObjects(trimmed, merge.JSON, by)
	}
	return parseCSV(text, by)
}

// listsOnly says whether every member of an object is an array.
func listsOnly(object []byte) bool {
	lists := true
	records.Members(object, func(_, value []byte) bool {
		lists = value[0] == '['
		return lists
	})
	return lists
}

func parseLists(object []byte, by []Field) (out []Expectation, err error) {
	records.Members(object, func(rawName, list []byte) bool {
		name := merge.Unquote(rawName)
		column := columnOf(by, name)
		if column < 0 {
			err = unknownColumn(name, by)
			return false
		}
		e := Expectation{columns: []int{column}}
		err = elements(list, merge.JSON, func(raw []byte) error {
			e.rows = append(e.rows, expectedRow{values: []wanted{{raw: raw}}})
			return nil
		})
		out = append(out, e)
		return err == nil
	})
	return out, err
}

func elements(list []byte, f merge.Format, fn func(raw []byte) error) error {
	scan, err := records.New(list, f, merge.Pattern{"*"})
	if err != nil {
		return err
	}
	return scan.Each(func(r *records.Record) error { return fn(r.Raw) }, func() {})
}

func parseObjects(text []byte, f merge.Format, by []Field) ([]Expectation, error) {
	var e Expectation
	number := 0
	err := elements(text, f, func(raw []byte) error {
		number++
		if raw[0] != '{' {
			return fmt.Errorf("entry %d of the list is no object: %.40s", number, raw)
		}
		row := expectedRow{values: make([]wanted, len(e.columns))}
		var err error
		records.Members(raw, func(rawName, value []byte) bool {
			name := merge.Unquote(rawName)
			column := columnOf(by, name)
			switch {
			case column < 0 && name == countName:
				if row.count, err = strconv.Atoi(string(value)); err != nil {
					err = fmt.Errorf("entry %d of the list: count %s is no number", number, value)
				}
			case column < 0:
				err = unknownColumn(name, by)
			default:
				i := slices.Index(e.columns, column)
				if i < 0 && number > 1 {
					err = fmt.Errorf("entry %d of the list has %s, entry 1 has not", number, name)
					return false
				} else if i < 0 {
					i = len(e.columns)
					e.columns, row.values = append(e.columns, column), append(row.values, wanted{})
				}
				row.values[i] = wanted{raw: value}
			}
			return err == nil
		})
		if err != nil {
			return err
		}
		for i, v := range row.values {
			if v.raw == nil {
				return fmt.Errorf("entry %d of the list has no %s", number, by[e.columns[i]].Name)
			}
		}
		e.rows = append(e.rows, row)
		return nil
	})
	return []Expectation{e}, err
}

func parseCSV(text []byte, by []Field) ([]Expectation, error) {
	r := csv.NewReader(bytes.NewReader(text))
	r.TrimLeadingSpace = true
	lines, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	var e Expectation
	counts := -1
	for i, name := range lines[0] {
		column := columnOf(by, name)
		switch {
		case column >= 0:
			e.columns = append(e.columns, column)
		case name == countName:
			counts = i
		default:
			return nil, unknownColumn(name, by)
		}
	}
	for number, line := range lines[1:] {
		var row expectedRow
		for i, word := range line {
			if i != counts {
				row.values = append(row.values, wanted{word: word})
			} else if row.count, err = strconv.Atoi(word); err != nil {
				return nil, fmt.Errorf("line %d of the list: count %q is no number", number+2, word)
			}
		}
		e.rows = append(e.rows, row)
	}
	return []Expectation{e}, nil
}

func unknownColumn(name string, by []Field) error {
	var names []string
	for _, f := range by {
		names = append(names, f.Name)
	}
	return fmt.Errorf("the list speaks of %q, which is none of the columns %s", name, strings.Join(names, ", "))
}

// State of a combination.
type State string

// The states.
const (
	Complete   State = "complete"
	Incomplete State = "incomplete" // fewer records than expected
	Missing    State = "missing"    // none at all
	Unexpected State = "unexpected" // on no list
)

// Covered is a group, or one that there should be.
type Covered struct {
	Group          // Values is nil where it is missing
	Expected int   // records; 0 where it is unexpected
	State    State // see above
}

// Cover compares groups with what is expected, in the order of their keys. each is how many records a combination has to
// have whose list does not say; at least one.
func Cover(r *Result, by []Field, lists []Expectation, each int) ([]Covered, error) {
	want, err := combinations(r, by, lists, max(each, 1))
	if err != nil {
		return nil, err
	}
	var out []Covered
	for _, g := range r.Groups {
		c := Covered{Group: g, State: Unexpected}
		key := keyText(g.Key)
		if w, ok := want[key]; ok {
			c.Expected, c.State = w.count, Complete
			if g.Records < w.count {
				c.State = Incomplete
			}
			delete(want, key)
		}
		out = append(out, c)
	}
	for _, w := range want {
		out = append(out, Covered{Group: Group{Key: w.key}, Expected: w.count, State: Missing})
	}
	slices.SortFunc(out, func(a, b Covered) int { return CompareKeys(a.Key, b.Key) })
	return out, nil
}

type combination struct {
	key   [][]byte
	count int
}

func keyText(key [][]byte) string {
	var text []byte
	for _, raw := range key {
		text = appendPart(text, canonical(raw))
	}
	return string(text)
}

// combinations multiplies the expectations.
func combinations(r *Result, by []Field, lists []Expectation, each int) (map[string]combination, error) {
	seen := make([]map[string][]byte, len(by)) // values of each column, by their text
	for i := range by {
		seen[i] = map[string][]byte{}
		for _, g := range r.Groups {
			if raw := g.Key[i]; raw != nil {
				seen[i][string(canonical(raw))] = raw
			}
		}
	}
	rows := []combination{{key: make([][]byte, len(by))}}
	spoken := map[int]bool{}
	for _, e := range lists {
		for _, c := range e.columns {
			if spoken[c] {
				return nil, fmt.Errorf("two lists speak of %s", by[c].Name)
			}
			spoken[c] = true
		}
		var err error
		if rows, err = multiply(rows, e, seen); err != nil {
			return nil, err
		}
	}
	for i := range by {
		if spoken[i] {
			continue
		}
		e := Expectation{columns: []int{i}}
		for _, raw := range seen[i] {
			e.rows = append(e.rows, expectedRow{values: []wanted{{raw: raw}}})
		}
		var err error
		if rows, err = multiply(rows, e, seen); err != nil {
			return nil, err
		}
	}
	out := map[string]combination{}
	for _, row := range rows {
		if row.count == 0 {
			row.count = each
		}
		out[keyText(row.key)] = row
	}
	return out, nil
}

func multiply(rows []combination, e Expectation, seen []map[string][]byte) ([]combination, error) {
	if len(rows)*len(e.rows) > maxCombinations {
		return nil, fmt.Errorf("the lists multiply to more than %d combinations", maxCombinations)
	}
	var out []combination
	for _, row := range rows {
		for _, more := range e.rows {
			key := slices.Clone(row.key)
			for i, c := range e.columns {
				key[c] = more.values[i].text(seen[c])
			}
			if row.count > 0 && more.count > 0 {
				return nil, errors.New("two lists have counts; give the combinations in one")
			}
			out = append(out, combination{key, max(row.count, more.count)})
		}
	}
	return out, nil
}

// text is the value as JSON. A word is what the column has of that spelling; else a number, true, false or null where it
// reads as one, and a string.
func (w wanted) text(seen map[string][]byte) []byte {
	if w.raw != nil {
		return w.raw
	}
	asString := merge.Quote(w.word)
	if _, ok := seen[string(canonical(asString))]; ok {
		return asString
	}
	if raw := []byte(strings.TrimSpace(w.word)); len(raw) > 0 && raw[0] != '"' && merge.Valid(raw, merge.JSON) == nil {
		return raw
	}
	return asString
}
