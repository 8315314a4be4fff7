package merge

import (
	"bytes"
	"fmt"
)

// Salvage returns the longest document made of the complete leading records of src, which is the beginning of a longer
// text: a member or element that was cut is dropped, and what was open is closed. cut is the number of bytes that were
// not used. A complete document is returned as it is. The error says that there is nothing to keep.
func Salvage(src []byte, f Format) (complete []byte, cut int64, err error) {
	if Valid(src, f) == nil {
		return src, 0, nil
	}
	if f == Lines {
		return salvageLines(src)
	}
	i := 0
	if bytes.HasPrefix(src, utf8BOM) {
		i = len(utf8BOM)
	}
	end, open := lastComplete(src, skipSpace(src, i))
	if len(open) == 0 {
		return nil, int64(len(src)), fmt.Errorf("%w: no complete record", ErrNotFound)
	}
	complete = bytes.Clone(src[:end])
	for i := len(open) - 1; i >= 0; i-- {
		complete = append(complete, closing(open[i]))
	}
	if err := Valid(complete, f); err != nil {
		return nil, int64(len(src)), err
	}
	return complete, int64(len(src) - end), nil
}

func salvageLines(src []byte) ([]byte, int64, error) {
	for end := bytes.LastIndexByte(src, '\n') + 1; end > 0; end = bytes.LastIndexByte(src[:end-1], '\n') + 1 {
		if Valid(src[:end], Lines) == nil {
			return src[:end], int64(len(src) - end), nil
		}
	}
	return nil, int64(len(src)), fmt.Errorf("%w: no complete line", ErrNotFound)
}

// lastComplete walks as far as src is well formed and remembers the end of the last complete member or element, and
// which containers were open there.
func lastComplete(src []byte, i int) (end int, open []byte) {
	var stack []byte
	keep := func() { end, open = i, bytes.Clone(stack) }
	for i < len(src) {
		switch c := src[i]; c {
		case '{', '[':
			stack = append(stack, c)
			i++
			keep()
			i = skipSpace(src, i)
		case '}', ']':
			if len(stack) == 0 || closing(stack[len(stack)-1]) != c {
				return end, open
			}
			stack = stack[:len(stack)-1]
			i++
			keep()
			i = skipSpace(src, i)
			continue
		case ',':
			i = skipSpace(src, i+1)
		default:
			return end, open
		}
		if len(stack) == 0 {
			return end, open
		}
		var ok bool
		if i, ok = step(src, i, stack[len(stack)-1]); !ok {
			return end, open
		}
		if i < len(src) && (src[i] == '{' || src[i] == '[' || src[i] == '}' || src[i] == ']') {
			continue
		}
		next, err := scanValue(src, i)
		if err != nil || next == len(src) && src[i] != '"' {
			return end, open // a number or literal at the very end may be cut itself
		}
		i = next
		keep()
		i = skipSpace(src, i)
	}
	return end, open
}

// step goes to the next value inside a container: behind the name, where there are names.
func step(src []byte, i int, in byte) (int, bool) {
	if in == '[' || i < len(src) && src[i] == '}' {
		return i, i < len(src)
	}
	i, err := scanKey(src, i)
	return i, err == nil && i < len(src)
}
