package atomicjson

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

func parse(t *testing.T, src string) *Document {
	t.Helper()
	d, err := Parse([]byte(src))
	require.NoError(t, err)
	return d
}

func TestRawKeepsTheText(t *testing.T) {
	d := parse(t, `{"a": 1.10, "b": [1e5, "é\/\u00e9"], "a~b": 1, "c/d": 2, "": 3}`)
	for pointer, want := range map[string]string{
		"/a": "1.10", "/b/0": "1e5", "/b/1": `"é\/\u00e9"`, "/a~0b": "1", "/c~1d": "2", "/": "3",
		"": `{"a": 1.10, "b": [1e5, "é\/\u00e9"], "a~b": 1, "c/d": 2, "": 3}`,
	} {
		raw, err := d.Raw(pointer)
		require.NoError(t, err, pointer)
		require.Equal(t, want, string(raw), pointer)
	}
	for _, pointer := range []string{"/x", "/b/2", "/b/-", "/a/x"} {
		_, err := d.Raw(pointer)
		require.ErrorIs(t, err, merge.ErrNotFound, pointer)
		require.ErrorContains(t, err, pointer)
	}
	_, err := d.Raw("a")
	require.Error(t, err, "a pointer starts with a slash")
}

func TestChangesKeepTheRest(t *testing.T) {
	const src = "{\n    \"z\": 1.10,\n    \"a\": {\"n\": 9007199254740993, \"t\": \"<é>\"},\n    \"list\": [\n        1,\n        2\n    ]\n}\n"
	for _, c := range []struct {
		name string
		do   func(*Document) error
		want string
	}{
		{"set", func(d *Document) error { return d.Set("/a/t", "x<&>") }, "{\n    \"z\": 1.10,\n    \"a\": {\"n\": 9007199254740993, \"t\": \"x<&>\"},\n    \"list\": [\n        1,\n        2\n    ]\n}\n"},
		{"set what is there", func(d *Document) error { return d.Set("/z", 1.1) }, src},
		{"set below nothing", func(d *Document) error { return d.Set("/b/c/d", true) }, "{\n    \"z\": 1.10,\n    \"a\": {\"n\": 9007199254740993, \"t\": \"<é>\"},\n    \"list\": [\n        1,\n        2\n    ],\n    \"b\": {\n        \"c\": {\n            \"d\": true\n        }\n    }\n}\n"},
		{"append", func(d *Document) error { return d.Append("/list", 3) }, "{\n    \"z\": 1.10,\n    \"a\": {\"n\": 9007199254740993, \"t\": \"<é>\"},\n    \"list\": [\n        1,\n        2,\n        3\n    ]\n}\n"},
		{"add", func(d *Document) error { return d.Add("/a/n", 1) }, "{\n    \"z\": 1.10,\n    \"a\": {\"n\": 9007199254740994, \"t\": \"<é>\"},\n    \"list\": [\n        1,\n        2\n    ]\n}\n"},
		{"delete", func(d *Document) error { return d.Delete("/a") }, "{\n    \"z\": 1.10,\n    \"list\": [\n        1,\n        2\n    ]\n}\n"},
		{"delete what is not there", func(d *Document) error { return d.Delete("/q/r") }, src},
		{"raw", func(d *Document) error { return d.Set("/z", json.RawMessage("1.2e1")) }, "{\n    \"z\": 1.2e1,\n    \"a\": {\"n\": 9007199254740993, \"t\": \"<é>\"},\n    \"list\": [\n        1,\n        2\n    ]\n}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := parse(t, src)
			require.NoError(t, c.do(d))
			require.Equal(t, c.want, string(d.Bytes()))
		})
	}
}

func TestAddIsExact(t *testing.T) {
	d := parse(t, `{"big": 123456789012345678901234567890, "decimal": 0.1}`)
	require.NoError(t, d.Add("/big", json.Number("1")))
	require.NoError(t, d.Add("/decimal", json.Number("0.2")))
	require.NoError(t, d.Add("/missing", 5))
	for pointer, want := range map[string]string{"/big": "123456789012345678901234567891", "/decimal": "0.3", "/missing": "5"} {
		raw, err := d.Raw(pointer)
		require.NoError(t, err)
		require.Equal(t, want, string(raw), pointer)
	}
}

func TestChangesThatAreRefusedChangeNothing(t *testing.T) {
	const src = `{"text": "x", "list": [1]}`
	d := parse(t, src)
	require.ErrorIs(t, d.Add("/text", 1), merge.ErrType)
	require.ErrorIs(t, d.Append("/text", 1), merge.ErrType)
	require.Error(t, d.Set("/list/7", 1))
	require.Error(t, d.Set("no slash", 1))
	require.Error(t, d.Set("/x", json.RawMessage("{")), "no JSON")
	require.ErrorContains(t, d.Set("/x", math.NaN()), "/x")
	require.Error(t, d.Set("/x", make(chan int)))
	require.Equal(t, src, string(d.Bytes()))
}

func TestGet(t *testing.T) {
	d := parse(t, `{"n": 9007199254740993, "list": [1, 2], "nan": [NaN, -Infinity, Infinity, "NaN \" Infinity"], "s": "N"}`)
	var v any
	require.NoError(t, d.Get("/n", &v))
	require.Equal(t, json.Number("9007199254740993"), v, "all its digits")
	var n int64
	require.NoError(t, d.Get("/n", &n))
	require.EqualValues(t, 9007199254740993, n)
	var list []int
	require.NoError(t, d.Get("/list", &list))
	require.Equal(t, []int{1, 2}, list)
	require.NoError(t, d.Get("/nan", &v))
	require.Equal(t, []any{nil, nil, nil, `NaN " Infinity`}, v)
	require.ErrorContains(t, d.Get("/s", &n), `decode "/s"`)
	require.ErrorIs(t, d.Get("/x", &n), merge.ErrNotFound)
}

func TestParseSaysWhere(t *testing.T) {
	_, err := Parse([]byte("{\n  \"a\": tru\n}"))
	var syntax *merge.SyntaxError
	require.ErrorAs(t, err, &syntax)
	require.Equal(t, 2, syntax.Line)
	d, err := Parse(nil)
	require.NoError(t, err, "an empty text is a document without a value")
	_, err = d.Raw("")
	require.ErrorIs(t, err, merge.ErrNotFound)
	require.NoError(t, d.Set("/a", 1))
	require.JSONEq(t, `{"a": 1}`, string(d.Bytes()))
}

func FuzzWithoutNaN(f *testing.F) {
	for _, s := range []string{`{"NaN": NaN, "x": [-Infinity, Infinity, "\"NaN"]}`, `"\\"`, `[1,2]`, `NaN`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := merge.Parse(raw, merge.JSON); err != nil || len(raw) == 0 {
			return
		}
		var v any
		text := withoutNaN(raw)
		if json.Valid(raw) {
			require.Equal(t, string(raw), string(text), "valid JSON stays as it is")
		}
		if err := decode(raw, &v); err != nil {
			require.False(t, json.Valid(text), "%q: %v", raw, err)
		}
	})
}
