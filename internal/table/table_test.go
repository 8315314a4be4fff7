package table

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What kinds columns get, and what is said about it.
func TestColumns(t *testing.T) {
	many := make([]string, 0, 200)
	for i := range 200 {
		many = append(many, fmt.Sprintf(`{"scores": {"case-%d": %d}}`, i, i))
	}
	var shared []string // 72 names, of which each object has an eighth
	for i := range 8 {
		scores := make([]string, 9)
		for k := range scores {
			scores[k] = fmt.Sprintf(`"case-%d": 1`, 9*i+k)
		}
		shared = append(shared, `{"scores": {`+strings.Join(scores, ", ")+`}}`)
	}
	wide := "{"
	for i := range maxNames + 1 {
		wide += fmt.Sprintf(`"n%d": 1,`, i)
	}
	wide = strings.TrimSuffix(wide, ",") + "}"
	for _, c := range []struct {
		records string // one a line
		columns string
		notes   []string
	}{
		{`{"a": true, "b": 1, "c": 1.5, "d": "x"}`, "a bool, b int, c double, d string", nil},
		{"{\"a\": 1}\n{\"a\": 2.5}\n{\"a\": 3}", "a double", []string{"a: 2 integers among 1 number with a fraction: kept as doubles, which hold all of them exactly"}},
		{"{\"a\": 9007199254740993}\n{\"a\": 0.5}", "a json", []string{"a: 1 integer beyond 2^53 among 1 number with a fraction: kept as JSON text, because a double would round them"}},
		{"{\"a\": 9007199254740993}\n{\"a\": 1}", "a int", nil},
		{"{\"a\": 9223372036854775808}\n{\"a\": 1}", "a json", []string{"a: 1 number of 2 with more digits than 64 bits hold: kept as JSON text"}},
		{"{\"a\": 3.14159265358979323846}", "a json", []string{"a: 1 number of 1 with more digits than 64 bits hold: kept as JSON text"}},
		{"{\"a\": 1e400}", "a json", []string{"a: 1 number of 1 with more digits than 64 bits hold: kept as JSON text"}},
		{"{\"a\": 1.10}\n{\"a\": 1e5}\n{\"a\": 0.30000000000000004}\n{\"a\": NaN}", "a double", nil},
		{"{\"a\": 1}\n{\"a\": \"1\"}\n{\"a\": \"2\"}", "a json", []string{"a: 2 strings, 1 number: kept as JSON text"}},
		{"{\"a\": {\"x\": 1}}\n{\"a\": [1]}\n{\"a\": null}", "a json? null", []string{"a: 1 object, 1 list: kept as JSON text"}},
		{"{\"a\": null}\n{\"a\": 1}", "a int? null", nil},
		{"{\"b\": 1}\n{\"a\": 1}", "b int? missing, a int? missing", nil},
		{"{\"a\": null}\n{\"a\": 1}\n{}", "a int? both, _null", []string{"_null: lists members that are null, where others of that name are missing"}},
		{"{\"a\": null}", "a json? null", nil},
		{"{\"a\": {}}", "a json", []string{"a: 1 object, all empty: kept as JSON text"}},
		{"{\"a\": []}", "a list of json", nil},
		{"{\"a\": [[1, null], [\"x\"]]}", "a list of list of json? null", []string{"a[][]: 1 string, 1 number: kept as JSON text"}},
		{"{\"a\": {\"x\": {\"y\": 1}}}", "a struct of (x struct of (y int))", nil},
		{"{\"a\": \"\\ud800\"}", "a json", []string{"a: 1 string with half of a surrogate pair, which UTF-8 does not have, among 1: kept as JSON text"}},
		{"{\"a\": {\"\\ud800\": 1}}", "a json", []string{"a: a name with half of a surrogate pair: kept as JSON text"}},
		{"{\"a\": 1, \"a\": 2}", "a int? missing", []string{"records: 1 object with a name that comes twice: the last one counts"}},
		{"{\"\": 1, \"_empty\": 2}", "__empty int, _empty int", nil},
		{"{\"models\": 1}", "models int", []string{"_models: holds a step of /models/*; models is a member of the records"}},
		{"1\n2", "value int", nil},
		{"{\"a\": 1}\nnull", "value struct of (a int)? null", nil},
		{"{\"a\": 1}\n[1]", "value json", []string{"value: 1 object, 1 list: kept as JSON text"}},
		{strings.Join(many, "\n"), "scores map of int", []string{"scores: 200 names in 200 objects, of 1.0 members each: they are taken for data and kept as a map"}},
		{strings.Join(many[:64], "\n"), "", nil},
		{strings.Join(shared, "\n"), "", nil},
		{wide, "value map of int", []string{"value: more than 1000 names: they are taken for data and kept as a map"}},
		{strings.Repeat(`[`, 40) + "1" + strings.Repeat(`]`, 40), "", []string{"value" + strings.Repeat("[]", 27) + "[…: nested deeper than 32: kept as JSON text"}},
	} {
		in := NewInference("/models/*")
		for i, record := range strings.Split(c.records, "\n") {
			in.Add([][]byte{[]byte(fmt.Sprint(i))}, []byte(record))
		}
		tab, notes := in.Table(false)
		require.NoError(t, tab.Check())
		if c.columns != "" {
			require.Equal(t, c.columns, described(tab), "%.200s", c.records)
		}
		var texts []string
		for _, n := range notes {
			texts = append(texts, n.String())
		}
		require.Equal(t, c.notes, texts, "%.200s", c.records)
	}
}

