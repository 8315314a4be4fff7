package stats

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"jsonguard/merge"
)

// maxCombinations bounds the table that expectations multiply to.
const maxCombinations = 1_000_000

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
