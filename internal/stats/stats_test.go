package stats_test

import (
	"bytes"
	"fmt"
	"math/big"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/internal/stats"
	"jsonguard/merge"
)

func query(t require.TestingT, pattern, by, agg string) stats.Query {
	p, err := merge.ParsePattern(pattern)
	require.NoError(t, err)
	q := stats.Query{Records: p}
	for text := range strings.SplitSeq(by, ",") {
		if text != "" {
			f, err := stats.ParseField(text)
			require.NoError(t, err)
			q.By = append(q.By, f)
		}
	}
	for text := range strings.SplitSeq(agg, ",") {
		if text != "" {
			a, err := stats.ParseAggregate(text)
			require.NoError(t, err)
			q.Aggregates = append(q.Aggregates, a)
		}
	}
	return q
}

// shown is each group as "key | key → value value".
func shown(r *stats.Result) []string {
	text := func(raw []byte) string {
		if raw == nil {
			return "-"
		}
		return string(raw)
	}
	var out []string
	for _, g := range r.Groups {
		var key, values []string
		for _, k := range g.Key {
			key = append(key, text(k))
		}
		for _, v := range g.Values {
			values = append(values, text(v))
		}
		out = append(out, strings.Join(key, " | ")+" → "+strings.Join(values, " "))
	}
	return out
}

func TestGroups(t *testing.T) {
	const runs = `{"models": {
		"gpt":    {"results": [{"p": "a", "ok": true, "s": 1}, {"p": "a", "ok": false, "s": 2.50}, {"p": "b", "ok": true, "s": null}]},
		"falcon": {"results": [{"p": "\u0061", "ok": 1, "s": 9007199254740993}, {"ok": 0, "s": "x"}, {"p": null, "s": NaN}]}}}`
	for _, c := range []struct {
		name, doc, pattern, by, agg string
		want                        []string
	}{
		{"by a field", runs, "/models/*/results/*", "p", "count,mean:ok", []string{"null → 1 -", `"a" → 3 0.6666666666666666`, `"b" → 1 1`, "- → 1 0"}},
		{"by a wildcard", runs, "/models/*/results/*", "model=@1", "count,count:s,sum:ok", []string{`"falcon" → 3 3 1`, `"gpt" → 3 2 2`}},
		{"by the index", runs, "/models/*/results/*", "@2", "count", []string{"0 → 2", "1 → 2", "2 → 2"}},
		{"by nothing", runs, "/models/*/results/*", "", "count,distinct:p,distinct:@1,sum:s", []string{" → 6 2 2 9007199254740996.5"}},
		{"numbers by value", `[{"k": 1}, {"k": 1.0}, {"k": 10e-1}, {"k": "1"}, {"k": 2}]`, "/*", "k", "count", []string{"1 → 3", "2 → 1", `"1" → 1`}},
		{"groups of any kind", `[{"k": {"a": 1, "b": [ ]}}, {"k": {"b": [], "a": 1.0}}, {"k": [1]}, {"k": true}]`, "/*", "k", "count", []string{"true → 1", "[1] → 1", `{"a": 1, "b": [ ]} → 2`}},
		{"extremes", `[{"v": 2}, {"v": 10}, {"v": -1.50}, {"v": 1e1}]`, "/*", "", "min:v,max:v,median:v,p25:v,p100:v", []string{" → -1.50 10 6 1.125 10"}},
		{"extremes of strings", `[{"v": "b"}, {"v": "a"}, {"v": 7}, {"v": false}]`, "/*", "", "min:v,max:v", []string{` → false "b"`}},
		{"of the records themselves", `[1, 2, 4, null]`, "/*", "", "count,mean,max,distinct", []string{" → 4 2.3333333333333335 4 3"}},
		{"no value", `[{"v": null, "g": 1}, {"v": 1, "g": 2}]`, "/*", "g", "mean:v,min:v,median:v,sum:v,distinct:v", []string{"1 → - - - 0 0", "2 → 1 1 1 1 1"}},
		{"an inner field", `[{"u": {"t": [1, 2]}}, {"u": {"t": [3, 4]}}]`, "/*", "", "sum:/u/t/1", []string{" → 6"}},
		{"exactly", `[0.1, 0.2, 0.3]`, "/*", "", "sum,mean", []string{" → 0.6 0.2"}},
		{"large", `[9223372036854775807, 9223372036854775807, 1]`, "/*", "", "sum,mean,max", []string{" → 18446744073709551615 6148914691236517205 9223372036854775807"}},
		{"many large", "[" + strings.Repeat("999999999999999999, ", 30) + "-1]", "/*", "", "sum", []string{" → 29999999999999999969"}},
		{"many small", "[" + strings.Repeat("-999999999999999999, ", 30) + "1]", "/*", "", "sum", []string{" → -29999999999999999969"}},
		{"far apart", `[1e300, 1, 1e-300]`, "/*", "", "max,min,p50,mean", []string{" → 1e300 1e-300 1 3.3333333333333335e+299"}},
		{"beyond a float", `[1e400, 1e400]`, "/*", "", "sum,mean", []string{" → 2e400 1e+400"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := stats.Run([]byte(c.doc), query(t, c.pattern, c.by, c.agg))
			require.NoError(t, err)
			require.Equal(t, c.want, shown(r))
		})
	}
}

