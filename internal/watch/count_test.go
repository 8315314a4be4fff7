package watch

import (
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// A line that is being appended is no problem, and does not count.
func TestLinesThatAreBeingWritten(t *testing.T) {
	counts, _, err := measure([]byte("1\n2\n{\"a\": "), merge.Lines, []Pattern{{Pattern: merge.Pattern{"*"}}})
	require.NoError(t, err)
	require.Equal(t, int64(2), counts[0].N)
}
