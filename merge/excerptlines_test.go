package merge_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/merge"
)

// linesOf is JSON Lines behind what is never left out: two lines, as runs begin with the second one that all have.
func linesOf(d dialect, l list) []byte {
	d.indent, d.end = "", d.newline
	out := fmt.Appendf(nil, "%q%s", strings.Repeat("x", headSize), d.newline)
	for _, e := range l {
		out = append(out, d.write(e)...)
	}
	return out
}

// TestLawExcerptsOfLines is TestLawExcerpts for JSON Lines of which most have equals, with blank lines, with and without an end behind the last
// one, some written in another way.
func TestLawExcerptsOfLines(t *testing.T) {
	var drawn drawnExcerpts
	rapid.Check(t, func(t *rapid.T) {
		value := fewValues(t)
		if rapid.Bool().Draw(t, "any") {
			value = func(label string) any { return anyValue(t, 1) }
		}
		usual := anyDialect(t, "usual")
		blank := rapid.IntRange(0, 9).Draw(t, "blank") == 7
		text := func(l list) []byte {
			d := usual
			if rapid.IntRange(0, 15).Draw(t, "other") == 7 {
				d = anyDialect(t, "dialect")
			}
			if rapid.IntRange(0, 7).Draw(t, "literals") == 5 {
				d.literal = pythonFloats
			}
			out := linesOf(d, l)
			if blank && len(l) > 0 { // behind one and the same line, or another
				n := rapid.SampledFrom([]int{len(l) / 2, len(l) / 2, len(l) - 1}).Draw(t, "behind")
				ends := bytes.SplitAfter(out, []byte("\n"))
				ends[n+1] = append(slices.Clone(ends[n+1]), " \t\n\n"...)
				out = bytes.Join(ends, nil)
			}
			if rapid.IntRange(0, 5).Draw(t, "no end") == 5 {
				out = bytes.TrimRight(out, "\r\n")
			}
			return out
		}
		document := blocks(t, value)
		bases := [][]byte{text(document)}
		if rapid.IntRange(0, 2).Draw(t, "two") == 0 {
			newer := editedBlocks(t, document, value)
			bases = append([][]byte{text(newer)}, bases...)
			if rapid.Bool().Draw(t, "from newer") {
				document = newer
			}
		}
		ours, others := text(editedBlocks(t, document, value)), text(editedBlocks(t, document, value))
		theirs := bases[0]
		if rapid.IntRange(0, 3).Draw(t, "theirs") > 0 {
			theirs = text(editedBlocks(t, document, value))
		}
		pol := &merge.Policy{Strict: rapid.IntRange(0, 3).Draw(t, "strict") == 0, Adopt: rapid.IntRange(0, 3).Draw(t, "adopt") == 0}
		for range rapid.IntRange(0, 2).Draw(t, "rules") {
			pol.Rules = append(pol.Rules, merge.Rule{
				At:    rapid.SampledFrom([]string{"", "/*", "/*/id", "/*/of", "/9", "/**"}).Draw(t, "for"),
				Merge: rapid.SampledFrom(append(slices.Clone(excerptStrategies), merge.Ours, merge.Min)).Draw(t, "rule"),
			})
		}
		if rapid.IntRange(0, 4).Draw(t, "keyed") == 0 {
			pol.Rules = []merge.Rule{{At: "", Merge: merge.Keyed, Key: []string{"id"}}}
		}
		if rapid.IntRange(0, 3).Draw(t, "derive") == 0 {
			pol.Derived = []merge.Derivation{{At: "/*/n", Compute: lengthOfText}}
		}
		if pol.Check() != nil {
			pol = nil
		}
		drawn.requireSame(t, merge.Lines, ours, others, theirs, bases, pol)
	})
	drawn.report(t)
}

func TestExcerptsOfLines(t *testing.T) {
	var lines []string
	for i := range 400 {
		lines = append(lines, fmt.Sprintf(`{"n": %d, "s": "lorem \"ipsum\" {", "l": [1, {"a": "b"}]}`+"\n", i))
	}
	with := func(list []string, i, gone int, added ...string) []string {
		return slices.Replace(slices.Clone(list), i, i+gone, added...)
	}
	text := func(list []string) []byte {
		return fmt.Appendf(nil, "%q\n%s", strings.Repeat("x", headSize), strings.Join(list, ""))
	}
	changed := func(i int) string {
		return fmt.Sprintf(`{"n": %d, "s": "lorem ipsum", "l": [1, {"a": "b"}]}`+"\n", i)
	}
	t.Run("blank lines are none", func(t *testing.T) {
		blank := with(lines, 100, 0, "\n", " \r\n")
		other := strings.Replace(lines[300], "lorem", "their", 1)
		excerpts, expanded := requireSameByExcerpts(t, merge.Lines, text(with(blank, 302, 1, changed(300))), text(with(blank, 302, 1, other)), text(blank), [][]byte{text(blank)}, 0, nil, 4000, 1000, 500)
		require.True(t, excerpts && expanded)
	})
	for name, c := range map[string]struct {
		other []string
		gaps  int // 0: there are no excerpts
	}{
		"the same":                  {lines, 1},
		"one changed":               {with(lines, 200, 1, changed(200)), 2},
		"two changed":               {with(with(lines, 200, 1, changed(200)), 300, 1, changed(300)), 3},
		"one gone, one put in":      {with(with(lines, 300, 1), 100, 0, changed(-1)), 3},
		"at the end":                {append(slices.Clone(lines), changed(-1)), 1},
		"no end":                    {with(lines, 399, 1, strings.TrimSuffix(lines[399], "\n")), 1},
		"a line end of its own":     {with(lines, 200, 1, strings.Replace(lines[200], "\n", " \r\n", 1)), 1},
		"one that is too large":     {with(lines, 200, 0, fmt.Sprintf("%q\n", strings.Repeat("y", 2000))), 0},
		"a value on two lines":      {with(lines, 200, 1, strings.Replace(lines[200], ", ", ",\n", 1)), 0},
		"two values on a line":      {with(lines, 200, 1, strings.Replace(lines[200], "\n", " 1\n", 1)), 0},
		"half a line at the end":    {with(lines, 399, 1, lines[399][:20]), 0},
		"half a line in the middle": {with(lines, 200, 1, lines[200][:20]), 0},
		"a comma behind a line":     {with(lines, 200, 1, strings.Replace(lines[200], "\n", ",\n", 1)), 0},
	} {
		t.Run(name, func(t *testing.T) {
			whole, other := text(lines), text(c.other)
			texts := textsOf(whole, other)
			x, err := merge.SmallExcerpts(texts, merge.Lines, nil, 4000, 1000, 500)
			require.NoError(t, err)
			if c.gaps == 0 {
				require.Nil(t, x)
				return
			}
			require.NotNil(t, x)
			require.Equal(t, c.gaps, x.Gaps())
			require.Less(t, len(x.Text(0)), headSize+4000)
			_, expanded := requireSameByExcerpts(t, merge.Lines, other, whole, whole, [][]byte{whole}, 0, nil, 4000, 1000, 500)
			require.True(t, expanded)
			_, expanded = requireSameByExcerpts(t, merge.Lines, whole, text(with(lines, 50, 1)), other, [][]byte{whole}, 0, nil, 4000, 1000, 500)
			require.True(t, expanded)
		})
	}
}
