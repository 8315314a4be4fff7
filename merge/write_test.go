package merge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// A document with a few changes is a few pieces, which share what was not changed with the text it was parsed from.
func TestPartsShareWhatIsNotChanged(t *testing.T) {
	member := func(i int) string { return fmt.Sprintf("%q: {\"n\": %d, \"s\": \"some text\"}", fmt.Sprint("k", i), i) }
	for _, c := range []struct {
		name   string
		format merge.Format
		src    []byte
		ops    []merge.Op
	}{
		{"object", merge.JSON, joined(5000, "{\n", ",\n ", "\n}\n", member), []merge.Op{
			{Kind: merge.OpSet, At: "/k17/n", Value: merge.Raw("-1")}, {Kind: merge.OpSet, At: "/new", Value: merge.Raw("1")}, {Kind: merge.OpDelete, At: "/k2500"},
		}},
		{"array", merge.JSON, joined(5000, "[", ", ", "]", func(i int) string { return fmt.Sprint(i) }), []merge.Op{
			{Kind: merge.OpSet, At: "/17", Value: merge.Raw("-1")}, {Kind: merge.OpAppend, At: "", Value: merge.Raw("1")}, {Kind: merge.OpInsert, At: "/2500", Value: merge.Raw("0")},
		}},
		{"lines", merge.Lines, joined(5000, "", "\n", "", func(i int) string { return fmt.Sprint(i) }), []merge.Op{
			{Kind: merge.OpSet, At: "/17", Value: merge.Raw("-1")}, {Kind: merge.OpAppend, At: "", Value: merge.Raw("1")}, {Kind: merge.OpDelete, At: "/2500"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := merge.Parse(c.src, c.format)
			require.NoError(t, err)
			require.NoError(t, d.Do(c.ops...))
			list := d.Parts()
			require.Less(t, len(list), 10)
			own := 0
			var whole strings.Builder
			for _, p := range list {
				require.NotEmpty(t, p)
				whole.Write(p)
				if len(p) < 1000 {
					own += len(p)
				}
			}
			require.Less(t, own, 2000)
			require.Equal(t, string(d.Bytes()), whole.String())
			again, err := merge.Parse([]byte(whole.String()), c.format)
			require.NoError(t, err)
			clone, err := d.Clone()
			require.NoError(t, err)
			require.Equal(t, string(again.Bytes()), string(clone.Bytes()))
			require.NoError(t, clone.Do(c.ops...))
			require.Equal(t, string(again.Bytes()), string(d.Bytes()), "what is done to a clone is not done to the document")
		})
	}
}
