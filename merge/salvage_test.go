package merge_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/merge"
)

func TestSalvage(t *testing.T) {
	for _, c := range []struct {
		torn, want string
		lines      bool
	}{
		{torn: `{"a": 1, "b": {"x": [1, 2], "y": "cu`, want: `{"a": 1, "b": {"x": [1, 2]}}`},
		{torn: `[{"id": 1}, {"id": 2}, {"id": 3`, want: `[{"id": 1}, {"id": 2}, {}]`},
		{torn: `[1, 2, 3`, want: `[1, 2]`}, // it may have been 34
		{torn: `[1, 2, tru`, want: `[1, 2]`},
		{torn: `[1, 2, true`, want: `[1, 2]`},
		{torn: `[1, 2,`, want: `[1, 2]`},
		{torn: `["a", "b"`, want: `["a", "b"]`},
		{torn: `["a", "b\`, want: `["a"]`},
		{torn: `["a", "\u00e`, want: `["a"]`},
		{torn: "[\"a\", \"\xc3", want: `["a"]`},
		{torn: `{"a": 1, "b"`, want: `{"a": 1}`},
		{torn: `{"a": 1, "b":`, want: `{"a": 1}`},
		{torn: `{"a": 1, `, want: `{"a": 1}`},
		{torn: `{`, want: `{}`},
		{torn: "\xef\xbb\xbf  [", want: "\xef\xbb\xbf  []"},
		{torn: `{"a": {}}`, want: `{"a": {}}`},
		{torn: `[[[`, want: `[[[]]]`},
		{torn: `[1} garbage`, want: `[1]`},
		{torn: `{"a": 1}{"b`, want: `{"a": 1}`},
		{torn: "{\"a\": [1, 2\x00\x00\x00", want: `{"a": [1, 2]}`}, // the end was never written
		{torn: "1\n2\n{\"a\":", want: "1\n2\n", lines: true},
		{torn: "1\n2", want: "1\n", lines: true},
		{torn: "1\n{\"a\"}\n3\n{\"b", want: "1\n", lines: true},
	} {
		f := merge.JSON
		if c.lines {
			f = merge.Lines
		}
		got, cut, err := merge.Salvage([]byte(c.torn), f)
		if c.torn == "1\n2" {
			require.NoError(t, err) // it is a whole document, as far as anybody can tell
			require.Equal(t, c.torn, string(got))
			continue
		}
		require.NoError(t, err, c.torn)
		require.Equal(t, c.want, string(got))
		require.NoError(t, merge.Valid(got, f))
		require.GreaterOrEqual(t, cut, int64(0))
		require.LessOrEqual(t, cut, int64(len(c.torn)))
	}
	for _, nothing := range []string{`nul`, `"abc`, `x`, `-`} {
		_, cut, err := merge.Salvage([]byte(nothing), merge.JSON)
		require.ErrorIs(t, err, merge.ErrNotFound, nothing)
		require.Equal(t, int64(len(nothing)), cut)
	}
}

// Every beginning of a document gives a document whose records are a beginning of the document's.
func TestSalvageEveryPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var whole any = anyObject(t, 3)
		if rapid.Bool().Draw(t, "list") {
			whole = append(list{whole}, anyValue(t, 2))
		}
		text := anyDialect(t, "in").write(whole)
		for n := range len(text) {
			got, cut, err := merge.Salvage(text[:n], merge.JSON)
			if err != nil {
				require.ErrorIs(t, err, merge.ErrNotFound)
				require.Zero(t, n, "nothing kept of %s", text[:n])
				continue
			}
			if n == 0 {
				continue
			}
			require.NoError(t, merge.Valid(got, merge.JSON), "%s", got)
			require.True(t, bytes.HasPrefix(text, got[:int64(n)-cut]), "%s of %s", got, text[:n])
			require.True(t, begins(whole, decode(t, got)), "%s of %s", got, text[:n])
		}
	})
}

// begins says whether part is the beginning of whole: the same members or elements up to its last, which may be a
// beginning itself.
func begins(whole, part any) bool {
	switch p := part.(type) {
	case *object:
		w, ok := whole.(*object)
		if !ok || len(p.names) > len(w.names) {
			return false
		}
		for i, name := range p.names {
			if w.names[i] != name || !equal(w.at(name), p.at(name)) && (i < len(p.names)-1 || !begins(w.at(name), p.at(name))) {
				return false
			}
		}
		return true
	case list:
		w, ok := whole.(list)
		if !ok || len(p) > len(w) {
			return false
		}
		for i := range p {
			if !equal(w[i], p[i]) && (i < len(p)-1 || !begins(w[i], p[i])) {
				return false
			}
		}
		return true
	}
	return equal(whole, part)
}
