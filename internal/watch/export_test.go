package watch

import (
	"testing"
	"time"
)

// EmptyFor sets how long an empty file is looked at again before it counts, for the watches of one test.
func EmptyFor(t *testing.T, d time.Duration) {
	before := emptyFor
	emptyFor = d
	t.Cleanup(func() { emptyFor = before })
}
