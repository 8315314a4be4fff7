package atomicjson

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/merge"
)

type record struct {
	ID int `json:"id"`
	N  int `json:"n"`
}

// Each case is a file, what a program that knows id and n does with it, and the file that is left.
func TestUpdateAsOfAList(t *testing.T) {
	const file = `[{"id": 1, "x": 1.0}, {"id": 2, "x": 2.0}, {"id": 3, "x": 3.0}]`
	for _, c := range []struct {
		name string
		fn   func(*[]record)
		want string
	}{
		{"nothing", func(*[]record) {}, file},
		{"change", func(v *[]record) { (*v)[1].N = 5 }, `[{"id": 1, "x": 1.0}, {"id": 2, "x": 2.0, "n": 5}, {"id": 3, "x": 3.0}]`},
		{"change the id", func(v *[]record) { (*v)[1].ID = 7 }, `[{"id": 1, "x": 1.0}, {"id": 7, "x": 2.0}, {"id": 3, "x": 3.0}]`},
		{"remove", func(v *[]record) { *v = append((*v)[:1:1], (*v)[2:]...) }, `[{"id": 1, "x": 1.0}, {"id": 3, "x": 3.0}]`},
		{"remove the first", func(v *[]record) { *v = (*v)[1:] }, `[{"id": 2, "x": 2.0}, {"id": 3, "x": 3.0}]`},
		{"remove and change", func(v *[]record) { *v = (*v)[1:]; (*v)[0].N = 5 }, `[{"id": 2, "x": 2.0, "n": 5}, {"id": 3, "x": 3.0}]`},
		{"append", func(v *[]record) { *v = append(*v, record{9, 9}) }, `[{"id": 1, "x": 1.0}, {"id": 2, "x": 2.0}, {"id": 3, "x": 3.0}, {"id": 9, "n": 9}]`},
		{"swap", func(v *[]record) { (*v)[0], (*v)[1] = (*v)[1], (*v)[0] }, `[{"id": 2, "x": 2.0}, {"id": 1, "x": 1.0}, {"id": 3, "x": 3.0}]`},
		{"turn round", func(v *[]record) { (*v)[0], (*v)[2] = (*v)[2], (*v)[0] }, `[{"id": 3, "x": 3.0}, {"id": 2, "x": 2.0}, {"id": 1, "x": 1.0}]`},
		{"insert in front", func(v *[]record) { *v = append([]record{{ID: 8}}, *v...) }, `[{"id": 8, "n": 0}, {"id": 1, "x": 1.0}, {"id": 2, "x": 2.0}, {"id": 3, "x": 3.0}]`},
		{"empty", func(v *[]record) { *v = []record{} }, `[]`},
		{"nil", func(v *[]record) { *v = nil }, `null`},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := writeFile(t, "list.json", file)
			require.NoError(t, UpdateAs(context.Background(), path, func(v *[]record) error { c.fn(v); return nil }))
			require.Equal(t, c.want, readFile(t, path))
		})
	}
}

