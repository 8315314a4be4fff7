package sidecar

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// What many dead processes left is read by several goroutines, and folded in the order in which it was written.
func TestWhatManyLeftIsFoldedInItsOrder(t *testing.T) {
	m := newMachine(t, `{"n":0}`)
	const processes, rounds = 3 * atOnce, 4
	var all []*Guard
	for range processes {
		all = append(all, m.process(Options{}))
	}
	n := 0
	for round := range rounds {
		for i := range all {
			g := all[(i*7+round)%processes]
			n++
			require.NoError(t, g.Journal(t.Context(), merge.Op{Kind: merge.OpAppend, At: "/all", Value: fmt.Append(nil, n)}))
		}
	}
	m.mem = m.mem.Clone() // all are killed
	want := ""
	for i := range n {
		want += fmt.Sprintf("%d,", i+1)
	}
	m.recovered()
	m.recovered()
	require.Equal(t, fmt.Sprintf(`{"n":0,"all":[%s]}`, want[:len(want)-1]), string(merge.Compact(nil, []byte(m.content()))))
}
