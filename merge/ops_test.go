package merge_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"jsonguard/merge"
)

type patchCase struct {
	Name             string
	Doc, Patch, Want json.RawMessage
	Error            string
}

func patchCases(t *testing.T, file string) []patchCase {
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var cases []patchCase
	require.NoError(t, json.Unmarshal(text, &cases))
	return cases
}

// The test cases of RFC 7396, appendix A.
func TestPatchRFC7396(t *testing.T) {
	for _, c := range patchCases(t, "testdata/ops/rfc7396.json") {
		d := parse(t, c.Doc)
		require.NoError(t, d.Do(merge.Op{Kind: merge.OpPatch, Value: merge.Raw(c.Patch)}))
		require.JSONEq(t, string(c.Want), string(d.Bytes()), "%s patched with %s", c.Doc, c.Patch)
	}
}

// The examples of RFC 6902, appendix A, and what else a patch can do wrong. A patch that fails changes nothing.
func TestPatchRFC6902(t *testing.T) {
	for _, c := range patchCases(t, "testdata/ops/rfc6902.json") {
		t.Run(c.Name, func(t *testing.T) {
			d := parse(t, c.Doc)
			ops, err := merge.ParsePatch6902(c.Patch)
			if err == nil {
				err = d.Do(ops...)
			}
			if c.Error != "" {
				require.ErrorContains(t, err, c.Error)
				require.Equal(t, string(c.Doc), string(d.Bytes()))
				require.False(t, d.Changed())
				return
			}
			require.NoError(t, err)
			require.JSONEq(t, string(c.Want), string(d.Bytes()))
		})
	}
}

func parse(t require.TestingT, text []byte) *merge.Document {
	d, err := merge.Parse(text, merge.JSON)
	require.NoError(t, err, "%s", text)
	return d
}