func TestUpdateAsKeepsWhatTheTypeDoesNotKnow(t *testing.T) {
	const file = "{\n  \"unknown\": 1.10,\n  \"nan\": NaN,\n  \"models\": {\n    \"b\": {\"id\": 1, \"more\": [NaN, 1e5]},\n    \"a\": {\"id\": 2}\n  },\n  \"big\": 12345678901234567890123,\n  \"double\": 1,\n  \"double\": 2,\n  \"lone\": \"\\ud800\",\n  \"k\\ud800\": 1\n}\n"
	type doc struct {
		Models map[string]record `json:"models"`
		Big    json.Number       `json:"big"`
		Absent string            `json:"absent"`
		Empty  string            `json:"empty,omitempty"`
		NaN    *float64          `json:"nan"`
		Double int               `json:"double"`
		Lone   string            `json:"lone"`
	}
	path := writeFile(t, "doc.json", file)
	require.NoError(t, UpdateAs(context.Background(), path, func(d *doc) error {
		require.Equal(t, 2, d.Double, "the last one counts")
		require.Nil(t, d.NaN)
		require.Equal(t, "12345678901234567890123", d.Big.String())
		m := d.Models["b"]
		m.N = 7
		d.Models["b"] = m
		return nil
	}))
	require.Equal(t, `{
  "unknown": 1.10,
  "nan": NaN,
  "models": {
    "b": {"id": 1, "more": [NaN, 1e5], "n": 7},
    "a": {"id": 2}
  },
  "big": 12345678901234567890123,
  "double": 1,
  "double": 2,
  "lone": "\ud800",
  "k\ud800": 1
}
`, readFile(t, path))
	require.NoError(t, UpdateAs(context.Background(), path, func(d *doc) error {
		delete(d.Models, "b")
		half := 0.5
		d.NaN, d.Absent, d.Empty = &half, "x", "y"
		return nil
	}))
	require.Equal(t, `{
  "unknown": 1.10,
  "nan": 0.5,
  "models": {
    "a": {"id": 2}
  },
  "big": 12345678901234567890123,
  "double": 1,
  "double": 2,
  "lone": "\ud800",
  "k\ud800": 1,
  "absent": "x",
  "empty": "y"
}
`, readFile(t, path))
}

func TestUpdateAsAny(t *testing.T) {
	path := writeFile(t, "doc.json", `{"n": 9007199254740993, "x": 1.10, "d": 1, "d": 2, "nan": NaN}`)
	require.NoError(t, UpdateAs(context.Background(), path, func(v *any) error {
		m := (*v).(map[string]any)
		require.Equal(t, json.Number("9007199254740993"), m["n"])
		m["copy"] = m["n"]
		return nil
	}))
	require.Equal(t, `{"n": 9007199254740993, "x": 1.10, "d": 1, "d": 2, "nan": NaN, "copy": 9007199254740993}`, readFile(t, path))
}

func TestUpdateAsFieldsSpelledOtherwise(t *testing.T) {
	path := writeFile(t, "doc.json", `{"ID": 1, "N": 2}`)
	require.NoError(t, UpdateAs(context.Background(), path, func(r *record) error { r.N++; return nil }))
	require.Equal(t, `{"ID": 1, "N": 3}`, readFile(t, path))
}

func TestUpdateAsOfNothing(t *testing.T) {
	for name, content := range map[string]string{"missing": "-", "empty": "", "space": " \n"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "doc.json")
			if content != "-" {
				require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
			}
			require.NoError(t, UpdateAs(context.Background(), path, func(r *record) error {
				require.Zero(t, *r)
				r.N = 1
				return nil
			}))
			require.JSONEq(t, `{"id":0,"n":1}`, readFile(t, path))
			got, err := ReadAs[record](context.Background(), path)
			require.NoError(t, err)
			require.Equal(t, record{0, 1}, got)
		})
	}
}

func TestUpdateAsOfLines(t *testing.T) {
	path := writeFile(t, "log.jsonl", "{\"id\": 1, \"x\": 1.0}\n{\"id\": 2, \"x\": NaN}\n")
	require.NoError(t, UpdateAs(context.Background(), path, func(v *[]record) error {
		require.Equal(t, []record{{1, 0}, {2, 0}}, *v)
		(*v)[1].N = 5
		*v = append(*v, record{3, 3})
		return nil
	}))
	require.Equal(t, "{\"id\": 1, \"x\": 1.0}\n{\"id\": 2, \"x\": NaN, \"n\": 5}\n{\"id\": 3, \"n\": 3}\n", readFile(t, path))
	require.NoError(t, UpdateAs(context.Background(), path, func(v *[]record) error { *v = (*v)[1:]; return nil }))
	require.Equal(t, "{\"id\": 2, \"x\": NaN, \"n\": 5}\n{\"id\": 3, \"n\": 3}\n", readFile(t, path))
	got, err := ReadAs[[]record](context.Background(), path)
	require.NoError(t, err)
	require.Equal(t, []record{{2, 5}, {3, 3}}, got)
	require.NoError(t, UpdateAs(context.Background(), path, func(v *[]record) error { *v = nil; return nil }))
	require.Empty(t, readFile(t, path))
	require.NoError(t, UpdateAs(context.Background(), path, func(v *[]record) error { *v = append(*v, record{4, 4}); return nil }))
	require.Equal(t, "{\"id\": 4, \"n\": 4}\n", readFile(t, path))
	missing := filepath.Join(t.TempDir(), "new.ndjson")
	require.NoError(t, UpdateAs(context.Background(), missing, func(v *[]record) error { *v = append(*v, record{4, 4}); return nil }))
	require.Equal(t, "{\"id\": 4, \"n\": 4}\n", readFile(t, missing))
}

