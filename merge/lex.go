package merge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// maxDepth is how deep containers may nest; encoding/json has the same limit.
const maxDepth = 10_000

// SyntaxError is a place in a text that is not JSON.
type SyntaxError struct {
	Offset       int64 // bytes from the start of the text
	Line, Column int   // from 1; a column is a character
	Msg          string
	Behind       bool // a complete document stands before it: perhaps it is JSON Lines
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Msg)
}

// locate fills line and column in.
func (e *SyntaxError) locate(src []byte) *SyntaxError {
	before := src[:min(int(e.Offset), len(src))]
	e.Line = bytes.Count(before, []byte("\n")) + 1
	e.Column = utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return e
}

func syntax(i int, format string, args ...any) *SyntaxError {
	return &SyntaxError{Offset: int64(i), Msg: fmt.Sprintf(format, args...)}
}

// behindEnd is about what stands in src at i, behind a complete document.
func behindEnd(src []byte, i int) *SyntaxError {
	e := syntax(i, "unexpected %s behind the end of the document", show(src, i))
	e.Behind = true
	return e
}

// Valid says whether src is a document of format f: nil or a *SyntaxError. Beside RFC 8259 it accepts what Python
// writes and reads: NaN, Infinity, -Infinity, lone surrogate escapes, names that come twice; and a byte order mark.
func Valid(src []byte, f Format) error { return validate(src, f, nil) }

func validate(src []byte, f Format, ext *extents) error {
	i := 0
	if bytes.HasPrefix(src, utf8BOM) {
		i = len(utf8BOM)
	}
	return validateFrom(src, i, f, ext)
}

// validateFrom goes on at src[i], where a document or, in JSON Lines, a line begins.
func validateFrom(src []byte, i int, f Format, ext *extents) error {
	for {
		i = skipSpace(src, i)
		if i == len(src) {
			return nil
		}
		end, err := scan(src, i, ext)
		if err != nil {
			return explain(err, src)
		}
		if f == Lines && bytes.IndexByte(src[i:end], '\n') >= 0 {
			at := i + bytes.IndexByte(src[i:end], '\n')
			return syntax(at, "a value of JSON Lines ends on its line").locate(src)
		}
		i = end
		if f == Lines {
			for i < len(src) && (src[i] == ' ' || src[i] == '\t' || src[i] == '\r') {
				i++
			}
			if i < len(src) && src[i] != '\n' {
				return syntax(i, "unexpected %s behind the value of this line", show(src, i)).locate(src)
			}
			continue
		}
		if i = skipSpace(src, i); i < len(src) {
			return explain(behindEnd(src, i), src)
		}
	}
}

// explain locates err; a text in another encoding is named instead of its first odd byte.
func explain(err error, src []byte) error {
	e := err.(*SyntaxError)
	if bytes.HasPrefix(src, []byte("\xff\xfe")) || bytes.HasPrefix(src, []byte("\xfe\xff")) ||
		len(src) >= 4 && (src[0] == 0) != (src[1] == 0) && (src[0] == 0) == (src[2] == 0) && (src[1] == 0) == (src[3] == 0) {
		e.Msg, e.Behind = "this is UTF-16, not UTF-8", false
	}
	return e.locate(src)
}

func show(src []byte, i int) string {
	if i >= len(src) {
		return "end of text"
	}
	r, size := utf8.DecodeRune(src[i:])
	if r == utf8.RuneError && size <= 1 {
		return fmt.Sprintf("byte 0x%02x", src[i])
	}
	return fmt.Sprintf("%q", r)
}

func skipSpace(src []byte, i int) int {
	for i < len(src) && src[i] <= ' ' && (src[i] == ' ' || src[i] == '\n' || src[i] == '\r' || src[i] == '\t') {
		i++
	}
	return i
}

// scanValue validates one value that starts at src[i] and returns the index behind it.
func scanValue(src []byte, i int) (int, error) { return scan(src, i, nil) }

