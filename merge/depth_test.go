package merge

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A document that was written can be read: what is not too deep by itself may be where it is put.
func TestNothingIsPutTooDeep(t *testing.T) {
	const half = maxDepth / 2
	nested := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	in := strings.Repeat("/0", half-1)
	for _, c := range []struct {
		name string
		op   Op
		fits bool
	}{
		{"set", Op{Kind: OpSet, At: "/d" + in + "/-", Value: Raw(nested(half - 1))}, true},
		{"set, too deep", Op{Kind: OpSet, At: "/d" + in + "/-", Value: Raw(nested(half))}, false},
		{"brackets in strings", Op{Kind: OpSet, At: "/d" + in + "/-", Value: Raw(`"` + strings.Repeat(`[\"`, half) + `"`)}, true},
		{"append", Op{Kind: OpAppend, At: "/d" + in, Value: Raw(nested(half - 1))}, true},
		{"append, too deep", Op{Kind: OpAppend, At: "/d" + in, Value: Raw(nested(half))}, false},
		{"insert", Op{Kind: OpInsert, At: "/d" + in + "/0", Value: Raw(nested(half + 1))}, false},
		{"copy", Op{Kind: OpCopy, At: "/d" + in + "/-", From: "/e"}, false},
		{"move", Op{Kind: OpMove, At: "/d" + in + "/-", From: "/e"}, false},
		{"patch", Op{Kind: OpPatch, At: strings.Repeat("/x", half+2), Value: Raw(strings.Repeat(`{"y":`, half) + "1" + strings.Repeat("}", half))}, false},
		{"incr", Op{Kind: OpIncr, At: strings.Repeat("/x", maxDepth+1), Value: Raw("1")}, false},
	} {
		d, err := Parse([]byte(`{"d": `+nested(half)+`, "e": `+nested(half+2)+`}`), JSON)
		require.NoError(t, err)
		err = d.Do(c.op)
		require.NoError(t, Valid(d.Bytes(), JSON), c.name)
		if c.fits {
			require.NoError(t, err, c.name)
		} else {
			require.ErrorIs(t, err, ErrType, c.name)
		}
	}
}