// A program that spells a name its own way adds to the one that the policy knows.
func TestUpdateAsUnderAPolicy(t *testing.T) {
	path := writeFile(t, "doc.json", `{"models": {"DeepSeek-V3": {"n": 3, "x": 1.10}}}`)
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "jsonguard.json"), []byte(`{"files": ["doc.json"], "rules": [
		{"at": "/models/*/n", "merge": "sum"},
		{"at": "/models", "rename": [{"match": "(?i)^deepseek-v3.*$", "to": "DeepSeek-V3"}]}]}`), 0o644))
	type doc struct {
		Models map[string]struct {
			N int `json:"n"`
		} `json:"models"`
	}
	require.NoError(t, UpdateAs(context.Background(), path, func(d *doc) error {
		m := d.Models["deepseek-v3-2"]
		m.N += 2
		d.Models["deepseek-v3-2"] = m
		return nil
	}))
	require.Equal(t, `{"models": {"DeepSeek-V3": {"n": 5, "x": 1.10}}}`, readFile(t, path))
}

func TestUpdateAsErrors(t *testing.T) {
	path := writeFile(t, "doc.json", `{"id": "text"}`)
	err := UpdateAs(context.Background(), path, func(*record) error { return nil })
	require.ErrorContains(t, err, "decode into atomicjson.record")
	var wrong *json.UnmarshalTypeError
	require.ErrorAs(t, err, &wrong)
	path = writeFile(t, "doc.json", `{"x": 1}`)
	own := errors.New("own")
	require.Same(t, own, UpdateAs(context.Background(), path, func(*record) error { return own }), "fn's error, as it is")
	err = UpdateAs(context.Background(), path, func(m *map[string]float64) error { (*m)["x"] = math.NaN(); return nil })
	require.ErrorContains(t, err, "NaN")
	require.Equal(t, `{"x": 1}`, readFile(t, path))
}

// Whatever fn leaves alone is untouched, and what it leaves is what a decoder then reads: for any two lists.
func TestUpdateAsIsWhatFnLeft(t *testing.T) {
	for seed := range 300 {
		before, after := list(seed, 5), list(seed*7+1, 5)
		doc := "["
		for i, r := range before {
			if i > 0 {
				doc += ", "
			}
			doc += fmt.Sprintf(`{"id": %d, "keep%d": %d.0, "n": %d}`, r.ID, i, i, r.N)
		}
		doc += "]"
		d, err := Parse([]byte(doc))
		require.NoError(t, err)
		b, err := encode(before)
		require.NoError(t, err)
		a, err := encode(after)
		require.NoError(t, err)
		ops, err := edits("", []byte(doc), b, a)
		require.NoError(t, err)
		require.NoError(t, d.doc.Do(ops...), "%s\n%s\n%v", doc, a, ops)
		var got []record
		require.NoError(t, d.Get("", &got))
		require.Equal(t, after, got, doc)
		_, err = merge.Parse(d.Bytes(), merge.JSON)
		require.NoError(t, err)
	}
}

func list(seed, limit int) []record {
	out := []record{}
	for x := uint32(seed)*2654435761 + 12345; len(out) < seed%(limit+1); x = x*1664525 + 1013904223 {
		out = append(out, record{int(x>>16) % 4, int(x>>24) % 3})
	}
	return out
}
