package merge_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// Twice the size may take about twice the time. The bound is generous, the sizes are far enough from what a clock
// resolves, and the best of several attempts counts: others use the machine as well.
func requireLinear(t *testing.T, n int, work func(n int) func()) {
	t.Helper()
	const bound = 3.0
	ratio := 0.0
	for range 20 { // as often as it takes on a machine that does other things
		once, twice := best(work(n)), best(work(2*n))
		if ratio = float64(twice) / float64(once); ratio < bound {
			t.Logf("%d: %v, %d: %v", n, once, 2*n, twice)
			return
		}
	}
	require.Less(t, ratio, bound, "time of twice the size over time of the size")
}

func best(f func()) time.Duration {
	least := time.Hour
	for range 3 {
		start := time.Now()
		f()
		least = min(least, time.Since(start))
	}
	return least
}

func mustMerge(t *testing.T, base, ours, theirs []byte, f merge.Format, pol *merge.Policy) []byte {
	out, _, err := merge.Merge(base, ours, theirs, f, pol)
	require.NoError(t, err)
	return out
}

func joined(n int, open, sep, close string, element func(i int) string) []byte {
	var b bytes.Buffer
	b.WriteString(open)
	for i := range n {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(element(i))
	}
	b.WriteString(close)
	return b.Bytes()
}

func TestLinearMerge(t *testing.T) {
	member := func(i int) string { return fmt.Sprintf(`"key%07d": {"n": %d, "s": "some text"}`, i*7919%10_000_019, i) }
	changed := func(every, offset int, f func(int) string) func(int) string {
		return func(i int) string {
			if i%every == offset {
				return strings.Replace(f(i), "some", "other", 1)
			}
			return f(i)
		}
	}
	element := func(i int) string { return fmt.Sprintf(`{"id": %d, "s": "some text"}`, i) }
	restyle := func(b []byte) []byte {
		return bytes.ReplaceAll(bytes.ReplaceAll(b, []byte(": "), []byte(":")), []byte(", "), []byte(",\n  "))
	}
	for _, c := range []struct {
		name string
		n    int
		docs func(n int) (base, ours, theirs []byte)
		pol  *merge.Policy
	}{
		{"an object, members changed all over", 4_000, func(n int) (b, o, th []byte) {
			return joined(n, "{", ", ", "}", member), joined(n, "{", ", ", "}", changed(10, 0, member)), joined(n, "{", ", ", "}", changed(10, 5, member))
		}, nil},
		{"an object, restyled", 4_000, func(n int) (b, o, th []byte) {
			return joined(n, "{", ", ", "}", member), restyle(joined(n, "{", ", ", "}", changed(10, 0, member))), joined(n, "{", ", ", "}", changed(10, 5, member))
		}, nil},
		{"an object, half the members added by each", 4_000, func(n int) (b, o, th []byte) {
			name := func(who string) func(i int) string {
				return func(i int) string { return fmt.Sprintf(`"%s%d": %d`, who, i, i) }
			}
			return []byte(`{"x": 1, "z": 2}`), joined(n, `{"x": 1, `, ", ", `, "z": 2}`, name("ours")), joined(n, `{"x": 1, `, ", ", `, "z": 2}`, name("theirs"))
		}, nil},
		{"an object, every other member deleted", 4_000, func(n int) (b, o, th []byte) {
			return joined(2*n, "{", ", ", "}", member), joined(n, "{", ", ", "}", func(i int) string { return member(2 * i) }), joined(2*n, "{", ", ", `, "new": 1}`, member)
		}, nil},
		{"an array, insertions in the middle", 4_000, func(n int) (b, o, th []byte) {
			with := func(who string, every int) []byte {
				return joined(n, "[", ", ", "]", func(i int) string {
					if i%every == 0 {
						return element(i) + fmt.Sprintf(`, {"by": "%s", "i": %d}`, who, i)
					}
					return element(i)
				})
			}
			return joined(n, "[", ", ", "]", element), with("ours", 3), with("theirs", 5)
		}, nil},
		{"an array of few values, insertions in the middle", 4_000, func(n int) (b, o, th []byte) {
			bit := func(i int) string { return fmt.Sprint(i * i % 7 % 2) }
			with := func(at int) []byte {
				return joined(n, "[", ",", "]", func(i int) string {
					if i == at || i == at+n/3 {
						return "9," + bit(i)
					}
					return bit(i)
				})
			}
			return joined(n, "[", ",", "]", bit), with(n / 4), with(n / 3)
		}, nil},
		{"an array under keyed", 4_000, func(n int) (b, o, th []byte) {
			return joined(n, "[", ", ", "]", element), joined(n, "[", ", ", "]", changed(10, 0, element)), joined(n, "[", ", ", "]", changed(10, 5, element))
		}, &merge.Policy{Rules: []merge.Rule{{At: "", Merge: merge.Keyed, Key: []string{"id"}}}}},
		{"an array under set", 4_000, func(n int) (b, o, th []byte) {
			return joined(n, "[", ", ", "]", element), joined(n, "[", ", ", "]", changed(10, 0, element)), joined(n, "[", ", ", "]", changed(10, 5, element))
		}, &merge.Policy{Rules: []merge.Rule{{At: "", Merge: merge.Set}}}},
		{"nested arrays", 1_000, func(n int) (b, o, th []byte) {
			nest := func(s string) []byte {
				return []byte(strings.Repeat(`[0, "abcdefgh", `, n) + s + strings.Repeat("]", n))
			}
			return nest(`{"a": 1, "b": 1}`), nest(`{"a": 2, "b": 1}`), nest(`{"a": 1, "b": 3}`)
		}, nil},
		{"a large value deep inside", 1_000, func(n int) (b, o, th []byte) {
			nest := func(s string) []byte {
				bulk := strings.Repeat("x", 1000*n)
				return []byte(strings.Repeat(`{"a": 0, "b": `, n) + `{"bulk": "` + bulk + `", "n": ` + s + `, "more": "` + bulk + `"}` + strings.Repeat("}", n))
			}
			return nest(`[1, 1]`), nest(`[2, 1]`), nest(`[1, 3]`)
		}, nil},
		{"nested objects, restyled", 1_000, func(n int) (b, o, th []byte) {
			nest := func(s string) []byte {
				return []byte(strings.Repeat(`{"a": "abcdefgh", "b": `, n) + s + strings.Repeat("}", n))
			}
			return nest(`{"a": 1, "b": 1}`), restyle(nest(`{"a": 2, "b": 1}`)), nest(`{"a": 1, "b": 3}`)
		}, nil},
		{"nested arrays, restyled, changed at each level", 1_000, func(n int) (b, o, th []byte) {
			nest := func(s, at string) []byte {
				return []byte(strings.Repeat(`[0, "`+at+`", `, n) + s + strings.Repeat(", 7]", n))
			}
			return nest(`1`, "base"), restyle(nest(`1`, "ours")), nest(`2`, "base")
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			requireLinear(t, c.n, func(n int) func() {
				base, ours, theirs := c.docs(n)
				return func() { mustMerge(t, base, ours, theirs, merge.JSON, c.pol) }
			})
		})
	}
}