// scan validates one value and notes large containers in ext.
func scan(src []byte, i int, ext *extents) (int, error) {
	var small [64]byte
	end, _, err := scanOn(src, i, small[:0], false, nil, ext)
	return end, err
}

// meeting is a place in a text of which the rest is known: whoever comes to the end of a value there, with the same
// containers open, needs to read no further.
type meeting struct {
	at       int
	open     []byte // '{' or '[' of each open container
	anywhere bool   // whatever is open
	orBehind bool   // at the first such place from at on: open is what is open there; the end of the text is none
}

// here says whether a value that ends at src[i] ends at m.
func (m *meeting) here(src []byte, i int, stack []byte) bool {
	if !m.orBehind {
		return i == m.at && (m.anywhere || bytes.Equal(stack, m.open))
	}
	if i < m.at || i == len(src) { // the text may go on with another digit
		return false
	}
	m.open = append(m.open[:0], stack...)
	return true
}

// scanOn goes on at src[i], where a value starts or, with ended, where one ended in the containers that are open. It keeps
// its own stack of them, so that depth costs no goroutine stack. met says whether it ended at m; m may be nil.
func scanOn(src []byte, i int, stack []byte, ended bool, m *meeting, ext *extents) (end int, met bool, err error) {
	for ; ; ended = false {
		if !ended {
			if i >= len(src) {
				return i, false, syntax(i, "unexpected end of text, a value is missing")
			}
			switch c := src[i]; {
			case c == '"':
				i, err = scanString(src, i)
			case c == '{':
				if len(stack) == maxDepth {
					return i, false, syntax(i, "nested deeper than %d", maxDepth)
				}
				opened := i
				i = skipSpace(src, i+1)
				if i < len(src) && src[i] == '}' {
					i++
					break
				}
				stack = append(stack, '{')
				if ext != nil {
					ext.open(opened)
				}
				if i, err = scanKey(src, i); err != nil {
					return i, false, err
				}
				continue
			case c == '[':
				if len(stack) == maxDepth {
					return i, false, syntax(i, "nested deeper than %d", maxDepth)
				}
				opened := i
				i = skipSpace(src, i+1)
				if i < len(src) && src[i] == ']' {
					i++
					break
				}
				stack = append(stack, '[')
				if ext != nil {
					ext.open(opened)
				}
				continue
			case c == '-' || c >= '0' && c <= '9':
				i, err = scanNumber(src, i)
			default:
				i, err = scanLiteral(src, i)
			}
			if err != nil {
				return i, false, err
			}
		}
		// A value ended here: close containers, or go on behind a comma.
		for {
			if len(stack) == 0 {
				return i, false, nil
			}
			if ext != nil && !ended {
				ext.child(i)
			}
			if m != nil && m.here(src, i, stack) {
				return i, true, nil
			}
			ended = false
			if i < len(src) && src[i] <= ' ' {
				i = skipSpace(src, i)
			}
			if i >= len(src) {
				return i, false, syntax(i, "unexpected end of text, %q is not closed", stack[len(stack)-1])
			}
			top := stack[len(stack)-1]
			if src[i] == ',' {
				i = skipSpace(src, i+1)
				if i < len(src) && src[i] == closing(top) {
					return i, false, syntax(i, "unexpected %q after a comma", closing(top))
				}
				if top == '{' {
					if i, err = scanKey(src, i); err != nil {
						return i, false, err
					}
				}
				break
			}
			if src[i] != closing(top) {
				return i, false, syntax(i, "unexpected %s, want ',' or %q", show(src, i), closing(top))
			}
			i++
			stack = stack[:len(stack)-1]
			if ext != nil {
				ext.close(i)
			}
		}
	}
}

// scanKey reads a name, its colon and the space around it.
func scanKey(src []byte, i int) (int, error) {
	_, value, err := ScanName(src, i)
	return value, err
}

var literals = []string{"true", "false", "null", "NaN", "Infinity"}

