package merge

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func inPieces(src []byte, f Format, window, piece int) error {
	v := Validator{Format: f, window: window}
	for len(src) > 0 {
		n := min(piece, len(src))
		if _, err := v.Write(src[:n]); err != nil {
			return err
		}
		src = src[n:]
	}
	return v.Close()
}

// FuzzValidInPieces: a text is valid in pieces if it is whole, wherever it is cut and however little is kept of it.
func FuzzValidInPieces(f *testing.F) {
	for _, s := range []string{
		``, ` `, `1`, `12`, `{"a":1}`, `[1,2.5e-3,-0,12345678901234567890]`, `{"a":{"b":[null,true,false]},"é":"\u00e9\ud83d\ude00"}`,
		"\xef\xbb\xbf{}\r\n", " \xef\xbb\xbf{}", "\xef\xbb", `[NaN,-Infinity]`, `[1,]`, `{"a":1}}`, `{} {}`, "{}  \n", `[[[[[[]]]]]]`, `[1 2]`, `"abc`, `"\`, "\xff\xfe1\x00",
	} {
		f.Add([]byte(s), 1, 1)
		f.Add([]byte(s), 5, 2)
	}
	f.Fuzz(func(t *testing.T, src []byte, window, piece int) {
		for _, format := range []Format{JSON, Lines} {
			whole := Valid(src, format)
			err := inPieces(src, format, 1+abs(window)%64, 1+abs(piece)%64)
			require.Equal(t, whole == nil, err == nil, "whole: %v, in pieces: %v", whole, err)
		}
	})
}

func abs(n int) int { return max(n, -max(n, -1<<31)) }

func TestValidInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := []byte(drawText(t, 4))
		if rapid.Bool().Draw(t, "broken") && len(src) > 0 {
			at := rapid.IntRange(0, len(src)-1).Draw(t, "at")
			src = append(src[:at:at], src[at+rapid.IntRange(0, 1).Draw(t, "without"):]...)
			src = append(src[:at:at], append([]byte(rapid.StringMatching(`[\[\]{},:"0\\ ]?`).Draw(t, "with")), src[at:]...)...)
		}
		window, piece := rapid.IntRange(1, 40).Draw(t, "window"), rapid.IntRange(1, 40).Draw(t, "piece")
		format := JSON
		if rapid.Bool().Draw(t, "lines") {
			format = Lines
			for range rapid.IntRange(0, 4).Draw(t, "more") {
				src = append(append(src, rapid.SampledFrom([]string{"\n", " \r\n", "\n\n", ""}).Draw(t, "end")...), drawText(t, 2)...)
			}
		}
		whole, err := Valid(src, format), inPieces(src, format, window, piece)
		if (whole == nil) != (err == nil) {
			t.Fatalf("%q, whole: %v, in pieces: %v", src, whole, err)
		}
	})
}

// drawText is a document, loosely written.
func drawText(t *rapid.T, depth int) string {
	space := rapid.StringMatching(`[ \n]{0,3}`)
	kind := rapid.IntRange(0, 5).Draw(t, "kind")
	if depth == 0 {
		kind %= 4
	}
	var inner []string
	if kind > 3 {
		for range rapid.IntRange(0, 5).Draw(t, "children") {
			text := drawText(t, depth-1)
			if kind == 4 {
				text = `"` + rapid.StringMatching(`[a-zé]{0,9}`).Draw(t, "name") + `"` + space.Draw(t, "space") + ":" + text
			}
			inner = append(inner, text)
		}
	}
	text := ""
	switch kind {
	case 0:
		text = rapid.SampledFrom([]string{"true", "false", "null", "NaN", "-Infinity"}).Draw(t, "literal")
	case 1:
		text = rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
	case 2, 3:
		text = `"` + rapid.StringMatching(`([a-zé€]|\\["\\/bn]|\\u[0-9a-f]{4}){0,30}`).Draw(t, "string") + `"`
	case 4:
		text = "{" + strings.Join(inner, ",") + "}"
	case 5:
		text = "[" + strings.Join(inner, ",") + "]"
	}
	return space.Draw(t, "before") + text + space.Draw(t, "behind")
}

// A validator keeps a window of a text, and not the text.
func TestMemoryOfAValidator(t *testing.T) {
	v := Validator{}
	_, _ = v.Write([]byte("[0"))
	for i := range 1 << 20 {
		_, _ = fmt.Fprintf(&v, ",\n{\"n\": %d, \"text\": \"some text\"}", i)
	}
	_, _ = v.Write([]byte("]"))
	require.NoError(t, v.Close())
	require.LessOrEqual(t, cap(v.rest), 4*validatorWindow)

	v = Validator{}
	_, _ = v.Write(bytes.Repeat([]byte(" "), 4<<20))
	require.NoError(t, v.Close())
	require.True(t, v.Empty())
	require.LessOrEqual(t, cap(v.rest), 4*validatorWindow)

	// Nor of what is none: a file without an end, of zeros, is none.
	v = Validator{}
	_, _ = v.Write([]byte(`{"a": "`))
	_, _ = v.Write(make([]byte, 4<<20))
	require.LessOrEqual(t, cap(v.rest), 4*validatorWindow)
	require.Error(t, v.Close())
	require.False(t, v.Empty())
}

func BenchmarkValidator(b *testing.B) {
	text := append([]byte("[0"), bytes.Repeat([]byte(",\n  {\"n\": 12345, \"ok\": true, \"text\": \"some text that is longer\"}"), 100_000)...)
	text = append(text, ']')
	b.Run("whole", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if Valid(text, JSON) != nil {
				b.Fatal()
			}
		}
	})
	b.Run("in pieces", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if inPieces(text, JSON, 0, 128<<10) != nil {
				b.Fatal()
			}
		}
	})
}