func TestValuesThatCannotBeCalculatedWith(t *testing.T) {
	r, err := stats.Run([]byte(`[{"v": "x"}, {"v": NaN}, {"v": -Infinity}, {"v": 1e999999999}, {"v": 5}, {"v": null}, {}]`), query(t, "/*", "", "mean:v,max:v,count:v"))
	require.NoError(t, err)
	require.Equal(t, []string{` → 5 "x" 5`}, shown(r))
	require.Len(t, r.Skipped, 2)
	require.Equal(t, 4, r.Skipped[0].Count)
	require.Equal(t, `"x"`, string(r.Skipped[0].Example))
	require.Equal(t, 2, r.Skipped[1].Count, "NaN and -Infinity have no order")
}

func TestNothingFound(t *testing.T) {
	_, err := stats.Run([]byte(`{"models": {}}`), query(t, "/modles/*", "", "count"))
	var none *stats.NoRecordsError
	require.ErrorAs(t, err, &none)
	require.Equal(t, []string{"models"}, none.Nearest.Names)

	_, err = stats.Run([]byte(`[{"success": 1, "n": 1}, {"n": 2}]`), query(t, "/*", "n", "mean:sucess"))
	var field *stats.NoFieldError
	require.ErrorAs(t, err, &field)
	require.Equal(t, "sucess", field.Field.Name)
	require.Equal(t, []string{"n", "success"}, field.Names)

	_, err = stats.Run([]byte(`[1]`), query(t, "/*", "@2", ""))
	require.EqualError(t, err, "@2: the pattern /* has 1 wildcards")
}

func TestParse(t *testing.T) {
	for text, want := range map[string]stats.Field{
		"success":     {Name: "success", At: merge.Pointer{"success"}},
		"/usage/a=b":  {Name: "/usage/a=b", At: merge.Pointer{"usage", "a=b"}},
		"tokens=/u/t": {Name: "tokens", At: merge.Pointer{"u", "t"}},
		"model=@1":    {Name: "model", Wildcard: 1},
		"@2":          {Name: "@2", Wildcard: 2},
		"value=":      {Name: "value"},
	} {
		f, err := stats.ParseField(text)
		require.NoError(t, err)
		require.Equal(t, want, f)
	}
	for _, text := range []string{"", "=a", "@", "@0", "@x", "/~"} {
		_, err := stats.ParseField(text)
		require.Error(t, err, text)
	}
	for _, text := range []string{"", "men:a", "p", "p101:a", "p-1:a", "p1e1:a", "mean:", "=mean:a", "mean:@0"} {
		_, err := stats.ParseAggregate(text)
		require.Error(t, err, text)
	}
	a, err := stats.ParseAggregate("rate=mean:/a=b")
	require.NoError(t, err)
	require.Equal(t, "rate", a.Name)
	require.Equal(t, merge.Pointer{"a=b"}, a.Field.At)
}

// Groups are those of a naive dictionary, however a value is spelled.
func TestGroupsAgreeWithADictionary(t *testing.T) {
	spelled := map[string]string{"": "", "1": "1", "1.0": "1", "10e-1": "1", `"1"`: `"1"`, `"a"`: `"a"`, `"\u0061"`: `"a"`, "null": "null", "true": "true", `[1,{"x":2}]`: "[1]", `[ 1.0, {"x": 2} ]`: "[1]"}
	rapid.Check(t, func(t *rapid.T) {
		type totals struct{ records, values, sum int }
		want := map[string]*totals{}
		var records []string
		for range rapid.IntRange(1, 40).Draw(t, "records") {
			var members []string
			keys := []string{"", ""}
			for i, name := range []string{"a", "b"} {
				text := rapid.SampledFrom([]string{"", "1", "1.0", "10e-1", `"1"`, `"a"`, `"\u0061"`, "null", "true", `[1,{"x":2}]`, `[ 1.0, {"x": 2} ]`}).Draw(t, name)
				if keys[i] = spelled[text]; text != "" {
					members = append(members, fmt.Sprintf("%q: %s", name, text))
				}
			}
			group := want[strings.Join(keys, "|")]
			if group == nil {
				group = &totals{}
				want[strings.Join(keys, "|")] = group
			}
			group.records++
			if rapid.Bool().Draw(t, "has a value") {
				v := rapid.IntRange(-1000, 1000).Draw(t, "value")
				members = append(members, fmt.Sprintf(`"v": %d`, v))
				group.values++
				group.sum += v
			}
			records = append(records, "{"+strings.Join(members, ", ")+"}")
		}
		doc := `[{"a": 0, "b": 0, "v": null}, ` + strings.Join(records, ", ") + "]" // each field is there once
		r, err := stats.Run([]byte(doc), query(t, "/*", "a,b", "count,count:v,sum:v"))
		require.NoError(t, err)
		require.Len(t, r.Groups, len(want)+1)
		for _, g := range r.Groups {
			if string(g.Key[0]) == "0" {
				continue
			}
			group := want[spelled[string(g.Key[0])]+"|"+spelled[string(g.Key[1])]]
			require.NotNil(t, group)
			require.Equal(t, fmt.Sprint(group.records, group.values, group.sum), fmt.Sprintf("%s %s %s", g.Values[0], g.Values[1], g.Values[2]), doc)
		}
	})
}

