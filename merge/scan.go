package merge

// The functions of this file are for a reader that goes over a text once, by itself, and makes no Document of it.

// SkipSpace returns the index of the first byte at or behind i that is no white space, len(src) if there is none.
func SkipSpace(src []byte, i int) int { return skipSpace(src, i) }

// ScanValue validates the value that starts at src[i] and returns the index behind it. The error is a *SyntaxError
// without line and column: Valid has them for the whole text.
func ScanValue(src []byte, i int) (int, error) { return scan(src, i, nil) }

// ScanName reads the name of a member that starts at src[i], its colon and the white space around that. end is the
// index behind the name, value the index where its value starts. The error is as ScanValue's.
func ScanName(src []byte, i int) (end, value int, err error) {
	if i >= len(src) || src[i] != '"' {
		return i, i, syntax(i, "unexpected %s, want a name in double quotes", show(src, i))
	}
	if end, err = scanString(src, i); err != nil {
		return end, end, err
	}
	value = skipSpace(src, end)
	if value >= len(src) || src[value] != ':' {
		return end, value, syntax(value, "unexpected %s, want ':'", show(src, value))
	}
	return end, skipSpace(src, value+1), nil
}

// Unquote returns what a valid string text, with its quotes, stands for. A lone surrogate, which is no character,
// becomes its three bytes in the scheme of UTF-8, so that different ones stay different.
func Unquote(raw []byte) string { return decodeString(raw) }

// Quote returns s, as Unquote gives it, as a string text.
func Quote(s string) []byte { return encodeString(s, false) }

// ArrayIndex reads a step of a pointer as the index of an element: digits without a leading zero.
func ArrayIndex(step string) (int, bool) { return arrayIndex(step) }

// CompareNumbers compares two number texts by value, exactly at any size: -1, 0 or 1. NaN is less than everything.
func CompareNumbers(a, b []byte) int { return compareNumbers(a, b) }
