package records_test

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/internal/records"
	"jsonguard/merge"
)

func scan(t testing.TB, doc string, f merge.Format, pattern string, fields ...string) *records.Scan {
	t.Helper()
	p, err := merge.ParsePattern(pattern)
	require.NoError(t, err)
	var wanted []merge.Pointer
	for _, text := range fields {
		at, err := merge.ParsePointer(text)
		require.NoError(t, err)
		wanted = append(wanted, at)
	}
	s, err := records.New([]byte(doc), f, p, wanted...)
	require.NoError(t, err)
	return s
}

// found is each record as "place: text", with its fields behind it.
func found(t require.TestingT, s *records.Scan) []string {
	var out []string
	err := s.Each(func(r *records.Record) error {
		line := r.At().String() + ": " + string(r.Raw)
		for _, f := range r.Fields {
			if f == nil {
				line += " | -"
				continue
			}
			line += " | " + string(f)
		}
		out = append(out, line)
		return nil
	}, func() { out = nil })
	require.NoError(t, err)
	return out
}

const runs = `{
  "meta": {"results": [0]},
  "models": {
    "gpt": {"rate": 1.10, "results": [{"id": 1, "ok": true, "t": {"s": [1, 2]}}, {"id": 2}]},
    "a\/b": {"results": [{"ok": null, "id": "x"}]},
    "none": {"results": []}
  }
}
`

func TestRecords(t *testing.T) {
	for _, c := range []struct {
		name, doc, pattern string
		format             merge.Format
		fields             []string
		want               []string
	}{
		{"by wildcard", runs, "/models/*/results/*", merge.JSON, []string{"/id", "/ok", "/t/s/1"}, []string{
			`/models/gpt/results/0: {"id": 1, "ok": true, "t": {"s": [1, 2]}} | 1 | true | 2`,
			`/models/gpt/results/1: {"id": 2} | 2 | - | -`,
			`/models/a~1b/results/0: {"ok": null, "id": "x"} | "x" | null | -`}},
		{"a literal index", runs, "/models/gpt/results/1", merge.JSON, nil, []string{`/models/gpt/results/1: {"id": 2}`}},
		{"any depth", runs, "/**/results/*", merge.JSON, []string{"/id"}, []string{
			`/meta/results/0: 0 | -`,
			`/models/gpt/results/0: {"id": 1, "ok": true, "t": {"s": [1, 2]}} | 1`,
			`/models/gpt/results/1: {"id": 2} | 2`,
			`/models/a~1b/results/0: {"ok": null, "id": "x"} | "x"`}},
		{"records do not nest", `{"a": {"a": {"a": 1}}}`, "/**/a", merge.JSON, nil, []string{`/a: {"a": {"a": 1}}`}},
		{"the whole document", " [1] ", "", merge.JSON, []string{"", "/0"}, []string{`: [1] | [1] | 1`}},
		{"any depth may be none", "7", "/**", merge.JSON, nil, []string{": 7"}},
		{"a field and a part of it", `[{"a": {"b": 1}}]`, "/*", merge.JSON, []string{"/a", "/a/b"}, []string{`/0: {"a": {"b": 1}} | {"b": 1} | 1`}},
		{"an escaped name", `[{"\u0061": 1}]`, "/*", merge.JSON, []string{"/a"}, []string{`/0: {"\u0061": 1} | 1`}},
		{"a field twice", `[{"a": {"b": 1}, "\u0061": {"c": 2}}]`, "/*", merge.JSON, []string{"/a/b", "/a/c"}, []string{
			`/0: {"a": {"b": 1}, "\u0061": {"c": 2}} | - | 2`}},
		{"lines", "{\"a\": 1}\n\n{\"a\": 2}\r\n3", "/*", merge.Lines, []string{"/a"}, []string{`/0: {"a": 1} | 1`, `/1: {"a": 2} | 2`, `/2: 3 | -`}},
		{"inside of lines", "{\"r\": [1, 2]}\n{\"r\": [3]}\n", "/*/r/*", merge.Lines, nil, []string{"/0/r/0: 1", "/0/r/1: 2", "/1/r/0: 3"}},
		{"one line", "1\n2\n", "/1", merge.Lines, nil, []string{"/1: 2"}},
		{"lines as one", "1\n\n 2\n", "", merge.Lines, []string{"/1"}, []string{": [1,2] | 2"}},
		{"no document", " \n", "/*", merge.JSON, nil, nil},
		{"no lines", "", "/*", merge.Lines, nil, nil},
		{"a mark in front", "\xef\xbb\xbf[1]", "/*", merge.JSON, nil, []string{"/0: 1"}},
		{"the last of a name", `{"a": {"x": 1}, "b": {"x": 2}, "a": {"x": 3}, "\u0061": {"x": 4}}`, "/*/x", merge.JSON, nil, []string{"/b/x: 2", "/a/x: 4"}},
		{"the last of a name is no record", `{"a": [1], "a": 2}`, "/a/*", merge.JSON, nil, nil},
		{"a name twice in two objects", `[{"a": 1}, {"a": 2}]`, "/*/a", merge.JSON, nil, []string{"/0/a: 1", "/1/a: 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := scan(t, c.doc, c.format, c.pattern, c.fields...)
			require.Equal(t, c.want, found(t, s))
			require.Equal(t, c.want, found(t, s), "once more")
		})
	}
}

