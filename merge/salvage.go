package merge

import (
	"bytes"
	"fmt"
)

// Salvage returns the longest document made of the complete leading records of src, which is the beginning of a longer
// text: a member or element that was cut is dropped, and what was open is closed. cut is the number of bytes that were
// not used. A complete document is returned as it is. ErrNotFound: there is nothing to keep.
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
	end := lastComplete(src, skipSpace(src, i))
	open := openAt(src[:end])
	if end == 0 {
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
	good := 0
	if bytes.HasPrefix(src, utf8BOM) {
		good = len(utf8BOM)
	}
	from := good
	for {
		i := skipSpace(src, good)
		if i == len(src) {
			break
		}
		end, err := scanValue(src, i)
		if err != nil || bytes.IndexByte(src[i:end], '\n') >= 0 {
			break
		}
		rest := restOfLine(src[end:])
		if !bytes.HasSuffix(rest, []byte("\n")) || skipSpace(rest, 0) < len(rest) {
			break // without an end a line may go on
		}
		good = end + len(rest)
	}
	if good == from {
		return nil, int64(len(src)), fmt.Errorf("%w: no complete line", ErrNotFound)
	}
	return src[:good], int64(len(src) - good), nil
}

// openAt are the brackets that are open at the end of src.
func openAt(src []byte) (open []byte) {
	for i := 0; i < len(src); i++ {
		switch c := src[i]; c {
		case '"':
			end, _ := scanString(src, i)
			i = end - 1
		case '{', '[':
			open = append(open, c)
		case '}', ']':
			open = open[:len(open)-1]
		}
	}
	return open
}

// lastComplete walks as far as src is well formed and returns the end of the last complete member or element.
func lastComplete(src []byte, i int) (end int) {
	var stack []byte
	nameIn := func() bool { // reads the name in front of a value, where there are names
		if stack[len(stack)-1] == '[' {
			return true
		}
		var err error
		i, err = scanKey(src, i)
		return err == nil
	}
	for i < len(src) {
		switch c := src[i]; {
		case c == '{' || c == '[':
			if len(stack) == maxDepth {
				return end
			}
			stack = append(stack, c)
			end = i + 1
			i = skipSpace(src, end)
			if i < len(src) && src[i] == closing(c) {
				break
			}
			if !nameIn() {
				return end
			}
			continue
		case len(stack) == 0:
			return end
		default:
			next, err := scanValue(src, i)
			if err != nil || next == len(src) && src[i] != '"' {
				return end // a number or literal at the very end may be cut itself
			}
			i, end = next, next
		}
		// A value ended here: close containers, or go on behind a comma.
		for i = skipSpace(src, i); i < len(src) && src[i] == closing(stack[len(stack)-1]); i = skipSpace(src, i) {
			i++
			end = i
			if stack = stack[:len(stack)-1]; len(stack) == 0 {
				return end // what follows is no part of the document
			}
		}
		if i == len(src) || src[i] != ',' {
			return end
		}
		if i = skipSpace(src, i+1); !nameIn() {
			return end
		}
	}
	return end
}
