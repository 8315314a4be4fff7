package merge_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// A document whose containers are made one text again is the same document, to everything that is done to it.
func TestConsolidatedIsTheSame(t *testing.T) {
	member := func(i int) string { return fmt.Sprintf("%q : [%d, {\"n\": %d}]", fmt.Sprint("k", i), i, i) }
	element := func(i int) string { return fmt.Sprintf("{\"n\": %d}", i) }
	for _, c := range []struct {
		name   string
		format merge.Format
		src    []byte
		at     func(i int) string
	}{
		{"object", merge.JSON, joined(600, "{\n  ", " ,\n  ", "\n}\n", member), func(i int) string { return fmt.Sprintf("/k%d", i) }},
		{"member", merge.JSON, joined(600, "{\"a\": 1, \"in\": {", ", ", "}, \"z\": 2}", member), func(i int) string { return fmt.Sprintf("/in/k%d", i) }},
		{"array", merge.JSON, joined(600, "[\n\t", ",\n\t", "\n]", element), func(i int) string { return fmt.Sprintf("/%d", i) }},
		{"empty", merge.JSON, []byte("{}"), func(i int) string { return fmt.Sprintf("/k%d", i) }},
		{"lines", merge.Lines, joined(600, "", "\n", "\n", element), func(i int) string { return fmt.Sprintf("/%d", i) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			one, err := merge.Parse(c.src, c.format)
			require.NoError(t, err)
			other, err := merge.Parse(c.src, c.format)
			require.NoError(t, err)
			for round := range 60 {
				for range 40 {
					place := c.at(random.IntN(620))
					op := merge.Op{Kind: merge.OpSet, At: place, Value: merge.Raw(fmt.Sprintf("{\"round\": %d, \"list\": [1, 2]}", round))}
					switch random.IntN(12) {
					case 0:
						op = merge.Op{Kind: merge.OpDelete, At: place}
					case 1:
						op = merge.Op{Kind: merge.OpSet, At: place + "/list/-", Value: merge.Raw("3")}
					case 2:
						op = merge.Op{Kind: merge.OpInsert, At: place, Value: merge.Raw("4")}
					}
					first, second := one.Do(op), other.Do(op)
					require.Equal(t, fmt.Sprint(second), fmt.Sprint(first))
				}
				require.Equal(t, string(other.Bytes()), string(one.Bytes()))
				one.Consolidate()
				require.Equal(t, string(other.Bytes()), string(one.Bytes()))
			}
			require.NoError(t, merge.Valid(one.Bytes(), c.format))
		})
	}
}

// What is written again and again does not become ever more pieces.
func TestConsolidatedHasFewPieces(t *testing.T) {
	const members = 600
	d, err := merge.Parse(joined(members, "{\n  ", ",\n  ", "\n}\n", func(i int) string { return fmt.Sprintf("\"k%d\": %q", i, fmt.Sprintf("%300d", i)) }), merge.JSON)
	require.NoError(t, err)
	change := func(i int) {
		require.NoError(t, d.Do(merge.Op{Kind: merge.OpSet, At: fmt.Sprintf("/k%d", i), Value: merge.Raw(fmt.Sprintf("\"%299d\"", i))}))
	}
	for i := range members {
		change(i)
		_ = d.Parts()
	}
	require.Greater(t, len(d.Parts()), members/2, "there is nothing to consolidate")
	d.Consolidate()
	change(17)
	require.Less(t, len(d.Parts()), 10)
}
