package merge_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// What two texts have in common ends anywhere: inside of a number, a name, an escape. What is changed is found all the same.
func TestCommonEndsWithinAToken(t *testing.T) {
	for _, c := range []struct{ base, ours string }{
		{`[1, 12]`, `[1, 123]`},
		{`[1, 12, 5]`, `[1, 123, 5]`},
		{`[12, 5]`, `[2, 5]`},
		{`[1.5]`, `[1.5e3]`},
		{`[true, 1]`, `[true]`},
		{`["a\\", "b"]`, `["b"]`},
		{`["x", "y"]`, `["x\", \"y"]`},
		{`["p", ", ", "q"]`, `[", ", "q"]`},
		{`[[1, 2], [1, 2]]`, `[[1, 2]]`},
		{`[[1, 2, 3], 4]`, `[[1, 2], 3, 4]`},
		{`[3, 4]`, `[[3, 4]]`},
		{`{"a": 1, "b": 12}`, `{"a": 1, "b": 1}`},
		{`{"xa": 1, "b": 2}`, `{"a": 1, "b": 2}`},
		{`{"a": 1, "b": 1, "a": 2}`, `{"a": 1, "b": 2, "a": 2}`},
		{`{"a": 1, "b": 1, "a": 2}`, `{"a": 2, "b": 1, "a": 2}`},
	} {
		for _, more := range []int{0, 300} { // around it, of which the ends are kept
			around := func(s string) []byte {
				open, inner, shut := s[:1], s[1:len(s)-1], s[len(s)-1:]
				member := "7, "
				if open == "{" {
					member = `"m": 7, `
				}
				return []byte(open + strings.Repeat(member, more) + inner + shut)
			}
			base, ours := around(c.base), around(c.ours)
			change, err := merge.Diff(base, ours, merge.JSON, nil)
			require.NoError(t, err)
			d := parse(t, append(base, '\n'))
			_, err = d.Merge(change, nil)
			require.NoError(t, err)
			left, err := merge.Diff(ours, d.Bytes(), merge.JSON, nil)
			require.NoError(t, err)
			require.Empty(t, left.Edits(), "%s → %s: %v", c.base, c.ours, change.Edits())
		}
	}
}
