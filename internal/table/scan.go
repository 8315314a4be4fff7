package table

import "bytes"

// The texts that this package reads were validated by whoever found the records in their document. It only looks where
// values begin and end.

func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' {
		i++
	}
	return i
}

// StringEnd returns the index behind the string at b[i], and whether there are escapes in it.
func StringEnd(b []byte, i int) (end int, escaped bool) {
	for j := i + 1; ; {
		k := bytes.IndexByte(b[j:], '"')
		if k < 0 {
			return len(b), escaped
		}
		slash := bytes.IndexByte(b[j:j+k], '\\')
		if slash < 0 {
			return j + k + 1, escaped
		}
		escaped = true
		j += slash + 2
	}
}

// wordEnd returns the index behind the number or literal at b[i].
func wordEnd(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ',', ']', '}', ' ', '\n', '\r', '\t':
			return i
		}
		i++
	}
	return i
}

// ValueEnd returns the index behind the value at b[i].
func ValueEnd(b []byte, i int) int {
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			i, _ = StringEnd(b, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\n', '\r', '\t':
			i++
			continue
		default:
			i = wordEnd(b, i)
			if i < len(b) && b[i] == ':' { // not valid, but no reason to stand still
				i++
			}
		}
		if depth <= 0 {
			return i
		}
	}
	return i
}

// Members calls f with the name, which is a JSON string, and the place of the value for each member of the object at
// b[i]. f returns the index behind the value. Members returns the index behind the object.
func Members(b []byte, i int, f func(name []byte, escaped bool, value int) (end int)) int {
	for i = skipSpace(b, i+1); i < len(b) && b[i] == '"'; {
		end, escaped := StringEnd(b, i)
		name := b[i:end]
		i = skipSpace(b, end)
		i = skipSpace(b, i+1) // the colon
		i = skipSpace(b, f(name, escaped, i))
		if i >= len(b) || b[i] != ',' {
			break
		}
		i = skipSpace(b, i+1)
	}
	return min(i+1, len(b))
}

// Elements does the same for the array at b[i].
func Elements(b []byte, i int, f func(i int) (end int)) int {
	for i = skipSpace(b, i+1); i < len(b) && b[i] != ']'; {
		i = skipSpace(b, f(i))
		if i >= len(b) || b[i] != ',' {
			break
		}
		i = skipSpace(b, i+1)
	}
	return min(i+1, len(b))
}
