package merge

import (
	"bytes"
	"slices"
)

// AppendCanonical appends a text that is the same for values that are equal, and for no others: numbers by value (1.0 is
// 1e0), strings without needless escapes, the members of an object by name, the last one of each. raw must be one valid
// value. The text is for comparing; a number in it is not written as people write it.
func AppendCanonical(dst, raw []byte) []byte {
	dst, _ = appendCanonicalValue(dst, raw, skipSpace(raw, 0))
	return dst
}

// appendCanonicalValue is AppendCanonical for the value at src[i]; it returns the index behind it.
func appendCanonicalValue(dst, src []byte, i int) ([]byte, int) {
	switch k := kindOfText(src[i:]); k {
	case kindObject:
		return appendCanonicalObject(dst, src, i)
	case kindArray:
		dst = append(dst, '[')
		i, in := nextIn(src, i)
		for n := 0; in; n++ {
			if n > 0 {
				dst = append(dst, ',')
			}
			dst, i = appendCanonicalValue(dst, src, i)
			i, in = nextAfter(src, i)
		}
		return append(dst, ']'), i
	default:
		end, _ := scanValue(src, i)
		switch raw := src[i:end]; {
		case k == kindNumber:
			dst = appendCanonical(dst, raw)
		case k == kindString && bytes.IndexByte(raw, '\\') >= 0:
			dst = append(dst, encodeString(decodeString(raw), false)...)
		default:
			dst = append(dst, raw...)
		}
		return dst, end
	}
}

func appendCanonicalObject(dst, src []byte, i int) ([]byte, int) {
	type member struct {
		name string
		at   int
	}
	var members []member
	i, in := nextIn(src, i)
	for in {
		end, value, _ := ScanName(src, i)
		members = append(members, member{decodeString(src[i:end]), value})
		i, _ = scanValue(src, value)
		i, in = nextAfter(src, i)
	}
	slices.SortStableFunc(members, func(a, b member) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	dst = append(dst, '{')
	first := true
	for k, m := range members {
		if k+1 < len(members) && members[k+1].name == m.name {
			continue // the last one counts
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(dst, encodeString(m.name, false)...), ':')
		dst, _ = appendCanonicalValue(dst, src, m.at)
	}
	return append(dst, '}'), i
}