// A reading that knows of doubles needs no second beginning.
func TestAgainIsCalledOnce(t *testing.T) {
	s := scan(t, `{"a": 1, "a": 2, "b": {"c": 1, "c": 2}, "a": 3}`, merge.JSON, "/**/*")
	calls := 0
	require.NoError(t, s.Each(func(*records.Record) error { return nil }, func() { calls++ }))
	require.Equal(t, 1, calls)
	require.NoError(t, s.Each(func(*records.Record) error { return nil }, func() { calls++ }))
	require.Equal(t, 1, calls)
}

func TestManyNamesTwice(t *testing.T) {
	const many = 20_000
	var doc strings.Builder
	doc.WriteString("{")
	for i := range many {
		fmt.Fprintf(&doc, "%q: %d, ", strconv.Itoa(i), i)
	}
	for _, extra := range []struct {
		text  string
		want  int
		again int
	}{{`"last": 0}`, many * (many - 1) / 2, 0}, {`"7": 100, "last": 0}`, many*(many-1)/2 + 93, 1}, {`"7": 100, "\u0037": 107, "last": 0}`, many*(many-1)/2 + 100, 1}} {
		sum, again := 0, 0
		s := scan(t, doc.String()+extra.text, merge.JSON, "/*")
		require.NoError(t, s.Each(func(r *records.Record) error {
			n, err := strconv.Atoi(string(r.Raw))
			sum += n
			return err
		}, func() { sum = 0; again++ }))
		require.Equal(t, extra.want, sum)
		require.Equal(t, extra.again, again)
		n, _ := records.Len([]byte(doc.String() + extra.text))
		require.Equal(t, many+1, n)
	}
}

func TestWildcards(t *testing.T) {
	for _, c := range []struct{ doc, pattern, want string }{
		{runs, "/models/*/results/*", `"gpt" 0, "gpt" 1, "a\/b" 0`},
		{runs, "/**/results/*", `"/meta" 0, "/models/gpt" 0, "/models/gpt" 1, "/models/a~1b" 0`},
		{`{"a": {"b": {"c": {"b": {"d": 1}}}}}`, "/**/b/**/d", `"/a" "/c/b"`},
		{`{"a": {"b": 1}}`, "/**/*/b", `"" "a"`},
		{`[[5]]`, "/0/0", ""},
	} {
		var out []string
		s := scan(t, c.doc, merge.JSON, c.pattern)
		require.NoError(t, s.Each(func(r *records.Record) error {
			var texts []string
			for i := range s.Wildcards() {
				texts = append(texts, string(r.Wildcard(i)))
			}
			out = append(out, strings.Join(texts, " "))
			return nil
		}, func() { out = nil }))
		require.Equal(t, c.want, strings.Join(out, ", "), c.pattern)
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		doc, pattern string
		format       merge.Format
		want         records.Nearest
	}{
		{runs, "/modles/*", merge.JSON, records.Nearest{Kind: '{', Names: []string{"meta", "models"}}},
		{runs, "/models/*/runs/*", merge.JSON, records.Nearest{At: merge.Pointer{"models", "gpt"}, Steps: 2, Kind: '{', Names: []string{"rate", "results"}}},
		{runs, "/models/none/results/*", merge.JSON, records.Nearest{At: merge.Pointer{"models", "none", "results"}, Steps: 3, Kind: '['}},
		{runs, "/models/gpt/rate/*", merge.JSON, records.Nearest{At: merge.Pointer{"models", "gpt", "rate"}, Steps: 3, Kind: '1'}},
		{`[1, [2], 3]`, "/7", merge.JSON, records.Nearest{Kind: '[', Members: 3}},
		{"1\n2\n", "/7", merge.Lines, records.Nearest{Kind: '[', Members: 2}},
		{"", "/a", merge.JSON, records.Nearest{}},
		{`{"a": {"b": {"c": 1}}, "a": {"x": 1}}`, "/a/b/c/d", merge.JSON, records.Nearest{At: merge.Pointer{"a"}, Steps: 1, Kind: '{', Names: []string{"x"}}},
	} {
		s := scan(t, c.doc, c.format, c.pattern)
		require.Empty(t, found(t, s))
		require.Equal(t, c.want, s.Nearest(), c.pattern)
	}
}