func scanLiteral(src []byte, i int) (int, error) {
	for _, word := range literals {
		if len(src)-i >= len(word) && string(src[i:i+len(word)]) == word {
			return i + len(word), nil
		}
	}
	switch c := src[i]; {
	case c == '/':
		return i, syntax(i, "unexpected '/': JSON has no comments")
	case c == '\'':
		return i, syntax(i, "unexpected \"'\": JSON has double quotes only")
	}
	return i, syntax(i, "unexpected %s, want a value", show(src, i))
}

func scanNumber(src []byte, i int) (int, error) {
	if src[i] == '-' {
		i++
		if i < len(src) && src[i] == 'I' {
			return scanLiteral(src, i)
		}
	}
	digits := func() bool {
		start := i
		for i < len(src) && src[i] >= '0' && src[i] <= '9' {
			i++
		}
		return i > start
	}
	start := i
	if !digits() {
		return i, syntax(i, "unexpected %s, want a digit", show(src, i))
	}
	if src[start] == '0' && i > start+1 {
		return start, syntax(start, "a number has no leading zero")
	}
	if i < len(src) && src[i] == '.' {
		i++
		if !digits() {
			return i, syntax(i, "unexpected %s, want a digit behind the point", show(src, i))
		}
	}
	if i < len(src) && (src[i] == 'e' || src[i] == 'E') {
		i++
		if i < len(src) && (src[i] == '+' || src[i] == '-') {
			i++
		}
		if !digits() {
			return i, syntax(i, "unexpected %s, want a digit of the exponent", show(src, i))
		}
	}
	return i, nil
}

// scanString validates a string that starts at src[i]. Eight bytes are looked at in one go: the sum below has the top
// bit of a byte set for a quote, a backslash, a control character or a byte beyond ASCII ("Bit Twiddling Hacks",
// determine if a word has a byte less than n).
func scanString(src []byte, i int) (int, error) {
	start := i
	i++
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for {
		for i+8 <= len(src) {
			w := binary.LittleEndian.Uint64(src[i:])
			quote := w ^ ones*'"'
			slash := w ^ ones*'\\'
			special := ((quote - ones) | (slash - ones) | (w - ones*0x20) | w) & tops
			if special != 0 {
				i += bits.TrailingZeros64(special) / 8
				break
			}
			i += 8
		}
		if i >= len(src) {
			return i, syntax(start, "the string that starts here is not closed")
		}
		switch c := src[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\':
			end, err := scanEscape(src, i)
			if err != nil {
				return i, err
			}
			i = end
		case c < 0x20:
			if c == '\n' || c == '\r' {
				return i, syntax(start, "the string that starts here is not closed on its line")
			}
			return i, syntax(i, "control character 0x%02x in a string must be escaped", c)
		case c < 0x80:
			i++
		default:
			_, size := utf8.DecodeRune(src[i:])
			if size == 1 {
				return i, syntax(i, "invalid UTF-8: byte 0x%02x", c)
			}
			i += size
		}
	}
}

func scanEscape(src []byte, i int) (int, error) {
	if i+1 >= len(src) {
		return i, syntax(i, "unexpected end of text in an escape")
	}
	switch src[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, nil
	case 'u':
		for j := i + 2; j < i+6; j++ {
			if j >= len(src) || !isHex(src[j]) {
				return i, syntax(i, `\u needs four hexadecimal digits`)
			}
		}
		return i + 6, nil
	}
	return i, syntax(i, `unknown escape \%s`, string(rune(src[i+1])))
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// Compact appends src, which must be valid, to dst without the white space between its tokens.
func Compact(dst, src []byte) []byte {
	for i := 0; i < len(src); {
		switch c := src[i]; c {
		case ' ', '\t', '\r', '\n':
			i++
		case '"':
			end, err := scanString(src, i)
			if err != nil {
				return append(dst, src[i:]...)
			}
			dst = append(dst, src[i:end]...)
			i = end
		default:
			dst = append(dst, c)
			i++
		}
	}
	return dst
}