// A name that comes twice on the way to the records counts once, and what was counted of its first value is undone.
func TestNamesThatComeTwice(t *testing.T) {
	r, err := stats.Run([]byte(`{"a": [1, 2], "b": [4], "a": [8]}`), query(t, "/*/*", "@1", "sum,count"))
	require.NoError(t, err)
	require.Equal(t, []string{`"a" → 8 1`, `"b" → 4 1`}, shown(r))
}

// Sums and quantiles are those of exact arithmetic, in any order of the records.
func TestAggregatesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		literal := rapid.OneOf(
			rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`),
			rapid.SampledFrom([]string{"9223372036854775807", "-9223372036854775807", "999999999999999999", "0.1", "-0", "true", "false"}),
		)
		numbers := rapid.SliceOfN(literal, 1, 12).Draw(t, "numbers")
		doc := "[" + strings.Join(numbers, ",") + "]"
		r, err := stats.Run([]byte(doc), query(t, "/*", "", "sum,mean,median,p90"))
		require.NoError(t, err)
		total, exact := new(big.Rat), make([]*big.Rat, len(numbers))
		for i, text := range numbers {
			switch text {
			case "true":
				text = "1"
			case "false":
				text = "0"
			}
			exact[i], _ = new(big.Rat).SetString(text)
			total.Add(total, exact[i])
		}
		sum, ok := new(big.Rat).SetString(string(r.Groups[0].Values[0]))
		require.True(t, ok)
		require.Zero(t, total.Cmp(sum), "%s: %s", doc, r.Groups[0].Values[0])
		require.NoError(t, merge.Valid(r.Groups[0].Values[0], merge.JSON))
		near(t, new(big.Rat).Quo(total, big.NewRat(int64(len(numbers)), 1)), r.Groups[0].Values[1])
		sort.Slice(exact, func(i, j int) bool { return exact[i].Cmp(exact[j]) < 0 })
		for k, q := range []*big.Rat{big.NewRat(1, 2), big.NewRat(9, 10)} {
			place := new(big.Rat).Mul(q, big.NewRat(int64(len(exact)-1), 1))
			i := int(new(big.Int).Quo(place.Num(), place.Denom()).Int64())
			want := exact[i]
			if rest := place.Sub(place, big.NewRat(int64(i), 1)); rest.Sign() != 0 {
				step := new(big.Rat).Sub(exact[i+1], exact[i])
				want = new(big.Rat).Add(want, step.Mul(step, rest))
			}
			near(t, want, r.Groups[0].Values[2+k])
		}
	})
}

// near: the float64 next to want, or want itself.
func near(t require.TestingT, want *big.Rat, got []byte) {
	have, ok := new(big.Rat).SetString(string(got))
	require.True(t, ok, "%s", got)
	a, _ := want.Float64()
	b, _ := have.Float64()
	require.Equal(t, a, b, "%s for %s", got, want)
}

func results(size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"models": {`)
	for i := 0; b.Len() < size; i++ {
		if i%1000 == 0 {
			if i > 0 {
				b.WriteString("\n]}, ")
			}
			fmt.Fprintf(&b, `"model-%d": {"results": [`, i/1000)
		} else {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n  {\"id\": %d, \"prompt_type\": \"type-%d\", \"success\": %t, \"seconds\": %d.%02d, \"answer\": \"Summary number %d, in three sentences and a few words more.\", \"tags\": [\"a\", \"b\"]}",
			i, i%7, i%3 == 0, i%60, i%100, i)
	}
	b.WriteString("\n]}}}\n")
	return b.Bytes()
}

func BenchmarkStats(b *testing.B) {
	doc := results(16 << 20)
	for _, c := range []struct{ by, agg string }{{"", "count"}, {"@1,prompt_type", "mean:success,count"}, {"@1,prompt_type", "mean:seconds,median:seconds,distinct:id,max:seconds"}} {
		b.Run(c.by+"/"+c.agg, func(b *testing.B) {
			q := query(b, "/models/*/results/*", c.by, c.agg)
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := stats.Run(doc, q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
