package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/internal/table"
	"jsonguard/merge"
)

// encoded is a Parquet file of records, each with a step.
func encoded(t require.TestingT, steps, records []string) ([]byte, *table.Table, []table.Note) {
	in := table.NewInference("/models/*")
	for i, r := range records {
		in.Add([][]byte{[]byte(steps[i])}, []byte(r))
	}
	tab, notes := in.Table(true)
	require.NoError(t, tab.Check())
	var stream, file bytes.Buffer
	w, err := table.NewWriter(&stream, tab)
	require.NoError(t, err)
	for i, r := range records {
		require.NoError(t, w.Write(table.Row{Steps: [][]byte{[]byte(steps[i])}, Hash: uint64(i) << 60, Raw: []byte(r)}))
	}
	require.NoError(t, w.Close())
	rows, err := Encode(&file, &stream)
	require.NoError(t, err)
	require.EqualValues(t, len(records), rows)
	return file.Bytes(), tab, notes
}

// decoded are the rows of a Parquet file.
func decoded(t require.TestingT, file []byte, pattern string) (rows []table.Row, tab *table.Table) {
	var stream bytes.Buffer
	require.NoError(t, Decode(&stream, bytes.NewReader(file), int64(len(file)), pattern))
	return read(t, &stream)
}

func read(t require.TestingT, stream io.Reader) (rows []table.Row, tab *table.Table) {
	r, err := table.NewReader(stream)
	require.NoError(t, err)
	for {
		var row table.Row
		if _, err := r.Next(nil, &row); errors.Is(err, io.EOF) {
			return rows, r.Table
		} else {
			require.NoError(t, err)
		}
		rows = append(rows, row)
	}
}

// requireSame compares by value, as merging does.
func requireSame(t require.TestingT, want, got string, context ...any) {
	doc, err := merge.Parse([]byte(got), merge.JSON)
	require.NoError(t, err, "%s", got)
	require.NoError(t, doc.Do(merge.Op{Kind: merge.OpTest, At: "", Value: merge.Raw(want)}), "want %s\ngot  %s %v", want, got, context)
}

var numberTexts = []string{"0", "-0", "1", "-1", "17", "3.5", "0.1", "1.10", "1e5", "1E-7", "-2.50", "9007199254740991", "9007199254740993",
	"9223372036854775807", "-9223372036854775808", "9223372036854775808", "123456789012345678901234567890", "3.14159265358979323846",
	"1e400", "1e-400", "5e-324", "1.7976931348623157e308", "NaN", "Infinity", "-Infinity", "100000000000000000000", "0.30000000000000004", "-0.0", "1e22", "123456.789e3"}

var stringTexts = []string{`""`, `"a"`, `"gpt-4o"`, `"Zoë"`, `"\u00e9"`, `"a\/b"`, `"\n\t\"\\"`, `"\ud83d\ude00"`, `"\ud800"`, `"x\udc00y"`, `"\u0000"`, `"null"`, `"1"`}

// Names that are easily mixed up.
var nameTexts = []string{`"a"`, `"b"`, `"c"`, `"id"`, `"Id"`, `""`, `"_empty"`, `"models"`, `"_models"`, `"value"`, `"_null"`, `"_hash"`, `"a.b"`, `"a/b"`, `"~1"`,
	`"list"`, `"element"`, `"key_value"`, `"é"`, `"\u00e9"`}

// jsonText draws any JSON value.
func jsonText(t *rapid.T, depth int) string {
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "word")
	case 1, 2:
		return rapid.SampledFrom(numberTexts).Draw(t, "number")
	case 3:
		return rapid.SampledFrom(stringTexts).Draw(t, "string")
	case 4:
		return list(t, rapid.IntRange(0, 3).Draw(t, "length"), func() string { return jsonText(t, depth-1) })
	}
	return object(t, rapid.IntRange(0, 4).Draw(t, "members"), func(string) string { return jsonText(t, depth-1) })
}

func list(t *rapid.T, n int, value func() string) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = value()
	}
	space := rapid.SampledFrom([]string{"", " ", "\n\t"}).Draw(t, "space")
	return "[" + space + strings.Join(parts, space+","+space) + space + "]"
}

func object(t *rapid.T, n int, value func(name string) string) string {
	parts := make([]string, n)
	space := rapid.SampledFrom([]string{"", " "}).Draw(t, "space")
	for i := range parts {
		name := rapid.SampledFrom(nameTexts).Draw(t, "name") // also one that is there already
		parts[i] = name + space + ":" + space + value(name)
	}
	return "{" + space + strings.Join(parts, space+","+space) + space + "}"
}