func described(t *Table) string {
	var parts []string
	if t.Spread() {
		for i := range t.Record.Fields {
			parts = append(parts, t.Record.Fields[i].Name+" "+t.Record.Fields[i].described())
		}
	} else {
		parts = append(parts, t.Record.Name+" "+t.Record.described())
	}
	if t.Nulls != "" {
		parts = append(parts, t.Nulls)
	}
	return strings.Join(parts, ", ")
}

func (c *Column) described() string {
	text := string(c.Kind)
	switch c.Kind {
	case Struct:
		var parts []string
		for i := range c.Fields {
			parts = append(parts, c.Fields[i].Name+" "+c.Fields[i].described())
		}
		text += " of (" + strings.Join(parts, ", ") + ")"
	case List, Map:
		text += " of " + c.Fields[0].described()
	}
	switch {
	case c.Both():
		text += "? both"
	case c.Null:
		text += "? null"
	case c.Missing:
		text += "? missing"
	}
	return text
}

func TestStepNames(t *testing.T) {
	for pattern, want := range map[string][]string{
		"": nil, "/a": nil, "/models/*": {"models"}, "/models/*/results/*": {"models", "results"}, "/*": {"key"}, "/*/*": {"key", "key2"},
		"/a/*/a/*": {"a", "a2"}, "/a~1b/*": {"a/b"}, "/**": {"key"}, "/x/*/*": {"x", "key"},
	} {
		require.Equal(t, want, StepNames(pattern), pattern)
	}
}

// Profiles of parts, added up, give the same columns as the whole, also after a way through a file.
func TestProfilesAddUp(t *testing.T) {
	records := []string{`{"a": 1, "l": [1], "o": {"x": null}}`, `{"a": 1.5, "new": "x"}`, `{"l": [null, "x"], "o": {"y": {}}}`, `{"a": "text"}`}
	whole := NewInference("/*")
	parts := NewInference("/*")
	for i, record := range records {
		step := [][]byte{[]byte(fmt.Sprint(i))}
		whole.Add(step, []byte(record))
		one := NewInference("/*")
		one.Add(step, []byte(record))
		parts.Include(one.Profile())
	}
	a, notes := whole.Table(true)
	b, also := parts.Table(true)
	require.True(t, a.SameColumns(b))
	require.Equal(t, a.Record, b.Record)
	require.Equal(t, notes, also)
}
