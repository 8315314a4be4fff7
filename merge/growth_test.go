package merge_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// What grows is taken, and what is left of a change then is the rest of it: nothing is counted twice.
func TestGrowthOnly(t *testing.T) {
	policy := &merge.Policy{Rules: []merge.Rule{{At: "/n", Merge: merge.Sum}, {At: "/by/*/n", Merge: merge.Sum}, {At: "/s", Merge: merge.Sum}}}
	const (
		base   = `{"n":1,"m":1,"s":"one","by":{"a":{"n":1,"x":1}},"l":[1],"gone":1}`
		ours   = `{"n":3,"m":2,"s":"two","by":{"a":{"n":2,"x":2},"b":{"n":1}},"l":[1,2]}`
		theirs = `{"n":10,"m":1,"s":"one","by":{"a":{"n":5,"x":1},"b":{"n":1}},"l":[1,3],"gone":1}`
		grown  = `{"n":12,"m":1,"s":"one","by":{"a":{"n":6,"x":1},"b":{"n":2}},"l":[1,3,2],"gone":1}`
		all    = `{"n":12,"m":2,"s":"two","by":{"a":{"n":6,"x":2},"b":{"n":2}},"l":[1,3,2]}`
	)
	grow := func(to string, c *merge.Change) string {
		d, err := merge.Parse([]byte(to), merge.JSON)
		require.NoError(t, err)
		_, err = d.Merge(c, policy)
		require.NoError(t, err)
		return string(d.Bytes())
	}
	change, err := merge.Diff([]byte(base), []byte(ours), merge.JSON, policy)
	require.NoError(t, err)
	got := grow(theirs, change.GrowthOnly())
	require.JSONEq(t, grown, got)
	rest, err := merge.Diff([]byte(grow(base, change.GrowthOnly())), []byte(ours), merge.JSON, policy)
	require.NoError(t, err)
	require.JSONEq(t, all, grow(got, rest))
}