// What an operation writes looks like what is there.
func TestOpsKeepTheStyle(t *testing.T) {
	for _, c := range []struct{ name, doc, kind, at, value, want string }{
		{"a number only", "{\n  \"n\" : 1.10 ,\n  \"m\":2\n}\n", "set", "/m", "3", "{\n  \"n\" : 1.10 ,\n  \"m\":3\n}\n"},
		{"equal by value", `{"n": 1.10}`, "set", "/n", "1.1", `{"n": 1.10}`},
		{"into a compact one", `{"a":1}`, "set", "/b", `{"c": [1, 2]}`, `{"a":1,"b":{"c":[1,2]}}`},
		{"into a Python one", `{"a": 1}`, "set", "/b", `{"c":[1,2]}`, `{"a": 1, "b": {"c": [1, 2]}}`},
		{"into an indented one", "{\n    \"a\": 1\n}", "set", "/b", `{"c":[1]}`, "{\n    \"a\": 1,\n    \"b\": {\n        \"c\": [\n            1\n        ]\n    }\n}"},
		{"with tabs and CRLF", "{\r\n\t\"a\": {}\r\n}\r\n", "set", "/a/b", `[1]`, "{\r\n\t\"a\": {\r\n\t\t\"b\": [\r\n\t\t\t1\r\n\t\t]\r\n\t}\r\n}\r\n"},
		{"objects on the way", `{"a": 1}`, "set", "/x/y/z", `1`, `{"a": 1, "x": {"y": {"z": 1}}}`},
		{"one-line records", "[\n  {\"id\": 1}\n]", "append", "", `{"id":2}`, "[\n  {\"id\": 1},\n  {\"id\": 2}\n]"},
		{"an empty record among one-line records", "[\n  {\"id\": 1},\n  {}\n]", "append", "", `{"id":2}`, "[\n  {\"id\": 1},\n  {},\n  {\n    \"id\": 2\n  }\n]"},
		{"replaced as it was", "{\"a\": {\n  \"x\": 1\n}}", "set", "/a", `{"y":2}`, "{\"a\": {\n    \"y\": 2\n  }}"},
		{"a first element", `{"a":[ ]}`, "append", "/a", `1`, `{"a":[1]}`},
		{"the last element goes", `{"a":[1 , 2]}`, "delete", "/a/1", ``, `{"a":[1]}`},
		{"the first member goes", "{\n  \"a\": 1,\n  \"b\": 2\n}", "delete", "/a", ``, "{\n  \"b\": 2\n}"},
		{"the only member goes", "{\n  \"a\": 1\n}", "delete", "/a", ``, "{}"},
		{"in front", "[\n  1,\n  2\n]", "insert", "/0", `0`, "[\n  0,\n  1,\n  2\n]"},
		{"in front of one line", `[1, 2]`, "insert", "/0", `0`, `[0, 1, 2]`},
		{"in the middle", "[\n  1,\n  2\n]", "insert", "/1", `9`, "[\n  1,\n  9,\n  2\n]"},
		{"escaped as the document", `{"a": "\u00e9"}`, "set", "/b", `"ü"`, `{"a": "\u00e9", "b": "\u00fc"}`},
		{"a name escaped as the document", `{"a": "\u00e9"}`, "set", "/ü", `1`, `{"a": "\u00e9", "\u00fc": 1}`},
		{"a missing document", "", "set", "/a", `[1]`, "{\n  \"a\": [\n    1\n  ]\n}\n"},
		{"a missing document with a byte order mark", "\xef\xbb\xbf\n", "set", "", `1`, "\xef\xbb\xbf1\n"},
		{"a literal of a number", `{"n": 0.1}`, "incr", "/n", `0.20`, `{"n": 0.30}`},
		{"a counter that is not there", `{}`, "incr", "/n", `5`, "{\n  \"n\": 5\n}"},
		{"a big counter", `{"n": 99999999999999999999}`, "incr", "/n", `1`, `{"n": 100000000000000000000}`},
		{"down to zero", `{"n": 1}`, "incr", "/n", `-1`, `{"n": 0}`},
		{"below zero", `{"n": 0.5}`, "incr", "/n", `-1`, `{"n": -0.5}`},
		{"an exponent", `{"n": 1e3}`, "incr", "/n", `1`, `{"n": 1001}`},
		{"a small exponent", `{"n": 1e-3}`, "incr", "/n", `1`, `{"n": 1.001}`},
		{"every double of a name", `{"a":1,"b":0,"a":2}`, "delete", "/a", ``, `{"b":0}`},
		{"the double that counts", `{"a":1,"b":0,"a":2}`, "set", "/a", `3`, `{"a":1,"b":0,"a":3}`},
		{"an element through -", `{"a": [1]}`, "set", "/a/-", `2`, `{"a": [1, 2]}`},
		{"an object in an element through -", `{"a": []}`, "set", "/a/-/x/y", `2`, "{\"a\": [{\"x\": {\"y\": 2}}]}"},
		{"NaN", `{"a": 1}`, "set", "/a", `NaN`, `{"a": NaN}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := parse(t, []byte(c.doc))
			require.NoError(t, d.Do(merge.Op{Kind: c.kind, At: c.at, Value: merge.Raw(c.value)}))
			require.Equal(t, c.want, string(d.Bytes()))
			require.Equal(t, c.want != c.doc, d.Changed())
		})
	}
}

func TestOpsOnLines(t *testing.T) {
	d, err := merge.Parse([]byte("{\"a\": 1}\n\n{\"b\": 2}"), merge.Lines)
	require.NoError(t, err)
	require.NoError(t, d.Do(
		merge.Op{Kind: merge.OpAppend, Value: merge.Raw("{\n\"c\":3}")}, merge.Op{Kind: merge.OpSet, At: "/0/a", Value: merge.Raw("9")},
		merge.Op{Kind: merge.OpDelete, At: "/1"}, merge.Op{Kind: merge.OpSet, At: "/-", Value: merge.Raw("[1,\n2]")},
	))
	require.Equal(t, "{\"a\": 9}\n{\"c\": 3}\n[1, 2]\n", string(d.Bytes()))
	require.ErrorIs(t, d.Do(merge.Op{Kind: merge.OpSet, Value: merge.Raw("1")}), merge.ErrType)
}

// anyOp is an operation that may or may not suit a document.
func anyOp(t *rapid.T, doc any) merge.Op {
	op := merge.Op{Kind: rapid.SampledFrom([]string{
		merge.OpSet, merge.OpSet, merge.OpDelete, merge.OpDelete, merge.OpIncr, merge.OpAppend, merge.OpPatch, merge.OpInsert, merge.OpRemove,
		merge.OpReplace, merge.OpMove, merge.OpCopy,
	}).Draw(t, "op"), At: anyPointer(t, doc)}
	switch op.Kind {
	case merge.OpDelete, merge.OpRemove:
	case merge.OpMove, merge.OpCopy:
		op.From = anyPointer(t, doc)
	case merge.OpIncr:
		op.Value = merge.Raw(rapid.SampledFrom([]string{"1", "-1", "0.1", "1e2"}).Draw(t, "by"))
	default:
		op.Value = anyDialect(t, "value in").write(anyValue(t, 2))
	}
	return op
}

func anyPointer(t *rapid.T, doc any) string {
	var p merge.Pointer
	for range rapid.IntRange(0, 4).Draw(t, "steps") {
		switch v := doc.(type) {
		case *object:
			name := anyName.Draw(t, "name")
			if len(v.names) > 0 && rapid.IntRange(0, 3).Draw(t, "known") > 0 {
				name = rapid.SampledFrom(v.names).Draw(t, "step")
			}
			p, doc = append(p, name), v.at(name)
		case list:
			i := rapid.IntRange(0, len(v)).Draw(t, "index")
			if i == len(v) {
				p, doc = append(p, rapid.SampledFrom([]string{"-", strconv.Itoa(i)}).Draw(t, "end")), nil
			} else {
				p, doc = append(p, strconv.Itoa(i)), v[i]
			}
		default:
			p = append(p, anyName.Draw(t, "beyond"))
		}
	}
	return p.String()
}

// do is what an operation does to a model; the error is any.
func do(doc any, op merge.Op, value any) (any, error) {
	p, err := merge.ParsePointer(op.At)
	if err != nil {
		return nil, err
	}
	from, err := merge.ParsePointer(op.From)
	if err != nil {
		return nil, err
	}
	if _, none := doc.(missing); none {
		panic("start from a document")
	}
	switch op.Kind {
	case merge.OpSet:
		return put(doc, p, value, true, false)
	case merge.OpReplace:
		if _, ok := find(doc, p); !ok {
			return nil, fmt.Errorf("missing")
		}
		return put(doc, p, value, true, false)
	case merge.OpDelete, merge.OpRemove:
		return remove(doc, p, op.Kind == merge.OpRemove)
	case merge.OpIncr:
		have, ok := find(doc, p)
		if !ok {
			return put(doc, p, value, true, false)
		}
		n, ok := have.(number)
		if !ok {
			return nil, fmt.Errorf("not a number")
		}
		sum := rational(n)
		return put(doc, p, number(sum.Add(sum, rational(value.(number))).FloatString(10)), true, false)
	case merge.OpAppend:
		have, ok := find(doc, p)
		if !ok {
			return put(doc, p, list{value}, true, false)
		}
		if _, ok := have.(list); !ok {
			return nil, fmt.Errorf("not a list")
		}
		return put(doc, append(p, "-"), value, true, false)
	case merge.OpInsert:
		return put(doc, p, value, false, true)
	case merge.OpMove, merge.OpCopy:
		v, ok := find(doc, from)
		if !ok {
			return nil, fmt.Errorf("missing")
		}
		v = clone(v)
		if op.Kind == merge.OpMove {
			if len(p) > len(from) && slices.Equal(p[:len(from)], from) {
				return nil, fmt.Errorf("into itself")
			}
			if doc, err = remove(doc, from, true); err != nil {
				return nil, err
			}
		}
		return put(doc, p, v, false, true)
	case merge.OpPatch:
		return patched(doc, p, value)
	}
	panic(op.Kind)
}

func patched(doc any, p merge.Pointer, value any) (any, error) {
	have, ok := find(doc, p)
	if !ok {
		have = nil
	}
	return put(doc, p, rfc7396(have, value), true, false)
}

// rfc7396 is the pseudo code of section 2 of the RFC.
func rfc7396(target, patch any) any {
	o, ok := patch.(*object)
	if !ok {
		return patch
	}
	t, ok := target.(*object)
	if !ok {
		t = newObject()
	}
	t = t.clone()
	for _, name := range o.names {
		if o.values[name] == nil {
			t.delete(name)
		} else {
			var have any
			if v, ok := t.values[name]; ok {
				have = v
			}
			t.set(name, rfc7396(have, o.values[name]))
		}
	}
	return t
}

func find(doc any, p merge.Pointer) (any, bool) {
	for _, step := range p {
		switch v := doc.(type) {
		case *object:
			w, ok := v.values[step]
			if !ok {
				return nil, false
			}
			doc = w
		case list:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(v) || i < 0 || step != strconv.Itoa(i) {
				return nil, false
			}
			doc = v[i]
		default:
			return nil, false
		}
	}
	return doc, true
}

func put(doc any, p merge.Pointer, value any, create, insert bool) (any, error) {
	if len(p) == 0 {
		return value, nil
	}
	below := func(have any, ok bool) (any, error) {
		if !ok && len(p) > 1 {
			if !create {
				return nil, fmt.Errorf("missing")
			}
			have = newObject()
		}
		return put(have, p[1:], value, create, insert)
	}
	switch v := doc.(type) {
	case *object:
		have, ok := v.values[p[0]]
		w, err := below(have, ok)
		if err == nil {
			v.set(p[0], w)
		}
		return v, err
	case list:
		i, err := strconv.Atoi(p[0])
		if p[0] == "-" {
			i = len(v)
		} else if err != nil || i < 0 || i > len(v) || p[0] != strconv.Itoa(i) {
			return nil, fmt.Errorf("no such element")
		}
		if i == len(v) || insert && len(p) == 1 {
			w, err := below(nil, false)
			if err != nil {
				return nil, err
			}
			return slices.Insert(v, i, w), nil
		}
		w, err := below(v[i], true)
		if err == nil {
			v[i] = w
		}
		return v, err
	}
	return nil, fmt.Errorf("no container")
}

func remove(doc any, p merge.Pointer, must bool) (any, error) {
	if len(p) == 0 {
		return nil, fmt.Errorf("the whole document")
	}
	parent, ok := find(doc, p[:len(p)-1])
	if _, there := find(doc, p); !there {
		if must || ok && !isContainer(parent) || !ok && throughScalar(doc, p) {
			return nil, fmt.Errorf("missing")
		}
		return doc, nil
	}
	last := p[len(p)-1]
	switch v := parent.(type) {
	case *object:
		v.delete(last)
		return doc, nil
	case list:
		i, _ := strconv.Atoi(last)
		return put(doc, p[:len(p)-1], slices.Delete(v, i, i+1), false, false)
	}
	panic("found in no container")
}

func isContainer(v any) bool {
	switch v.(type) {
	case *object, list:
		return true
	}
	return false
}

func throughScalar(doc any, p merge.Pointer) bool {
	for i := range p {
		if v, ok := find(doc, p[:i]); ok && !isContainer(v) {
			return true
		}
	}
	return false
}

// Operations do to a document what they do to its model; a list of them that fails somewhere leaves every byte as it
// was; what is written is always a document, and bytes outside stay.
func TestOpsAgreeWithTheModel(t *testing.T) {
	failed, done := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		model := anyDocument(t)
		text := anyDialect(t, "in").write(model)
		d := parse(t, text)
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			before := string(d.Bytes())
			changed := d.Changed()
			next := clone(model)
			var ops []merge.Op
			var modelErr error
			for range rapid.IntRange(1, 4).Draw(t, "ops") {
				op := anyOp(t, next)
				ops = append(ops, op)
				var value any
				if op.Value != nil {
					value = decode(t, op.Value)
				}
				if next, modelErr = do(next, op, value); modelErr != nil {
					break
				}
			}
			err := d.Do(ops...)
			require.NoError(t, merge.Valid(d.Bytes(), merge.JSON), "%s\n%v", before, ops)
			if modelErr != nil {
				require.Error(t, err, "%s\n%v\nmodel: %v\n%s", before, ops, modelErr, d.Bytes())
				require.Equal(t, before, string(d.Bytes()), "a batch that fails changes nothing")
				require.Equal(t, changed, d.Changed())
				failed++
				continue
			}
			require.NoError(t, err, "%s\n%v", before, ops)
			model = next
			require.True(t, equal(model, decode(t, d.Bytes())), "%s\n%v\nwant %s\ngot  %s", before, ops, python.write(model), d.Bytes())
			require.True(t, d.Changed() || before == string(d.Bytes()))
			done++
		}
		again := parse(t, d.Bytes())
		require.True(t, equal(model, decode(t, again.Bytes())))
	})
	require.Positive(t, failed)
	require.Positive(t, done)
}

// set, then get, gives what was set; delete, then get, nothing.
func TestOpsSetGetDelete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := anyObject(t, 3)
		d := parse(t, anyDialect(t, "in").write(model))
		at := anyPointer(t, model)
		p, err := merge.ParsePointer(at)
		require.NoError(t, err)
		value := anyValue(t, 2)
		if d.Do(merge.Op{Kind: merge.OpSet, At: at, Value: python.write(value)}) != nil {
			return
		}
		for i, step := range p { // - is the element that was added
			if v, ok := find(decode(t, d.Bytes()), p[:i]); ok && step == "-" {
				if l, ok := v.(list); ok {
					p[i] = strconv.Itoa(len(l) - 1)
				}
			}
		}
		got, err := d.Get(p)
		require.NoError(t, err, "%s in %s", p, d.Bytes())
		require.True(t, equal(value, decode(t, got)), "%s, want %s", got, python.write(value))
		if len(p) == 0 {
			return
		}
		parent, err := d.Get(p[:len(p)-1])
		require.NoError(t, err)
		isList := parent[0] == '['
		require.NoError(t, d.Do(merge.Op{Kind: merge.OpDelete, At: p.String()}))
		if !isList {
			_, err = d.Get(p)
			require.ErrorIs(t, err, merge.ErrNotFound)
		}
	})
}

// Each visits what is there, in order.
func TestEach(t *testing.T) {
	d := parse(t, []byte(`{"a":1,"b":2,"a":3,"l":[1,{"x":2}]}`))
	var seen []string
	collect := func(key string, raw []byte) bool {
		seen = append(seen, key+"="+string(raw))
		return true
	}
	require.NoError(t, d.Do(merge.Op{Kind: merge.OpDelete, At: "/b"}, merge.Op{Kind: merge.OpSet, At: "/c", Value: merge.Raw("4")}))
	require.NoError(t, d.Each(nil, collect))
	require.NoError(t, d.Each(merge.Pointer{"l"}, collect))
	require.Equal(t, []string{"a=3", `l=[1,{"x":2}]`, "c=4", "0=1", `1={"x":2}`}, seen)
	require.ErrorIs(t, d.Each(merge.Pointer{"c"}, collect), merge.ErrType)
	require.ErrorIs(t, d.Each(merge.Pointer{"x"}, collect), merge.ErrNotFound)
}

// An operation survives its journal line.
func TestOpRoundTrip(t *testing.T) {
	for _, op := range []merge.Op{
		{Kind: merge.OpSet, At: "/a~1b", Value: merge.Raw(`{"x":[NaN,"\ud800"]}`)},
		{Kind: merge.OpDelete, At: ""},
		{Kind: merge.OpMove, At: "/a", From: "/b"},
	} {
		line := op.AppendJSON(nil)
		require.True(t, json.Valid(line))
		got, err := merge.ParseOp(line)
		require.NoError(t, err)
		require.Equal(t, op, got)
	}
}

// An object with many members, many of which come and go, in batches some of which fail: names, values and order are
// those of the model, and what is looked up is found.
func TestOpsOnAWideObject(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := newObject()
		for i := range rapid.IntRange(0, 60).Draw(t, "members") {
			model.set(fmt.Sprint("n", i), number("0"))
		}
		d := parse(t, anyDialect(t, "in").write(model))
		for range rapid.IntRange(1, 12).Draw(t, "batches") {
			next := model.clone()
			var ops []merge.Op
			for range rapid.IntRange(1, 12).Draw(t, "ops") {
				name := fmt.Sprint("n", rapid.IntRange(0, 70).Draw(t, "name"))
				if rapid.IntRange(0, 2).Draw(t, "delete") > 0 {
					ops = append(ops, merge.Op{Kind: merge.OpDelete, At: "/" + name})
					next.delete(name)
				} else {
					value := fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "value"))
					ops = append(ops, merge.Op{Kind: merge.OpSet, At: "/" + name, Value: merge.Raw(value)})
					next.set(name, number(value))
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "fails") == 0 {
				before := string(d.Bytes())
				require.Error(t, d.Do(append(ops, merge.Op{Kind: merge.OpRemove, At: "/none"})...))
				require.Equal(t, before, string(d.Bytes()))
			} else {
				require.NoError(t, d.Do(ops...))
				model = next
			}
			got := decode(t, d.Bytes()).(*object)
			require.Equal(t, append([]string{}, model.names...), append([]string{}, got.names...))
			require.True(t, equal(model, got))
			for i := range 71 {
				name := fmt.Sprint("n", i)
				raw, err := d.Get(merge.Pointer{name})
				if want, ok := model.values[name]; ok {
					require.NoError(t, err)
					require.Equal(t, string(want.(number)), string(raw))
				} else {
					require.ErrorIs(t, err, merge.ErrNotFound)
				}
			}
		}
	})
}
