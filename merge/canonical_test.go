package merge_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/merge"
)

func TestAppendCanonical(t *testing.T) {
	for _, c := range []struct{ raw, want string }{
		{` {"b": 1.0, "a": [ 1e5, -0, "\u0061\/\n" ], "b": null} `, `{"a":[1e5,e0,"a/\n"],"b":null}`},
		{`[[], {}, [[1], {"": "\ud800"}]]`, `[[],{},[[1e0],{"":"\ud800"}]]`},
		{`NaN`, `NaN`},
		{`"é\u00e9"`, `"éé"`},
	} {
		require.Equal(t, "x"+c.want, string(merge.AppendCanonical([]byte("x"), []byte(c.raw))))
	}
}

// Equal values have the same text, in whatever dialect they are written, and others have another.
func TestCanonicalTextsAreEqualAsValuesAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyDocument(t)
		b := rapid.SampledFrom([]any{a, edited(t, a), anyDocument(t)}).Draw(t, "b")
		x := merge.AppendCanonical(nil, anyDialect(t, "a in").write(a))
		y := merge.AppendCanonical(nil, anyDialect(t, "b in").write(b))
		require.Equal(t, equal(a, b), string(x) == string(y), "%s and %s", x, y)
	})
}