func TestLen(t *testing.T) {
	for raw, want := range map[string]int{"[]": 0, "[ 1, [2, 3], {} ]": 3, "{ }": 0, `{"a": 1, "b": [1], "\u0061": 2}`: 2, "7": -1, `"x"`: -1, "null": -1} {
		n, ok := records.Len([]byte(raw))
		if !ok {
			n = -1
		}
		require.Equal(t, want, n, raw)
	}
}

func TestCompleteLines(t *testing.T) {
	for src, want := range map[string]string{
		"": "", "1\n": "1\n", "1\n2": "1\n2", "1\n{\"a\": ": "1\n", "{\"a\"": "", "1\n  ": "1\n  ", "1\nx\n": "1\nx\n", "1\n\"é": "1\n", "1\n2 3": "1\n",
	} {
		got, cut := records.CompleteLines([]byte(src))
		require.Equal(t, want, string(got))
		require.Equal(t, len(src)-len(want), cut)
	}
}

func TestErrors(t *testing.T) {
	p, err := merge.ParsePattern(strings.Repeat("/*", 64))
	require.NoError(t, err)
	_, err = records.New(nil, merge.JSON, p)
	require.EqualError(t, err, "the pattern has 64 steps; at most 63 are taken")

	stop := errors.New("enough")
	s := scan(t, "[1, 2, 3]", merge.JSON, "/*")
	calls := 0
	require.Equal(t, stop, s.Each(func(*records.Record) error { calls++; return stop }, nil))
	require.Equal(t, 1, calls)

	s = scan(t, "{\n  \"a\": [1, 2,]\n}", merge.JSON, "/a/*")
	err = s.Each(func(*records.Record) error { return nil }, nil)
	var syntax *merge.SyntaxError
	require.ErrorAs(t, err, &syntax)
	require.Equal(t, "line 2, column 14: unexpected ']' after a comma", err.Error())
}

// naive finds records as the package says, by way of a Document.
func naive(doc *merge.Document, raw []byte, at merge.Pointer, pattern merge.Pattern, out *[]string) {
	if pattern.Matches(at) {
		*out = append(*out, at.String()+": "+string(raw))
		return
	}
	_ = doc.Each(at, func(key string, raw []byte) bool {
		naive(doc, raw, append(at[:len(at):len(at)], key), pattern, out)
		return true
	})
}

func TestRecordsAgreeWithTheDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := []byte(genText(t, 4))
		pattern := merge.Pattern(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "*", "**", "0", "1"}), 0, 5).Draw(t, "pattern"))
		doc, err := merge.Parse(src, merge.JSON)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		naive(doc, bytes.TrimSpace(src), nil, pattern, &want)
		s, err := records.New(src, merge.JSON, pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := found(t, s); !equal(got, want) {
			t.Fatalf("%s in %s:\n got %q\nwant %q", merge.Pointer(pattern), src, got, want)
		}
		// Fields, as pointers relative to the record.
		field := merge.Pointer(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "0", "1"}), 0, 3).Draw(t, "field"))
		s, err = records.New(src, merge.JSON, pattern, field)
		if err != nil {
			t.Fatal(err)
		}
		var wrong []string
		err = s.Each(func(r *records.Record) error {
			want, err := doc.Get(append(r.At(), field...))
			if (err != nil) != (r.Fields[0] == nil) || !bytes.Equal(want, r.Fields[0]) {
				wrong = append(wrong, fmt.Sprintf("%s of %s: got %s, want %s", field, r.At(), r.Fields[0], want))
			}
			return nil
		}, func() { wrong = nil })
		if err != nil || wrong != nil {
			t.Fatalf("%s: %v %v", src, err, wrong)
		}
	})
}

func equal(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }

// genText writes a document with names that come twice and are spelled in two ways.
func genText(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case depth == 0 || kind < 2:
		return rapid.SampledFrom([]string{"1", `"x"`, "null", "NaN", `"\\\""`, "-1.5e3", "{}", "[ ]"}).Draw(t, "leaf")
	case kind < 7:
		members := rapid.SliceOfN(rapid.SampledFrom([]string{`"a"`, `"b"`, `"\u0061"`, `"0"`, `"c"`}), 0, 4).Draw(t, "names")
		for i, name := range members {
			members[i] = " " + name + " : " + genText(t, depth-1)
		}
		return "{" + strings.Join(members, " ,") + "}"
	default:
		elements := make([]string, rapid.IntRange(0, 3).Draw(t, "elements"))
		for i := range elements {
			elements[i] = genText(t, depth-1) + " "
		}
		return "[" + strings.Join(elements, ",") + "]"
	}
}

// What Each accepts is what Valid accepts, whatever is looked for.
func FuzzEach(f *testing.F) {
	for _, doc := range []string{runs, "[1,]", "{\"a\":1}{", "1\n2", "[", "{", `{"a"`, `{"a":`, `[{"a":1 "b"}]`, "\xef\xbb\xbf1", `{"a":{"a":1},"a":[}`} {
		f.Add([]byte(doc), "/*", false)
		f.Add([]byte(doc), "/a/**", true)
		f.Add([]byte(doc), "", true)
		f.Add([]byte(doc), "/**/a", false)
	}
	f.Fuzz(func(t *testing.T, src []byte, text string, lines bool) {
		pattern, err := merge.ParsePattern(text)
		if err != nil {
			return
		}
		format := merge.JSON
		if lines {
			format = merge.Lines
		}
		s, err := records.New(src, format, pattern, merge.Pointer{"a"}, merge.Pointer{"a", "0"}, nil)
		if err != nil {
			return
		}
		err = s.Each(func(r *records.Record) error {
			if merge.Valid(r.Raw, merge.JSON) != nil {
				return fmt.Errorf("a record that is none: %s", r.Raw)
			}
			return nil
		}, func() {})
		require.Equal(t, merge.Valid(src, format), err)
	})
}

// results is a document as test runners write it, of about size bytes.
func results(size int) []byte {
	var b bytes.Buffer
	b.WriteString("{\n  \"models\": {")
	for i := 0; b.Len() < size; i++ {
		if i%1000 == 0 {
			if i > 0 {
				b.WriteString("\n      ]\n    },")
			}
			fmt.Fprintf(&b, "\n    \"model-%d\": {\n      \"results\": [", i/1000)
		} else {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n        {\n          \"id\": %d,\n          \"prompt\": \"Summarise text number %d in three sentences.\",\n          \"success\": %t,\n          \"seconds\": %d.%02d,\n          \"tags\": [\n            \"a\",\n            \"b\"\n          ]\n        }",
			i, i, i%3 == 0, i%60, i%100)
	}
	b.WriteString("\n      ]\n    }\n  }\n}\n")
	return b.Bytes()
}

// Beside the document nothing grows with the number of records.
func TestMemory(t *testing.T) {
	doc := string(results(1 << 20))
	s := scan(t, doc, merge.JSON, "/models/*/results/*", "/success", "/seconds")
	allocations := testing.AllocsPerRun(3, func() {
		_ = s.Each(func(r *records.Record) error { return nil }, nil)
	})
	require.Less(t, allocations, 50.0)
}

func BenchmarkEach(b *testing.B) {
	indented := results(16 << 20)
	compact := merge.Compact(nil, indented)
	byName := bytes.NewBufferString("{")
	for i := range 100_000 {
		fmt.Fprintf(byName, `"test-%d": {"success": %t, "seconds": %d.5, "prompt": "Summarise it in three sentences."}, `, i, i%3 == 0, i%60)
	}
	byName.WriteString(`"last": {}}`)
	for _, c := range []struct {
		name, pattern string
		doc           []byte
	}{
		{"indented", "/models/*/results/*", indented}, {"compact", "/models/*/results/*", compact},
		{"by-name", "/*", byName.Bytes()}, {"any-depth", "/**/results/*", compact},
	} {
		for _, fields := range [][]string{nil, {"/success", "/seconds"}} {
			b.Run(fmt.Sprintf("%s/fields-%d", c.name, len(fields)), func(b *testing.B) {
				s := scan(b, string(c.doc), merge.JSON, c.pattern, fields...)
				b.SetBytes(int64(len(c.doc)))
				b.ReportAllocs()
				for b.Loop() {
					if err := s.Each(func(*records.Record) error { return nil }, func() {}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
