package merge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

var seeds = []string{
	``, ` `, `1`, `{"a":1}`, `[1,2.5e-3,-0]`, `{"a":{"b":[null,true,false]},"é":"\u00e9\ud83d\ude00"}`, "\xef\xbb\xbf{}\r\n", `{"a":1,"a":2}`,
	`[NaN,Infinity,-Infinity]`, `["\ud800"]`, `"\x"`, "\"\x01\"", "[1,]", "{,}", `01`, `1.`, `[[[[[[]]]]]]`, "1\n2\n", "{\"a\":\n1}", "\xff\xfe1\x00",
	`"` + strings.Repeat("0123456789", 3) + `"`, strings.Repeat(" ", 70) + `{"key": "value with \"quotes\" and \\"}`,
}

// Valid agrees with jsontext, but for what Python writes as well: NaN, Infinity, lone surrogates; names that come twice
// (jsontext is told to take those); and a byte order mark, which Python takes as utf-8-sig. A text without any value is a
// missing document here. Both end at a depth of 10,000.
func FuzzValid(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		err := merge.Valid(src, merge.JSON)
		if err != nil {
			var syntax *merge.SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.LessOrEqual(t, syntax.Offset, int64(len(src)))
			require.Positive(t, syntax.Line)
			require.Positive(t, syntax.Column)
		} else {
			d, parseErr := merge.Parse(src, merge.JSON)
			require.NoError(t, parseErr)
			require.Equal(t, src, d.Bytes())
		}
		text := bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
		if len(bytes.Trim(text, " \t\r\n")) == 0 {
			require.NoError(t, err)
			return
		}
		want := jsontextValid(text)
		if (want == nil) != (err == nil) && err == nil && pythonOnly(text) {
			return
		}
		require.Equal(t, want == nil, err == nil, "jsontext: %v, here: %v", want, err)
	})
}

func jsontextValid(src []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(src), jsontext.AllowDuplicateNames(true))
	if _, err := d.ReadValue(); err != nil {
		return err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("more behind the value")
	}
	return nil
}

// pythonOnly says whether src becomes what jsontext takes by replacing the words and surrogates that only Python has.
func pythonOnly(src []byte) bool {
	var out []byte
	for i := 0; i < len(src); {
		rest := src[i:]
		switch {
		case rest[0] == '"':
			end := 1
			for end < len(rest) && rest[end] != '"' {
				if rest[end] == '\\' {
					end++
				}
				end++
			}
			if end >= len(rest) {
				return false
			}
			out = append(out, withoutSurrogates(rest[:end+1])...)
			i += end + 1
		case bytes.HasPrefix(rest, []byte("NaN")):
			out, i = append(out, "null"...), i+3
		case bytes.HasPrefix(rest, []byte("-Infinity")):
			out, i = append(out, "null"...), i+9
		case bytes.HasPrefix(rest, []byte("Infinity")):
			out, i = append(out, "null"...), i+8
		default:
			out = append(out, rest[0])
			i++
		}
	}
	return jsontextValid(out) == nil
}

func withoutSurrogates(s []byte) []byte {
	out := bytes.Clone(s)
	for i := 0; i+6 <= len(out); i++ {
		if out[i] != '\\' {
			continue
		}
		if out[i+1] == 'u' && (out[i+2] == 'd' || out[i+2] == 'D') && strings.IndexByte("89abcdefABCDEF", out[i+3]) >= 0 {
			out[i+2] = '0'
		}
		i++
	}
	return out
}

// Whatever three documents meet: the outcome is a document, the identities hold, and what is merged is not lost.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"a":1}`), []byte(`{"a":2,"b":[1]}`), []byte(`{"a":1,"c":null}`), false, byte(0))
	f.Add([]byte(`[1,2,3]`), []byte(`[0,1,2,3]`), []byte(`[1,2,3,4]`), false, byte(1))
	f.Add([]byte(`{"a":1,"a":2}`), []byte(`{"a":2}`), []byte(`{"a":1}`), false, byte(2))
	f.Add([]byte("1\n2\n"), []byte("1\n2\n3\n"), []byte("1\n2\n4"), true, byte(0))
	f.Add([]byte("\xef\xbb\xbf1\n"), []byte("0\n1"), []byte("\n\n2\n"), true, byte(3))
	f.Add([]byte(``), []byte(`{"n":1e400}`), []byte(`{"n":NaN}`), false, byte(4))
	f.Add([]byte(`{"l":[{"id":1,"x":[]},{"id":2}]}`), []byte(`{"l":[{"id":2},{"id":1,"x":[1]}]}`), []byte(`{"l":[{"id":3}]}`), false, byte(8))
	f.Fuzz(func(t *testing.T, base, ours, theirs []byte, lines bool, strategy byte) {
		format := merge.JSON
		if lines {
			format = merge.Lines
		}
		for _, text := range [][]byte{base, ours, theirs} {
			if merge.Valid(text, format) != nil {
				return
			}
		}
		rule := merge.Rule{At: "/**", Merge: append(merge.Strategies(), "")[int(strategy)%(len(merge.Strategies())+1)]}
		if rule.Merge == merge.Keyed {
			rule.Key = []string{"id"}
		}
		pol := &merge.Policy{Rules: []merge.Rule{rule}, Strict: strategy&64 != 0, Adopt: strategy&128 != 0}
		check := func(b, o, t1 []byte, want []byte) {
			t.Helper()
			got, outcome, err := merge.Merge(b, o, t1, format, pol)
			require.NoError(t, err)
			if want != nil {
				require.Equal(t, string(want), string(got))
				require.Empty(t, outcome.Conflicts)
			}
			require.NoError(t, merge.Valid(got, format), "%q", got)
		}
		check(base, base, theirs, append([]byte{}, theirs...))
		check(base, ours, base, append([]byte{}, ours...))
		if !accumulates(pol) {
			check(base, ours, ours, append([]byte{}, ours...))
		}
		check(base, ours, theirs, nil)

		change, err := merge.Diff(base, ours, format, pol)
		require.NoError(t, err)
		require.Equal(t, change.Empty(), len(change.Edits()) == 0)
		d, err := merge.Parse(theirs, format)
		require.NoError(t, err)
		_, err = d.Merge(change.AdditionsOnly(), pol)
		require.NoError(t, err)
		require.NoError(t, merge.Valid(d.Bytes(), format), "%q", d.Bytes())
		once := string(d.Bytes())
		again, err := merge.Parse(d.Bytes(), format)
		require.NoError(t, err)
		require.Equal(t, once, string(again.Bytes()))

		// A change is done to base itself as to any other text: by value the result is ours.
		plain, err := merge.Diff(base, ours, format, nil)
		require.NoError(t, err)
		spaced := append(append([]byte{}, base...), '\n')
		if bytes.Equal(base, ours) || len(bytes.TrimSpace(base)) == 0 || len(bytes.TrimSpace(ours)) == 0 {
			return
		}
		d, err = merge.Parse(spaced, format)
		require.NoError(t, err)
		_, err = d.Merge(plain, nil)
		require.NoError(t, err)
		back, err := merge.Diff(d.Bytes(), ours, format, nil)
		require.NoError(t, err)
		require.True(t, back.Empty(), "base %q with the change to %q is %q", spaced, ours, d.Bytes())
	})
}

