package table

import (
	"unicode/utf16"
	"unicode/utf8"
)

// unquoted is the value of a JSON string. A lone surrogate becomes what no text can hold: its three bytes in the scheme of
// UTF-8.
func unquoted(raw []byte, escaped bool) string {
	if !escaped {
		return string(raw[1 : len(raw)-1])
	}
	return string(AppendUnquoted(nil, raw))
}

// AppendUnquoted appends the value of a JSON string to dst.
func AppendUnquoted(dst, raw []byte) []byte {
	eachRune(raw, func(plain []byte, r rune) bool {
		switch {
		case plain != nil:
			dst = append(dst, plain...)
		case utf16.IsSurrogate(r):
			dst = append(dst, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
		default:
			dst = utf8.AppendRune(dst, r)
		}
		return true
	})
	return dst
}

// loneSurrogate says whether half of a surrogate pair is escaped in the JSON string.
func loneSurrogate(raw []byte) bool {
	lone := false
	eachRune(raw, func(plain []byte, r rune) bool {
		lone = plain == nil && utf16.IsSurrogate(r)
		return !lone
	})
	return lone
}

// eachRune calls f with the parts of a JSON string: bytes that stand for themselves, or what an escape stands for.
func eachRune(raw []byte, f func(plain []byte, r rune) bool) {
	raw = raw[1 : len(raw)-1]
	for i := 0; i < len(raw); {
		start := i
		for i < len(raw) && raw[i] != '\\' {
			i++
		}
		if i > start && !f(raw[start:i], 0) {
			return
		}
		if i+1 >= len(raw) {
			return
		}
		r, size := rune(unescape[raw[i+1]]), 2
		if raw[i+1] == 'u' {
			r, size = hex4(raw[i+2:]), 6
			if utf16.IsSurrogate(r) && i+12 <= len(raw) && raw[i+6] == '\\' && raw[i+7] == 'u' {
				if pair := utf16.DecodeRune(r, hex4(raw[i+8:])); pair != utf8.RuneError {
					r, size = pair, 12
				}
			}
		}
		if !f(nil, r) {
			return
		}
		i += size
	}
}

var unescape = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:min(4, len(b))] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= rune(c - '0')
		case c >= 'a' && c <= 'f':
			r |= rune(c-'a') + 10
		case c >= 'A' && c <= 'F':
			r |= rune(c-'A') + 10
		}
	}
	return r
}

const hexDigits = "0123456789abcdef"

// AppendQuoted appends text as a JSON string.
func AppendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	start := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, text[start:]...), '"')
}
