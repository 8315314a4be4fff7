package stats_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/stats"
)

// cover is each combination as "key|key have/want state".
func cover(t *testing.T, doc, by string, each int, lists ...string) ([]string, error) {
	q := query(t, "/*", by, "count")
	r, err := stats.Run([]byte(doc), q)
	require.NoError(t, err)
	var all []stats.Expectation
	for _, text := range lists {
		if e, ok, err := stats.ParseWords(text, q.By); ok {
			require.NoError(t, err)
			all = append(all, e)
			continue
		}
		more, err := stats.ParseList([]byte(text), q.By)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	covered, err := stats.Cover(r, q.By, all, each)
	var out []string
	for _, c := range covered {
		var key []string
		for _, raw := range c.Key {
			key = append(key, string(raw))
		}
		out = append(out, fmt.Sprintf("%s %d/%d %s", strings.Join(key, "|"), c.Records, c.Expected, c.State))
	}
	return out, err
}

func TestCover(t *testing.T) {
	const doc = `[{"m": "a", "k": 1}, {"m": "a", "k": 1.0}, {"m": "a", "k": 2}, {"m": "b", "k": 1}, {"m": "c"}]`
	for _, c := range []struct {
		name  string
		by    string
		each  int
		lists []string
		want  []string
	}{
		{"words", "m", 2, []string{"m=a,b,d"}, []string{`"a" 3/2 complete`, `"b" 1/2 incomplete`, `"c" 1/0 unexpected`, `"d" 0/2 missing`}},
		{"a word is what the column has", "k", 1, []string{"k=1,3,x"}, []string{`1 3/1 complete`, `2 1/0 unexpected`, `3 0/1 missing`, `"x" 0/1 missing`, ` 1/0 unexpected`}},
		{"two columns multiply", "m,k", 1, []string{"m=a,b", "k=1,2"}, []string{`"a"|1 2/1 complete`, `"a"|2 1/1 complete`, `"b"|1 1/1 complete`, `"b"|2 0/1 missing`, `"c"| 1/0 unexpected`}},
		{"a column without a list has what it has", "m,k", 1, []string{"m=b"}, []string{`"a"|1 2/0 unexpected`, `"a"|2 1/0 unexpected`, `"b"|1 1/1 complete`, `"b"|2 0/1 missing`, `"c"| 1/0 unexpected`}},
		{"lists by column", "m,k", 1, []string{`{"m": ["b"], "k": [2.0]}`}, []string{`"a"|1 2/0 unexpected`, `"a"|2 1/0 unexpected`, `"b"|1 1/0 unexpected`, `"b"|2.0 0/1 missing`, `"c"| 1/0 unexpected`}},
		{"combinations", "m,k", 1, []string{`[{"m": "a", "k": 1, "count": 3}, {"k": 1, "m": "b"}]`}, []string{`"a"|1 2/3 incomplete`, `"a"|2 1/0 unexpected`, `"b"|1 1/1 complete`, `"c"| 1/0 unexpected`}},
		{"lines", "m", 1, []string{"{\"m\": \"a\"}\n{\"m\": \"e\", \"count\": 2}\n"}, []string{`"a" 3/1 complete`, `"b" 1/0 unexpected`, `"c" 1/0 unexpected`, `"e" 0/2 missing`}},
		{"one line", "m", 1, []string{`{"m": "a"}`}, []string{`"a" 3/1 complete`, `"b" 1/0 unexpected`, `"c" 1/0 unexpected`}},
		{"CSV", "m,k", 1, []string{"\xef\xbb\xbfk,count,m\n1,2,a\n1,1,\"d,e\"\n"}, []string{`"a"|1 2/2 complete`, `"a"|2 1/0 unexpected`, `"b"|1 1/0 unexpected`, `"c"| 1/0 unexpected`, `"d,e"|1 0/1 missing`}},
		{"a name twice in a list", "m", 1, []string{"m=a,a"}, []string{`"a" 3/1 complete`, `"b" 1/0 unexpected`, `"c" 1/0 unexpected`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := cover(t, doc, c.by, c.each, c.lists...)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

// A word that could be a number is the string of that spelling where the column has one.
func TestAWordIsAString(t *testing.T) {
	got, err := cover(t, `[{"m": "0324"}, {"m": "7"}]`, "m", 1, "m=0324,7")
	require.NoError(t, err)
	require.Equal(t, []string{`"0324" 1/1 complete`, `"7" 1/1 complete`}, got)
}

func TestListsThatAreWrong(t *testing.T) {
	long := strings.Repeat(`"x",`, 2000)
	for list, want := range map[string]string{
		"":                             "the list is empty",
		`{"other": [1]}`:               `the list speaks of "other", which is none of the columns m, k`,
		`[{"m": 1}, {"k": 1}]`:         "entry 2 of the list has k, entry 1 has not",
		`[{"m": 1, "k": 2}, {"k": 1}]`: "entry 2 of the list has no m",
		`[3]`:                          "entry 1 of the list is no object: 3",
		`[{"m": 1, "count": "x"}]`:     `entry 1 of the list: count "x" is no number`,
		"m,count\na,x\n":               `line 2 of the list: count "x" is no number`,
		"m,k\na\n":                     "record on line 2: wrong number of fields",
		"plain\n":                      `the list speaks of "plain", which is none of the columns m, k`,
		`{"m": [1,]}`:                  "line 1, column 10: unexpected ']' after a comma",
		`{"m": [` + long + `1], "k": [` + long + `1]}`: "the lists multiply to more than 1000000 combinations",
	} {
		_, err := cover(t, `[{"m": 1, "k": 1}]`, "m,k", 1, list)
		require.EqualError(t, err, want, "%.60s", list)
	}
	_, err := cover(t, `[{"m": 1, "k": 1}]`, "m,k", 1, "m\n1\n", "m=2")
	require.EqualError(t, err, "two lists speak of m")
	_, err = cover(t, `[{"m": 1, "k": 1}]`, "m,k", 1, "m,count\n1,2\n", "k,count\n1,2\n")
	require.EqualError(t, err, "two lists have counts; give the combinations in one")
}