// shape draws a function that makes values of one type for the most part, as records have them.
func shape(t *rapid.T, depth int) func(*rapid.T) string {
	kind := rapid.IntRange(0, 8).Draw(t, "shape")
	if depth == 0 && kind > 5 {
		kind = 5
	}
	inside := map[string]func(*rapid.T) string{} // by name; "" for elements
	value := func(t *rapid.T, name string) string {
		if inside[name] == nil {
			inside[name] = shape(t, depth-1)
		}
		return inside[name](t)
	}
	mixed := rapid.IntRange(0, 9).Draw(t, "mixed") == 0
	nulls := rapid.IntRange(0, 4).Draw(t, "nulls") == 0
	return func(t *rapid.T) string {
		if mixed && rapid.IntRange(0, 3).Draw(t, "other") == 0 {
			return jsonText(t, depth)
		}
		if nulls && rapid.IntRange(0, 2).Draw(t, "null") == 0 {
			return "null"
		}
		switch kind {
		case 0:
			return rapid.SampledFrom([]string{"true", "false"}).Draw(t, "bool")
		case 1:
			return fmt.Sprint(rapid.Int64().Draw(t, "int"))
		case 2:
			return fmt.Sprintf("%v", rapid.Float64Range(-1e6, 1e6).Draw(t, "double"))
		case 3:
			return rapid.SampledFrom(numberTexts).Draw(t, "number")
		case 4, 5:
			return rapid.SampledFrom(stringTexts[:8]).Draw(t, "string")
		case 6:
			return list(t, rapid.IntRange(0, 3).Draw(t, "length"), func() string { return value(t, "") })
		}
		return object(t, rapid.IntRange(0, 5).Draw(t, "members"), func(name string) string { return value(t, name) })
	}
}

func drawRecords(t *rapid.T) (steps, records []string) {
	record := func(t *rapid.T) string { return jsonText(t, 3) }
	if rapid.IntRange(0, 5).Draw(t, "alike") > 0 {
		record = shape(t, 3)
	}
	n := rapid.IntRange(1, 12).Draw(t, "records")
	mixed := rapid.IntRange(0, 5).Draw(t, "steps") == 0
	for i := range n {
		step := fmt.Sprint(i)
		if mixed && i%2 == 0 || !mixed && n%2 == 0 {
			step = fmt.Sprintf(`"k\u00e9y%d"`, i)
		}
		steps, records = append(steps, step), append(records, record(t))
	}
	return steps, records
}

// What goes into a Parquet file comes out again, by value, in the order it was in.
func TestRecordsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps, records := drawRecords(t)
		file, tab, _ := encoded(t, steps, records)
		rows, back := decoded(t, file, "")
		require.Equal(t, tab, back)
		require.Len(t, rows, len(records))
		for i, row := range rows {
			requireSame(t, steps[i], string(row.Steps[0]))
			requireSame(t, records[i], string(row.Raw), tab.Record)
			require.Equal(t, uint64(i)<<60, row.Hash)
		}
		var keys bytes.Buffer
		require.NoError(t, Keys(&keys, bytes.NewReader(file), int64(len(file))))
		only, _ := read(t, &keys)
		require.Len(t, only, len(records))
		for i, row := range only {
			require.Equal(t, string(rows[i].Steps[0]), string(row.Steps[0]))
			require.Equal(t, rows[i].Hash, row.Hash)
		}
	})
}

// The same rows in several row groups, pages and without dictionaries.
func TestManyRows(t *testing.T) {
	var steps, records []string
	for i := range 2*rowsOfGroup + 17 {
		steps = append(steps, fmt.Sprint(i))
		records = append(records, fmt.Sprintf(`{"id": "run-%d-with-a-name-that-fills-dictionaries", "n": %d, "tags": [%d, %d], "note": %q}`, i, i, i, i%7, strings.Repeat("x", i%5)))
	}
	file, _, _ := encoded(t, steps, records)
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	require.Len(t, f.RowGroups(), 3)
	rows, _ := decoded(t, file, "")
	require.Len(t, rows, len(records))
	for i, row := range rows {
		if i%997 == 0 || i > len(rows)-20 {
			requireSame(t, records[i], string(row.Raw))
		}
		require.Equal(t, steps[i], string(row.Steps[0]))
	}
}
