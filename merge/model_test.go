package merge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The model of a document, independent of the package: nil, bool, number (a literal), string, list or *object. What the
// merge does is compared with what is done to models.
type (
	number string
	list   []any
	object struct {
		names  []string // in order
		values map[string]any
	}
)

func newObject() *object { return &object{values: map[string]any{}} }

func (o *object) set(name string, v any) {
	if _, ok := o.values[name]; !ok {
		o.names = append(o.names, name)
	}
	o.values[name] = v
}

func (o *object) delete(name string) {
	delete(o.values, name)
	o.names = slices.DeleteFunc(o.names, func(n string) bool { return n == name })
}

func (o *object) clone() *object {
	out := newObject()
	for _, name := range o.names {
		out.set(name, clone(o.values[name]))
	}
	return out
}

func clone(v any) any {
	switch v := v.(type) {
	case *object:
		return v.clone()
	case list:
		out := make(list, len(v))
		for i := range v {
			out[i] = clone(v[i])
		}
		return out
	}
	return v
}

// rational is the value of a literal that is not out of all proportion.
func rational(n number) *big.Rat {
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		panic("not a number: " + string(n))
	}
	return r
}

func equal(a, b any) bool {
	switch a := a.(type) {
	case number:
		b, ok := b.(number)
		return ok && rational(a).Cmp(rational(b)) == 0
	case list:
		b, ok := b.(list)
		return ok && slices.EqualFunc(a, b, equal)
	case *object:
		b, ok := b.(*object)
		if !ok || len(a.values) != len(b.values) {
			return false
		}
		for name, v := range a.values {
			w, ok := b.values[name]
			if !ok || !equal(v, w) {
				return false
			}
		}
		return true
	}
	if _, ok := b.(list); ok {
		return false
	}
	if _, ok := b.(*object); ok {
		return false
	}
	return a == b
}

// dialect is how a program writes JSON.
type dialect struct {
	indent  string // "": all on one line
	comma   string
	colon   string
	newline string
	ascii   bool
	end     string
	literal func(number) string // nil: as it is
}

var (
	python       = dialect{comma: ", ", colon: ": ", ascii: true, newline: "\n"}
	pythonIndent = dialect{indent: "  ", comma: ",", colon: ": ", ascii: true, newline: "\n"}
	stringify    = dialect{comma: ",", colon: ":", newline: "\n"}
	prettier     = dialect{indent: "    ", comma: ",", colon: ": ", newline: "\n", end: "\n"}
	windows      = dialect{indent: "\t", comma: ",", colon: ": ", newline: "\r\n", end: "\r\n"}
	dialects     = []dialect{python, pythonIndent, stringify, prettier, windows}
)

func (d dialect) write(v any) []byte { return append(d.append(nil, v, 0), d.end...) }

func (d dialect) append(out []byte, v any, depth int) []byte {
	switch v := v.(type) {
	case nil:
		return append(out, "null"...)
	case bool:
		return strconv.AppendBool(out, v)
	case number:
		if d.literal != nil {
			return append(out, d.literal(v)...)
		}
		return append(out, v...)
	case string:
		return d.appendString(out, v)
	case list:
		return d.appendAll(out, '[', ']', len(v), depth, func(out []byte, i int) []byte { return d.append(out, v[i], depth+1) })
	case *object:
		return d.appendAll(out, '{', '}', len(v.names), depth, func(out []byte, i int) []byte {
			out = append(d.appendString(out, v.names[i]), d.colon...)
			return d.append(out, v.values[v.names[i]], depth+1)
		})
	}
	panic(fmt.Sprintf("%T", v))
}

func (d dialect) appendAll(out []byte, open, end byte, n, depth int, child func([]byte, int) []byte) []byte {
	out = append(out, open)
	line := func(depth int) {
		if d.indent != "" && n > 0 {
			out = append(append(out, d.newline...), strings.Repeat(d.indent, depth)...)
		}
	}
	for i := range n {
		if i > 0 {
			out = append(out, d.comma...)
		}
		line(depth + 1)
		out = child(out, i)
	}
	line(depth)
	return append(out, end)
}