func TestLinearOps(t *testing.T) {
	do := func(d *merge.Document, kind, at, value string) {
		require.NoError(t, d.Do(merge.Op{Kind: kind, At: at, Value: merge.Raw(value)}))
	}
	for _, c := range []struct {
		name string
		n    int
		work func(n int)
	}{
		{"appends to an array", 4_000, func(n int) {
			d := parse(t, []byte(`{"l": []}`))
			for range n {
				do(d, merge.OpAppend, "/l", `{"x": 1}`)
			}
		}},
		{"appends to JSON Lines", 4_000, func(n int) {
			d, err := merge.Parse(nil, merge.Lines)
			require.NoError(t, err)
			for range n {
				do(d, merge.OpAppend, "", `{"x": 1}`)
			}
			require.Equal(t, n, bytes.Count(d.Bytes(), []byte("\n")))
		}},
		{"new members", 4_000, func(n int) {
			d := parse(t, []byte(`{}`))
			for i := range n {
				do(d, merge.OpSet, fmt.Sprintf("/k%d", i), "1")
			}
		}},
		{"members set and deleted", 4_000, func(n int) {
			d := parse(t, joined(n, "{", ",", "}", func(i int) string { return fmt.Sprintf(`"k%d":1`, i) }))
			for i := range n {
				do(d, merge.OpSet, fmt.Sprintf("/k%d", i), "2")
				do(d, merge.OpDelete, fmt.Sprintf("/k%d", i*7919%n), "")
			}
		}},
		{"taken from the front of a queue", 4_000, func(n int) {
			d := parse(t, joined(n, "[", ",", "]", func(i int) string { return fmt.Sprint(i) }))
			for range n {
				do(d, merge.OpDelete, "/0", "")
			}
		}},
		{"counting in one place", 4_000, func(n int) {
			d := parse(t, []byte(`{"a": {"b": {"n": 0}}}`))
			for range n {
				do(d, merge.OpIncr, "/a/b/n", "1")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			requireLinear(t, c.n, func(n int) func() { return func() { c.work(n) } })
		})
	}
}

func TestLinearRest(t *testing.T) {
	t.Run("salvage", func(t *testing.T) {
		requireLinear(t, 10_000, func(n int) func() {
			torn := joined(n, "{\"l\": [", ", ", ", {\"id\": 1", func(i int) string { return fmt.Sprintf(`{"id": %d, "l": [[[1]]]}`, i) })
			return func() {
				_, _, err := merge.Salvage(torn, merge.JSON)
				require.NoError(t, err)
			}
		})
	})
	t.Run("salvage of broken lines", func(t *testing.T) {
		requireLinear(t, 10_000, func(n int) func() {
			torn := joined(n, "", "\n", "", func(i int) string {
				if i == n/2 {
					return `{"a`
				}
				return `{"a": 1}`
			})
			return func() {
				_, _, err := merge.Salvage(torn, merge.Lines)
				require.NoError(t, err)
			}
		})
	})
	t.Run("duplicates collapsed", func(t *testing.T) {
		pol := &merge.Policy{Duplicates: "collapse"}
		requireLinear(t, 4_000, func(n int) func() {
			base := []byte(`{"x": 1}`)
			theirs := joined(n, `{"x": 1, `, ", ", "}", func(i int) string { return fmt.Sprintf(`"k%d": %d`, i/2, i) })
			return func() { mustMerge(t, base, []byte(`{"x": 2}`), theirs, merge.JSON, pol) }
		})
	})
	t.Run("equality of objects in another order", func(t *testing.T) {
		requireLinear(t, 4_000, func(n int) func() {
			doc := joined(n, "{", ",", "}", func(i int) string { return fmt.Sprintf(`"k%d":%d`, i, i) })
			back := joined(n, "{", ",", "}", func(i int) string { return fmt.Sprintf(`"k%d":%d`, n-1-i, n-1-i) })
			return func() { mustMerge(t, doc, back, append(doc, '\n'), merge.JSON, nil) }
		})
	})
}
