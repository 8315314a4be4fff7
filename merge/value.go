package merge

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// decodeString returns the value of a valid string text. A lone surrogate, which is no character, becomes its three
// bytes in the scheme of UTF-8 (WTF-8), so that different ones stay different.
func decodeString(raw []byte) string {
	raw = raw[1 : len(raw)-1]
	i := bytes.IndexByte(raw, '\\')
	if i < 0 {
		return string(raw)
	}
	out := append(make([]byte, 0, len(raw)), raw[:i]...)
	for i < len(raw) {
		c := raw[i]
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		if raw[i+1] != 'u' {
			out = append(out, unescape[raw[i+1]])
			i += 2
			continue
		}
		r := hex4(raw[i+2:])
		i += 6
		if utf16.IsSurrogate(r) && i+6 <= len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
			if pair := utf16.DecodeRune(r, hex4(raw[i+2:])); pair != utf8.RuneError {
				out = utf8.AppendRune(out, pair)
				i += 6
				continue
			}
		}
		if utf16.IsSurrogate(r) {
			out = append(out, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

var unescape = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func hex4(b []byte) rune {
	v, _ := strconv.ParseUint(string(b[:4]), 16, 16)
	return rune(v)
}

// encodeString writes a string as Python's json.dumps does: with ascii, everything beyond ASCII as \uXXXX in lower
// case, else as it is. Lone surrogates are escaped either way.
func encodeString(s string, ascii bool) []byte {
	out := append(make([]byte, 0, len(s)+2), '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			out = appendASCII(out, c)
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case size == 1 && i+3 <= len(s) && c == 0xed: // a surrogate from decodeString
			out = fmt.Appendf(out, `\u%04x`, rune(c&0x0f)<<12|rune(s[i+1]&0x3f)<<6|rune(s[i+2]&0x3f))
			size = 3
		case !ascii:
			out = append(out, s[i:i+size]...)
		case r >= 0x10000:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += size
	}
	return append(out, '"')
}

func appendASCII(out []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(out, '\\', c)
	case '\b':
		return append(out, `\b`...)
	case '\f':
		return append(out, `\f`...)
	case '\n':
		return append(out, `\n`...)
	case '\r':
		return append(out, `\r`...)
	case '\t':
		return append(out, `\t`...)
	}
	if c < 0x20 {
		return fmt.Appendf(out, `\u%04x`, c)
	}
	return append(out, c)
}

// equalValues compares two valid texts by value: numbers exactly at any size, strings decoded, objects without order,
// NaN equal to itself. strict tells an integer from a number with a point or exponent.
func equalValues(a, b []byte, strict bool) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	ka, kb := kindOfText(a), kindOfText(b)
	if ka != kb {
		return false
	}
	switch ka {
	case kindString:
		return decodeString(a) == decodeString(b)
	case kindNumber:
		if strict && isInteger(a) != isInteger(b) {
			return false
		}
		return equalNumbers(a, b)
	case kindObject:
		return equalObjects(newNode(a), newNode(b), strict)
	case kindArray:
		return equalLists(newNode(a), newNode(b), strict)
	}
	return false
}

// equalNodes is equalValues for what may be a whole JSON Lines document, whose text is not one value.
func equalNodes(a, b *node, strict bool) bool {
	if a.kind != kindLines && b.kind != kindLines {
		return equalValues(a.text(), b.text(), strict)
	}
	return a.kind == b.kind && equalLists(&node{kind: kindLines, raw: a.text()}, &node{kind: kindLines, raw: b.text()}, strict)
}

func equalObjects(a, b *node, strict bool) bool {
	a.expand()
	b.expand()
	seen := 0
	for i := range a.kids {
		name := a.kids[i].name()
		if a.lookup(name) != i {
			continue
		}
		seen++
		other := b.child(name)
		if other == nil || !equalValues(a.kids[i].value.raw, other.raw, strict) {
			return false
		}
	}
	if len(b.kids) <= seen {
		return len(b.kids) == seen
	}
	distinct := 0
	for i := range b.kids {
		if b.lookup(b.kids[i].name()) == i {
			distinct++
		}
	}
	return distinct == seen
}

func equalLists(a, b *node, strict bool) bool {
	a.expand()
	b.expand()
	if len(a.kids) != len(b.kids) {
		return false
	}
	for i := range a.kids {
		if !equalValues(a.kids[i].value.raw, b.kids[i].value.raw, strict) {
			return false
		}
	}
	return true
}

// fingerprint is the same for equal values. Different values share one with a chance of 2^-64.
func fingerprint(raw []byte) uint64 {
	switch n := newNode(raw); n.kind {
	case kindString:
		return hashBytes(uint64(kindString), decodeString(raw))
	case kindNumber:
		return hashBytes(uint64(kindNumber), canonicalNumber(raw))
	case kindObject:
		n.expand()
		sum := uint64(kindObject)
		for i := range n.kids {
			name := n.kids[i].name()
			if n.lookup(name) == i { // addition, because members have no order
				sum += mix(hashBytes(1, name) ^ mix(fingerprint(n.kids[i].value.raw)))
			}
		}
		return mix(sum)
	case kindArray:
		n.expand()
		sum := uint64(kindArray)
		for i := range n.kids {
			sum = mix(sum ^ fingerprint(n.kids[i].value.raw) + 0x9e3779b97f4a7c15)
		}
		return mix(sum)
	default:
		return hashBytes(uint64(kindOther), string(raw))
	}
}

// hashBytes is FNV-1a, mixed at the end.
func hashBytes(seed uint64, s string) uint64 {
	h := seed ^ 0xcbf29ce484222325
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return mix(h)
}

// mix is the finalizer of MurmurHash3: every bit of the input moves half of the output.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