func (d dialect) appendString(out []byte, s string) []byte {
	out = append(out, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r < 0x20:
			out = fmt.Appendf(out, `\u%04x`, r)
		case r >= 0x10000 && d.ascii:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		case r >= 0x80 && d.ascii:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			out = append(out, string(r)...)
		}
	}
	return append(out, '"')
}

// pythonFloats rewrites literals as a load and dump by Python does, as far as that keeps their value.
func pythonFloats(n number) string {
	if !strings.ContainsAny(string(n), ".eE") {
		return string(n)
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || new(big.Rat).SetFloat64(f).Cmp(rational(n)) != 0 {
		return string(n) // Python would lose digits: that is a change
	}
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return text
}

// decode reads a document with encoding/json; the last of two members counts there as well.
func decode(t require.TestingT, text []byte) any {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(text)) == 0 {
		return missing{}
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := decodeValue(d)
	require.NoError(t, err, "%s", text)
	_, err = d.Token()
	require.Error(t, err, "more than one value: %s", text)
	return v
}

func decodeValue(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Number:
		return number(token), nil
	case json.Delim:
		if token == '[' {
			out := list{}
			for d.More() {
				v, err := decodeValue(d)
				if err != nil {
					return nil, err
				}
				out = append(out, v)
			}
			_, err = d.Token()
			return out, err
		}
		out := newObject()
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decodeValue(d)
			if err != nil {
				return nil, err
			}
			out.set(name.(string), v)
		}
		_, err = d.Token()
		return out, err
	}
	return token, nil
}

type missing struct{}

// Generators. Few names and values, so that writers meet.

var (
	anyName   = rapid.SampledFrom([]string{"a", "b", "c", "d", "é", "x/y", "~", "", "0"})
	anyScalar = rapid.Custom(func(t *rapid.T) any {
		return rapid.SampledFrom([]any{
			nil, true, false, number("0"), number("1"), number("1.0"), number("1.10"), number("1e5"), number("-2.5"), number("9007199254740993"),
			"", "s", "é", "a/b", "😀", "\n\"\\",
		}).Draw(t, "scalar")
	})
)

func anyValue(t *rapid.T, depth int) any {
	kinds := 5
	if depth <= 0 {
		kinds = 2
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 3, 4:
		return anyObject(t, depth-1)
	case 5:
		out := list{}
		for range rapid.IntRange(0, 4).Draw(t, "length") {
			out = append(out, anyValue(t, depth-1))
		}
		return out
	}
	return anyScalar.Draw(t, "value")
}

func anyObject(t *rapid.T, depth int) *object {
	out := newObject()
	for range rapid.IntRange(0, 5).Draw(t, "members") {
		out.set(anyName.Draw(t, "name"), anyValue(t, depth))
	}
	return out
}

func anyDocument(t *rapid.T) any {
	if rapid.IntRange(0, 5).Draw(t, "root") == 0 {
		return anyValue(t, 3)
	}
	return anyObject(t, 3)
}

// edited is a document as a program leaves it that does a few things to it.
func edited(t *rapid.T, v any) any {
	v = clone(v)
	for range rapid.IntRange(0, 4).Draw(t, "edits") {
		v = editOne(t, v)
	}
	return v
}

func editOne(t *rapid.T, v any) any {
	switch v := v.(type) {
	case *object:
		if rapid.IntRange(0, 12).Draw(t, "replace") == 0 {
			break
		}
		if len(v.names) == 0 || rapid.IntRange(0, 3).Draw(t, "add") == 0 {
			v.set(anyName.Draw(t, "name"), anyValue(t, 2))
			return v
		}
		name := rapid.SampledFrom(v.names).Draw(t, "at")
		if rapid.IntRange(0, 4).Draw(t, "delete") == 0 {
			v.delete(name)
		} else {
			v.set(name, editOne(t, v.values[name]))
		}
		return v
	case list:
		if rapid.IntRange(0, 12).Draw(t, "replace") == 0 {
			break
		}
		i := rapid.IntRange(0, len(v)).Draw(t, "at")
		switch {
		case i == len(v) || rapid.Bool().Draw(t, "insert"):
			return slices.Insert(v, i, anyValue(t, 1))
		case rapid.IntRange(0, 2).Draw(t, "delete") == 0:
			return slices.Delete(v, i, i+1)
		}
		v[i] = editOne(t, v[i])
		return v
	}
	return anyValue(t, 1)
}
