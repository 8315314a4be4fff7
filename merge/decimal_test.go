package merge

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCanonicalNumbers(t *testing.T) {
	for _, equal := range [][]string{
		{"0", "-0", "0.0", "-0.00", "0e5", "0E-400"},
		{"1", "1.0", "10e-1", "0.1e1", "1e0", "1E+0", "1.000"},
		{"100000", "1e5", "100000.0", "1E+05", "0.1e6"},
		{"1.1", "1.10", "11e-1", "0.11e1"},
		{"-2.5", "-25e-1", "-2.50"},
		{"1e400", "10e399", "0.1e401"},
		{"1e99999999999999999999", "10e99999999999999999998", "0.1e100000000000000000000"},
		{"1e-99999999999999999999", "10e-100000000000000000000"},
		{"9007199254740993", "9007199254740993.0", "9.007199254740993e15"},
		{strings.Repeat("7", 5000), strings.Repeat("7", 5000) + ".0"},
		{"NaN"}, {"Infinity"}, {"-Infinity"}, {"9007199254740992"}, {"1e401"}, {"-1"}, {"1e999999999999999999"}, {"1e1000000000000000000"},
	} {
		want := canonicalNumber([]byte(equal[0]))
		for _, s := range equal {
			require.Equal(t, want, canonicalNumber([]byte(s)), s)
		}
	}
}

// Two literals have one canonical text if and only if they are one number, and it is the same on both ways to it.
func TestCanonicalNumbersProperty(t *testing.T) {
	literal := rapid.StringMatching(`-?(0|[1-9][0-9]{0,4})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := literal.Draw(t, "a"), literal.Draw(t, "b")
		if rapid.Bool().Draw(t, "near") {
			b = a + "e0"
			if strings.ContainsAny(a, "eE") {
				b = strings.Replace(a, "e", "E", 1)
			}
		}
		require.Equal(t, rat(a).Cmp(rat(b)) == 0, equalNumbers([]byte(a), []byte(b)), "%s %s", a, b)
		d := parseDecimal([]byte(a))
		sign := ""
		if d.negative {
			sign = "-"
		}
		require.Equal(t, sign+d.digits+"e"+d.exp.String(), canonicalNumber([]byte(a)))
		require.Equal(t, rat(a).Cmp(rat(b)), compareNumbers([]byte(a), []byte(b)))
		sum, err := addNumbers([]byte(a), []byte(b))
		require.NoError(t, err)
		require.NoError(t, Valid(sum, JSON))
		require.Zero(t, rat(string(sum)).Cmp(rat(a).Add(rat(a), rat(b))), "%s + %s = %s", a, b, sum)
		require.NotContains(t, string(sum), "e")
	})
}
