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
