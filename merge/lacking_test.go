package merge

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLacking(t *testing.T) {
	for name, c := range map[string]struct{ there, lines, want string }{
		"nothing there":        {"", "1\n2", "1\n2\n"},
		"all there":            {"1\n2\n3\n", "3\n1\n", ""},
		"by count":             {"1\n2\n", "1\n1\n1\n", "1\n1\n"},
		"in their order":       {"3\n1\n", "1\n2\n3\n4\n", "2\n4\n"},
		"by value, as written": {`{"a":1,"b":2}` + "\n", `{"b":2.0, "a":1}` + "\n" + `{"b":3, "a":1}`, `{"b":3, "a":1}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Parse([]byte(c.there), Lines)
			require.NoError(t, err)
			got, err := d.Lacking([]byte(c.lines), nil)
			require.NoError(t, err)
			require.Equal(t, c.want, string(got))
		})
	}
	d, err := Parse([]byte("1\n"), Lines)
	require.NoError(t, err)
	got, err := d.Lacking([]byte("1.0\n"), &Policy{Strict: true})
	require.NoError(t, err)
	require.Equal(t, "1.0\n", string(got), "strict")
	_, err = d.Lacking([]byte("{"), nil)
	require.Error(t, err)
}
