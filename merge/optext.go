package merge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// AppendJSON appends op as one line of JSON. Its value is a string there, because it may hold what JSON has no
// word for (NaN).
func (op Op) AppendJSON(dst []byte) []byte {
	dst = AppendQuoted(append(dst, `{"op":`...), op.Kind)
	dst = AppendQuoted(append(dst, `,"at":`...), op.At)
	if op.From != "" {
		dst = AppendQuoted(append(dst, `,"from":`...), op.From)
	}
	if op.Value != nil {
		dst = AppendQuoted(append(dst, `,"value":`...), Compact(make([]byte, 0, len(op.Value)), op.Value))
	}
	return append(dst, '}')
}

type wireOp struct {
	Op    string  `json:"op"`
	At    string  `json:"at"`
	From  string  `json:"from"`
	Value *string `json:"value"`
}

// ParseOp reads what AppendJSON wrote and checks it: an unknown kind, a bad pointer or a value that is no JSON is
// an error. The operation may share src.
func ParseOp(src []byte) (Op, error) {
	op, ok := scanOp(src)
	if !ok {
		var w wireOp
		if err := json.Unmarshal(src, &w); err != nil {
			return Op{}, fmt.Errorf("operation: %w", err)
		}
		op = Op{Kind: w.Op, At: w.At, From: w.From}
		if w.Value != nil {
			op.Value = Raw(*w.Value)
		}
	}
	return op, op.Check()
}

// scanOp reads an operation as AppendJSON writes it. Anything else is for encoding/json, which takes five times as long.
func scanOp(src []byte) (op Op, ok bool) {
	member := func(name string) []byte {
		rest, found := bytes.CutPrefix(src, []byte(name))
		if !found {
			return nil
		}
		text, rest, found := CutQuoted(rest)
		if !found {
			ok = false
			return nil
		}
		src = rest
		return text
	}
	ok = true
	op.Kind, op.At, op.From = kindNamed(member(`{"op":`)), string(member(`,"at":`)), string(member(`,"from":`))
	op.Value = member(`,"value":`)
	return op, ok && op.Kind != "" && string(src) == "}"
}

// kindNamed is string(name), made once for each kind that there is.
func kindNamed(name []byte) string {
	for _, kind := range [...]string{OpSet, OpIncr, OpAppend, OpDelete, OpPatch, OpInsert, OpRemove, OpTest, OpReplace, OpMove, OpCopy} {
		if string(name) == kind {
			return kind
		}
	}
	return string(name)
}

// AppendQuoted appends text as a JSON string. Bytes that are no UTF-8 become U+FFFD, as encoding/json has it.
func AppendQuoted[T ~string | ~[]byte](dst []byte, text T) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			dst = append(append(dst, text[start:i]...), '\\', c)
		case c < ' ':
			dst = append(append(dst, text[start:i]...), '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			i++
			continue
		default:
			r, size := utf8.DecodeRuneInString(string(text[i:min(len(text), i+utf8.UTFMax)]))
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			dst = append(append(dst, text[start:i]...), "\ufffd"...)
		}
		i++
		start = i
	}
	return append(append(dst, text[start:]...), '"')
}

// CutQuoted takes from the beginning of src a JSON string in which nothing but quotation marks and backslashes is escaped,
// as AppendQuoted writes nearly all. ok is false for any other. Where nothing was escaped, text is a part of src.
func CutQuoted(src []byte) (text, rest []byte, ok bool) {
	if len(src) == 0 || src[0] != '"' {
		return nil, nil, false
	}
	src = src[1:]
	escapes, ascii := 0, true
	for i := 0; i < len(src); i++ {
		switch c := src[i]; {
		case c == '"':
			text, rest = src[:i], src[i+1:]
			return unescaped(text, escapes), rest, ascii || utf8.Valid(text)
		case c == '\\':
			if i++; i == len(src) || src[i] != '"' && src[i] != '\\' {
				return nil, nil, false
			}
			escapes++
		case c < ' ':
			return nil, nil, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, nil, false
}

func unescaped(text []byte, escapes int) []byte {
	if escapes == 0 {
		return text
	}
	out := make([]byte, 0, len(text)-escapes)
	for ; escapes > 0; escapes-- {
		i := bytes.IndexByte(text, '\\')
		out = append(append(out, text[:i]...), text[i+1])
		text = text[i+2:]
	}
	return append(out, text...)
}
