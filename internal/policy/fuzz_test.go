package policy

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

// FuzzParse: whatever a policy file holds, it is taken or refused with a place in it. What is taken the schema takes, too,
// and a merge by it makes a document.
func FuzzParse(f *testing.F) {
	for _, text := range valid {
		f.Add([]byte(text))
	}
	for _, cases := range [][]struct{ policy, where, text, hint string }{invalid, onlyParse} {
		for _, c := range cases {
			f.Add([]byte(c.policy))
		}
	}
	schema, err := newValidator()
	require.NoError(f, err)
	base := []byte(`{"a": {"n": 1, "l": [{"id": 1}, 2]}, "b": [1, 2], "c": "x"}`)
	ours := []byte(`{"a": {"n": 3, "l": [{"id": 1, "y": 2}, 2, 3]}, "b": [1, 2, 4], "d": 1}`)
	theirs := []byte(`{"a": {"n": 2, "m": 2, "l": [0, {"id": 1, "z": 3}]}, "b": [2], "c": "y"}`)
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := Parse("jsonguard.json", src)
		if err != nil {
			var place *Error
			require.True(t, errors.As(err, &place), "%v", err)
			require.Positive(t, place.Line, "%v", err)
			require.ErrorIs(t, err, ErrInvalid)
			return
		}
		var x any
		require.NoError(t, json.Unmarshal(src, &x))
		ok, err := schema.valid(schema.root, x)
		require.NoError(t, err)
		require.True(t, ok, "the schema refuses %s", src)
		if len(p.Merge.Derived) > 0 {
			return // a jq program may take its time
		}
		out, _, err := merge.Merge(base, ours, theirs, merge.JSON, p.Merge)
		if err != nil {
			require.ErrorIs(t, err, merge.ErrRefused, "%s", src)
			return
		}
		require.NoError(t, merge.Valid(out, merge.JSON), "%s", src)
	})
}
