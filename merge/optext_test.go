package merge

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// texts are what operations are made of, and what they are not.
func texts() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", `"`, `\`, `\"`, `\u0041`, "\x00", "\n", "\x7f", "é", "\u2028", "<&>", "\xed\xa0\x80", "\xff", `{"op":"set"}`}),
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.StringMatching(`(["\\]|[a-c])*`),
	)
}

func TestQuotedIsWhatEncodingJSONReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := texts().Draw(t, "text")
		quoted := AppendQuoted([]byte("x"), text)[1:]
		require.Equal(t, quoted, AppendQuoted(nil, []byte(text)))
		standard, err := json.Marshal(text)
		require.NoError(t, err)
		var got, want string
		require.NoError(t, json.Unmarshal(quoted, &got))
		require.NoError(t, json.Unmarshal(standard, &want))
		require.Equal(t, want, got)
	})
}

func TestCutQuotedAgreesWithEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := `"` + texts().Draw(t, "inside") + `"` + texts().Draw(t, "behind")
		text, rest, ok := CutQuoted([]byte(src))
		if !ok {
			return
		}
		var want string
		require.NoError(t, json.Unmarshal([]byte(src[:len(src)-len(rest)]), &want), "%q", src)
		require.Equal(t, want, string(text))
	})
	for _, src := range []string{``, `"`, `"\`, `"\"`, `x"`, `"\n"`, "\"\x01\""} {
		_, _, ok := CutQuoted([]byte(src))
		require.False(t, ok, "%q", src)
	}
	text, rest, ok := CutQuoted([]byte(`"a\\\"b",c`))
	require.True(t, ok)
	require.Equal(t, `a\"b`, string(text))
	require.Equal(t, ",c", string(rest))
}

// What is written is read by the short way, and encoding/json reads the same from it.
func TestOpTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := Op{
			Kind: rapid.SampledFrom([]string{OpSet, OpDelete, OpIncr, OpMove, "x"}).Draw(t, "kind"),
			At:   texts().Draw(t, "at"), From: texts().Draw(t, "from"),
		}
		if rapid.Bool().Draw(t, "with a value") {
			op.Value = Raw(rapid.SampledFrom([]string{"", "1", "NaN", `"a\"b\\"`, `{"a":"é\n"}`, `"` + "\xed\xa0\x80" + `"`}).Draw(t, "value"))
		}
		line := op.AppendJSON(nil)
		var w wireOp
		require.NoError(t, json.Unmarshal(line, &w))
		want := Op{Kind: w.Op, At: w.At, From: w.From}
		if w.Value != nil {
			want.Value = Raw(*w.Value)
		}
		got, short := scanOp(line)
		if short {
			require.Equal(t, want, got)
		}
		got, _ = ParseOp(line)
		require.Equal(t, want, got)
	})
	_, short := scanOp(Op{Kind: OpSet, At: "/a~1b/\"c\"", Value: Raw(`{"k":"v\\"}`)}.AppendJSON(nil))
	require.True(t, short)
	for _, text := range []string{
		`{"at":"/a","op":"set","value":"1"}`, `{ "op":"set","at":"/a","value":"1" }`, `{"op":"set","at":"/\u0061","value":"1","x":2}`,
	} {
		op, err := ParseOp([]byte(text))
		require.NoError(t, err, text)
		require.Equal(t, Op{Kind: OpSet, At: "/a", Value: Raw("1")}, op)
	}
}