func FuzzParseOp(f *testing.F) {
	f.Add([]byte(`{"op":"set","at":"/a","value":"1"}`), []byte(`{"a":[1,{"b":2}]}`))
	f.Add([]byte(`{"op":"insert","at":"/a/0","value":"{\"x\":NaN}"}`), []byte(`{"a":[1]}`))
	f.Add([]byte(`{"op":"move","at":"/b","from":"/a"}`), []byte(`{"a":1,"a":2}`))
	f.Add([]byte(`{"op":"patch","at":"/-/x","value":"{\"x\":{\"y\":null}}"}`), []byte(`[]`))
	f.Add([]byte(`{"op":"incr","at":"/n","value":"1e-5"}`), []byte("\xef\xbb\xbf{\n\t\"n\" : 1\r\n}"))
	f.Fuzz(func(t *testing.T, line, doc []byte) {
		op, err := merge.ParseOp(line)
		if err != nil {
			return
		}
		again, err := merge.ParseOp(op.AppendJSON(nil))
		require.NoError(t, err)
		require.Equal(t, op.Kind, again.Kind)
		require.Equal(t, op.At, again.At)
		require.Equal(t, string(merge.Compact(nil, op.Value)), string(again.Value))
		for _, format := range []merge.Format{merge.JSON, merge.Lines} {
			d, err := merge.Parse(doc, format)
			if err != nil {
				continue
			}
			if err := d.Do(op); err != nil {
				require.Equal(t, string(doc), string(d.Bytes()), "a failure changes nothing: %v", err)
				require.False(t, d.Changed())
			}
			require.NoError(t, merge.Valid(d.Bytes(), format), "%q", d.Bytes())
			if !d.Changed() {
				require.Equal(t, string(doc), string(d.Bytes()))
			}
			fail := merge.Op{Kind: merge.OpTest, At: "/no/such/place", Value: merge.Raw("0")}
			d, _ = merge.Parse(doc, format)
			require.Error(t, d.Do(op, op, fail))
			require.Equal(t, string(doc), string(d.Bytes()), "undone")
		}
	})
}

func FuzzSalvage(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, src []byte, lines bool) {
		format := merge.JSON
		if lines {
			format = merge.Lines
		}
		got, cut, err := merge.Salvage(src, format)
		if err != nil {
			require.ErrorIs(t, err, merge.ErrNotFound)
			require.Equal(t, int64(len(src)), cut)
			return
		}
		require.NoError(t, merge.Valid(got, format), "%q of %q", got, src)
		kept := int64(len(src)) - cut
		require.LessOrEqual(t, kept, int64(len(src)))
		require.True(t, bytes.HasPrefix(got, src[:kept]), "%q of %q", got, src)
		require.Empty(t, strings.Trim(string(got[kept:]), "]}"))
		if merge.Valid(src, format) == nil {
			require.Equal(t, string(src), string(got))
			require.Zero(t, cut)
		}
	})
}

func FuzzPointer(f *testing.F) {
	for _, s := range []string{"", "/", "/a/b", "/~0~1", "/~", "a", "//", "/é/0/-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := merge.ParsePointer(s)
		if err != nil {
			return
		}
		require.Equal(t, s, p.String())
		name, err := json.Marshal(strings.Join(p, "\x00"))
		require.NoError(t, err)
		d, err := merge.Parse([]byte(`{"keep":`+string(name)+`}`), merge.JSON)
		require.NoError(t, err)
		if len(p) == 0 || p[0] == "keep" {
			return
		}
		require.NoError(t, d.Do(merge.Op{Kind: merge.OpSet, At: s, Value: merge.Raw("1")}))
		got, err := d.Get(p)
		require.NoError(t, err, "%q in %s", s, d.Bytes())
		require.Equal(t, "1", string(got))
		require.NoError(t, merge.Valid(d.Bytes(), merge.JSON))
	})
}
