package merge

import (
	"bytes"
	"cmp"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// decimal is a number as JSON has them: digits × 10^exp, exact and of any size.
type decimal struct {
	negative bool
	digits   string // without leading or trailing zeros; "" is zero
	exp      *big.Int
	special  string // NaN, Infinity, -Infinity
}

// parseDecimal reads a valid number text. An exponent is kept as a number, never written out: 1e999999999 is short.
func parseDecimal(raw []byte) decimal {
	s := string(raw)
	if strings.HasSuffix(s, "N") || strings.HasSuffix(s, "y") {
		return decimal{special: s, exp: new(big.Int)}
	}
	var d decimal
	s, d.negative = strings.CutPrefix(s, "-")
	d.exp = new(big.Int)
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		d.exp.SetString(strings.TrimPrefix(s[i+1:], "+"), 10)
		s = s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	d.exp.Sub(d.exp, big.NewInt(int64(len(fraction))))
	digits := strings.TrimLeft(whole+fraction, "0")
	d.digits = strings.TrimRight(digits, "0")
	d.exp.Add(d.exp, big.NewInt(int64(len(digits)-len(d.digits))))
	if d.digits == "" {
		return decimal{exp: new(big.Int)} // -0 is 0
	}
	return d
}

// canonicalNumber is the same text for equal numbers.
func canonicalNumber(raw []byte) string { return string(appendCanonical(nil, raw)) }

// appendCanonical appends the digits without zeros around, e, and the exponent.
func appendCanonical(dst, raw []byte) []byte {
	mantissa, exponent := raw, int64(0)
	if last := raw[len(raw)-1]; last == 'N' || last == 'y' {
		return append(dst, raw...)
	}
	if i := bytes.IndexAny(raw, "eE"); i >= 0 {
		var err error
		if mantissa = raw[:i]; len(raw)-i < 18 {
			exponent, err = strconv.ParseInt(string(raw[i+1:]), 10, 64)
		}
		if err != nil || len(raw)-i >= 18 { // of any size
			d := parseDecimal(raw)
			if d.negative {
				dst = append(dst, '-')
			}
			return append(append(append(dst, d.digits...), 'e'), d.exp.String()...)
		}
	}
	start := len(dst)
	if mantissa[0] == '-' {
		dst, mantissa = append(dst, '-'), mantissa[1:]
	}
	digits := len(dst)
	for i, c := range mantissa {
		switch {
		case c == '.':
			exponent -= int64(len(mantissa) - i - 1)
		case c != '0' || len(dst) > digits:
			dst = append(dst, c)
		}
	}
	if len(dst) == digits {
		return append(dst[:start], "e0"...) // -0 is 0
	}
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
		exponent++
	}
	return strconv.AppendInt(append(dst, 'e'), exponent, 10)
}

func equalNumbers(a, b []byte) bool {
	var x, y [64]byte
	return bytes.Equal(appendCanonical(x[:0], a), appendCanonical(y[:0], b))
}

// isInteger: a literal without point and exponent.
func isInteger(raw []byte) bool { return !bytes.ContainsAny(raw, ".eENIn") }

// maxExponent bounds what arithmetic writes out.
const maxExponent = 100_000

// scaled returns the number as an integer times 10^-scale.
func (d decimal) scaled(scale int64) *big.Int {
	v := new(big.Int)
	if d.digits == "" {
		return v
	}
	v.SetString(d.digits, 10)
	v.Mul(v, new(big.Int).Exp(big.NewInt(10), big.NewInt(d.exp.Int64()+scale), nil))
	if d.negative {
		v.Neg(v)
	}
	return v
}

// scale is how many digits behind the point it takes.
func (d decimal) scale() int64 { return max(0, -d.exp.Int64()) }

func arithmetic(a, b []byte) (x, y decimal, scale int64, err error) {
	x, y = parseDecimal(a), parseDecimal(b)
	for _, d := range []decimal{x, y} {
		if d.special != "" {
			return x, y, 0, fmt.Errorf("%w: %s is no number to calculate with", ErrType, d.special)
		}
		if d.exp.CmpAbs(big.NewInt(maxExponent)) > 0 {
			return x, y, 0, fmt.Errorf("%w: an exponent beyond ±%d is not calculated with", ErrType, maxExponent)
		}
	}
	return x, y, max(x.scale(), y.scale()), nil
}

// addNumbers adds exactly. Two integers give an integer; else the sum has as many digits behind the point as the longer
// of the two: 1.10 + 0.1 is 1.20.
func addNumbers(a, b []byte) ([]byte, error) {
	x, y, scale, err := arithmetic(a, b)
	if err != nil {
		return nil, err
	}
	sum := new(big.Int).Add(x.scaled(scale), y.scaled(scale))
	return writeDecimal(sum, scale, max(fractionDigits(a), fractionDigits(b))), nil
}

func subNumbers(a, b []byte) ([]byte, error) {
	return addNumbers(a, negated(b))
}

func negated(raw []byte) []byte {
	if text, ok := bytes.CutPrefix(raw, []byte("-")); ok {
		return text
	}
	return append([]byte("-"), raw...)
}

// compareNumbers is -1, 0 or 1; NaN is less than everything.
func compareNumbers(a, b []byte) int {
	x, y := parseDecimal(a), parseDecimal(b)
	if x.special != "" || y.special != "" {
		return cmp.Compare(rank(x), rank(y))
	}
	if x.sign() != y.sign() || x.sign() == 0 {
		return cmp.Compare(x.sign(), y.sign())
	}
	// The place of the first digit decides before any digit does.
	xTop := new(big.Int).Add(x.exp, big.NewInt(int64(len(x.digits))))
	yTop := new(big.Int).Add(y.exp, big.NewInt(int64(len(y.digits))))
	if c := xTop.Cmp(yTop); c != 0 {
		return c * x.sign()
	}
	return strings.Compare(x.digits, y.digits) * x.sign()
}

func (d decimal) sign() int {
	switch {
	case d.digits == "":
		return 0
	case d.negative:
		return -1
	}
	return 1
}

func rank(d decimal) int {
	return map[string]int{"NaN": -2, "-Infinity": -1, "": 0, "Infinity": 1}[d.special]
}

func fractionDigits(raw []byte) int {
	s := string(raw)
	exp := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		exp, _ = strconv.Atoi(strings.TrimPrefix(s[i+1:], "+"))
		s = s[:i]
	}
	_, fraction, _ := strings.Cut(s, ".")
	return max(0, len(fraction)-exp)
}

// writeDecimal writes v × 10^-scale with at least that many digits behind the point.
func writeDecimal(v *big.Int, scale int64, fraction int) []byte {
	text := new(big.Int).Abs(v).String()
	if len(text) <= int(scale) {
		text = strings.Repeat("0", int(scale)-len(text)+1) + text
	}
	whole, behind := text[:len(text)-int(scale)], text[len(text)-int(scale):]
	if len(behind) > fraction {
		behind = behind[:fraction] + strings.TrimRight(behind[fraction:], "0")
	}
	behind += strings.Repeat("0", max(0, fraction-len(behind)))
	if behind != "" {
		whole += "." + behind
	}
	if v.Sign() < 0 {
		whole = "-" + whole
	}
	return []byte(whole)
}
