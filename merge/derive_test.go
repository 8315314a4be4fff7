package merge_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// A writer that wrote a record without its derived value did nothing to it: it does not bring a deleted one back.
func TestAChangeOfDerivedValuesOnlyIsNone(t *testing.T) {
	pol := &merge.Policy{Derived: []merge.Derivation{{At: "/m/*/twice", Compute: func(context.Context, []byte) ([]byte, error) { return []byte("2"), nil }}}}
	for _, c := range []struct {
		ours, want string
		conflicts  int
	}{
		{`{"m":{"x":{"n":1}},"o":1}`, `{"m":{},"o":1}`, 0},
		{`{"m":{"x":{"n":1,"twice":9}},"o":1}`, `{"m":{},"o":1}`, 0},
		{`{"m":{"x":{"n":3}},"o":1}`, `{"m":{"x":{"n":3,"twice":2}},"o":1}`, 1},
	} {
		got, outcome, err := merge.Merge([]byte(`{"m":{"x":{"n":1,"twice":2}},"o":0}`), []byte(c.ours), []byte(`{"m":{},"o":0}`), merge.JSON, pol)
		require.NoError(t, err)
		require.Equal(t, c.want, string(got))
		require.Equal(t, c.conflicts, len(outcome.Conflicts), "%v", outcome.Conflicts)
	}
}
