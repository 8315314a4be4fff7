package parquet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// peers is a directory with the programs of tests/peers/package.json, and the scripts beside them.
func peers(t testing.TB, need ...string) (node func(script string, args ...string) []map[string]any) {
	where := os.Getenv("JSONGUARD_PEERS")
	if where == "" {
		t.Skip("SKIPPED: JSONGUARD_PEERS names no directory in which tests/peers/package.json is installed: no second reader")
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("SKIPPED: no node here: no second reader")
	}
	for _, name := range need {
		if _, err := os.Stat(filepath.Join(where, "node_modules", name)); err != nil {
			t.Skipf("SKIPPED: %s is not installed in JSONGUARD_PEERS: no second reader", name)
		}
	}
	dir := t.TempDir()
	require.NoError(t, os.Symlink(filepath.Join(where, "node_modules"), filepath.Join(dir, "node_modules")))
	scripts, err := filepath.Glob("testdata/*.mjs")
	require.NoError(t, err)
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(script)), text, 0o644))
	}
	return func(script string, args ...string) []map[string]any {
		var out, errs bytes.Buffer
		cmd := exec.Command("node", append([]string{filepath.Join(dir, script)}, args...)...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		require.NoError(t, cmd.Run(), "%s: %s", script, errs.String())
		return lines(t, out.Bytes())
	}
}

func lines(t testing.TB, text []byte) (rows []map[string]any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	for d.More() {
		var row map[string]any
		require.NoError(t, d.Decode(&row))
		rows = append(rows, row)
	}
	return rows
}

// plain makes values of different readers comparable: numbers by value, and without members that are null, because to them
// that is the same as missing.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, member := range v {
			if member != nil {
				out[name] = plain(member)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = plain(v[i])
		}
		return out
	case string:
		if digits, ok := strings.CutPrefix(v, "int:"); ok {
			return plain(json.Number(digits))
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return fmt.Sprint(n)
		}
		f, _ := v.Float64()
		if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return fmt.Sprint(int64(f))
		}
		return fmt.Sprintf("%g", f)
	}
	return v
}

// sample is a document of results with everything that columns can be, and its rows as a reader should see them.
func sample(t testing.TB, n int) (doc []byte, rows []any) {
	r := rand.New(rand.NewPCG(4, 2))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	models := map[string]any{}
	for m := range 4 {
		model := fmt.Sprintf("Modell-%d é/~", m)
		results := []any{}
		for i := range n / 4 {
			one := map[string]any{"id": fmt.Sprintf("r-%d-%d", m, i), "prompt": pick("flawed", "proper", "minimal"), "success": r.IntN(3) > 0,
				"seconds": float64(r.IntN(100_000)) / 1000, "turns": r.IntN(20), "big": int64(1)<<60 + int64(r.IntN(1000)),
				"usage": map[string]any{"in": r.IntN(9000), "detail": map[string]any{"cached": r.IntN(2) == 0}},
				"tools": []any{}, "text": pick("", "ä \"quoted\" \\ \n line", "plain", "日本")}
			for range r.IntN(4) {
				one["tools"] = append(one["tools"].([]any), map[string]any{"name": pick("search", "run"), "ms": r.IntN(500)})
			}
			switch r.IntN(4) {
			case 0:
				one["note"] = nil
			case 1:
				one["note"] = "a note"
			}
			one["mixed"] = []any{1, "one", map[string]any{"x": []any{1, 2}}}[r.IntN(3)]
			one["scores"] = map[string]any{fmt.Sprintf("case-%d", r.IntN(500)): r.Float64()}
			if r.IntN(5) == 0 {
				one["matrix"] = []any{[]any{1, 2}, []any{}, []any{3}}
			}
			results = append(results, one)
			row := map[string]any{"models": model, "results": i}
			for name, v := range one {
				row[name] = v
			}
			rows = append(rows, row)
		}
		models[model] = map[string]any{"results": results}
	}
	doc, err := json.MarshalIndent(map[string]any{"version": 1, "models": models}, "", "  ")
	require.NoError(t, err)
	for i, row := range rows { // numbers as text has them
		text, err := json.Marshal(row)
		require.NoError(t, err)
		rows[i] = plain(any(lines(t, text)[0]))
	}
	return doc, rows
}

func inOrder(t *testing.T, rows []map[string]any) (out []any) {
	for _, row := range rows {
		delete(row, "_null")
		out = append(out, plain(any(row)))
	}
	sort.SliceStable(out, func(i, j int) bool {
		return fmt.Sprint(out[i].(map[string]any)["id"]) < fmt.Sprint(out[j].(map[string]any)["id"])
	})
	return out
}

func requireSameRows(t *testing.T, want []any, got []map[string]any) {
	sorted := append([]any(nil), want...)
	sort.SliceStable(sorted, func(i, j int) bool {
		return fmt.Sprint(sorted[i].(map[string]any)["id"]) < fmt.Sprint(sorted[j].(map[string]any)["id"])
	})
	have := inOrder(t, got)
	require.Len(t, have, len(sorted))
	for i := range sorted {
		require.Equal(t, sorted[i], have[i])
	}
}

// Two readers that share no code with us see the same rows, and group them as stats does and as a plain program does.
func TestIndependentReaders(t *testing.T) {
	node := peers(t, "@duckdb/node-api", "hyparquet", "hyparquet-compressors")
	l := newLab(t)
	doc, rows := sample(t, 1000)
	require.NoError(t, os.WriteFile(l.file, doc, 0o644))
	l.jsonguard("export", "-q", l.file, "--records", pattern, "-o", "out.parquet")
	out := l.path("out.parquet")

	t.Run("DuckDB", func(t *testing.T) {
		requireSameRows(t, rows, node("duckdb.mjs", "select * from '"+out+"'"))
	})
	t.Run("hyparquet", func(t *testing.T) {
		requireSameRows(t, rows, node("hyparquet.mjs", out))
	})
	t.Run("types", func(t *testing.T) {
		types := map[string]string{}
		for _, column := range node("duckdb.mjs", "select column_name, column_type from (describe select * from '"+out+"')") {
			types[fmt.Sprint(column["column_name"])] = fmt.Sprint(column["column_type"])
		}
		for column, want := range map[string]string{"models": "VARCHAR", "results": "BIGINT", "success": "BOOLEAN", "seconds": "DOUBLE", "turns": "BIGINT",
			"big": "BIGINT", "usage": "STRUCT(detail STRUCT(cached BOOLEAN), \"in\" BIGINT)", "tools": "STRUCT(ms BIGINT, \"name\" VARCHAR)[]",
			"scores": "MAP(VARCHAR, DOUBLE)", "mixed": "JSON", "matrix": "BIGINT[][]"} {
			require.Equal(t, want, types[column], column)
		}
	})
	t.Run("groups", func(t *testing.T) {
		groups := func(rows []map[string]any) map[string]string {
			out := map[string]string{}
			for _, row := range rows {
				rate, err := row["rate"].(json.Number).Float64()
				require.NoError(t, err)
				out[fmt.Sprint(row["model"], "|", row["prompt"])] = fmt.Sprintf("%v %.12f", row["n"], rate)
			}
			return out
		}
		want := groups(node("groups.mjs", l.file))
		require.Len(t, want, 12)
		query := "select models as model, prompt, count(*) as n, avg(success::int) as rate from '%s' group by all"
		require.Equal(t, want, groups(node("duckdb.mjs", fmt.Sprintf(query, out))))

		// And as stats does.
		var stats struct {
			Groups []struct {
				Key    map[string]any
				Values map[string]json.Number
			}
		}
		require.NoError(t, json.Unmarshal([]byte(l.jsonguard("stats", l.file, "--records", pattern, "--by", "model=@1,prompt", "--agg", "mean:success,count", "--json")), &stats))
		var own []map[string]any
		for _, g := range stats.Groups {
			own = append(own, map[string]any{"model": g.Key["model"], "prompt": g.Key["prompt"], "n": g.Values["count"], "rate": g.Values["mean:success"]})
		}
		require.Equal(t, want, groups(own))

		// And over increments, whose columns grow.
		half := bytes.Replace(doc, []byte(`"turns": 7`), []byte(`"turns": 8`), 1)
		require.NoError(t, os.WriteFile(l.file, half, 0o644))
		l.jsonguard("export", "-q", l.file, "--records", pattern, "--increments", "inc")
		l.jsonguard("append", l.file, "/models/Modell-0 é~1~0/results", `{"id": "late", "prompt": "proper", "success": true, "late": 1.5, "turns": 0.5}`)
		l.jsonguard("export", "-q", l.file, "--records", pattern, "--increments", "inc")
		l.jsonguard("append", l.file, "/models/Modell-0 é~1~0/results", `{"id": "later", "prompt": "proper", "success": false}`)
		l.jsonguard("export", "-q", l.file, "--records", pattern, "--increments", "inc")
		files, err := filepath.Glob(l.path("inc/current/*.parquet"))
		require.NoError(t, err)
		require.Len(t, files, 2)
		require.Equal(t, groups(node("groups.mjs", l.file)), groups(node("duckdb.mjs", fmt.Sprintf(query, l.path("inc/current/*.parquet")))))
		require.Len(t, node("hyparquet.mjs", files...), 1002)
	})
	t.Run("back", func(t *testing.T) { // a file that DuckDB wrote is taken back
		node("duckdb_copy.mjs", "select * exclude (_null, mixed) from '"+out+"' order by models, results", l.path("duck.parquet"))
		l.jsonguard("import", "-q", "duck.parquet", "-o", "duck.json", "--records", pattern)
		l.jsonguard("export", "-q", "duck.json", "--records", pattern, "-o", "again.parquet")
		var want []any
		for _, row := range rows {
			row := row.(map[string]any)
			delete(row, "mixed")
			want = append(want, row)
		}
		requireSameRows(t, want, node("hyparquet.mjs", l.path("again.parquet")))
	})
}

// What goes out comes back equal, through the processes; also what only JSON text can hold.
func TestThereAndBack(t *testing.T) {
	l := newLab(t)
	doc := `{"models": {
  "a/b~c \u00e9": {"results": [
    {"n": 1, "big": 123456789012345678901234567890, "long": 3.14159265358979323846, "e": 1e5, "none": null, "": 1, "o": {}, "l": [], "s": "\ud800"},
    {"n": -9223372036854775808, "big": 1, "long": 0.1, "e": -0.0, "o": {"x": null}, "l": [null, [], [1]], "s": "x", "nan": NaN},
    {"n": 9223372036854775807, "none": 1, "o": {"x": {"y": true}}, "l": [[2, null]], "nan": -Infinity}
  ]},
  "": {"results": {"named": {"n": 5}, "other": {"n": 7, "none": null}}}
}}
`
	require.NoError(t, os.WriteFile(l.file, []byte(doc), 0o644))
	l.jsonguard("export", "-q", l.file, "--records", pattern, "-o", "out.parquet")
	l.jsonguard("import", "-q", "out.parquet", "-o", "back.json")
	// Equal by value: a patch in either direction, and the import into the original itself, have nothing to do.
	_, stderr, err := l.try("import", "-v", "out.parquet", "-o", l.file)
	require.NoError(t, err, stderr)
	require.Contains(t, stderr, "nothing changed")
	l.jsonguard("export", "-q", "back.json", "--records", pattern, "-o", "again.parquet")
	_, stderr, err = l.try("import", "-v", "again.parquet", "-o", l.file)
	require.NoError(t, err, stderr)
	require.Contains(t, stderr, "nothing changed")
	content, err := os.ReadFile(l.file)
	require.NoError(t, err)
	require.Equal(t, doc, string(content))
}

// DuckDB reads the files of the generation that the link leads to, over and over, while exports add, change and join: no row twice, none
// missing. (Asked for current/*.parquet it would leave out, silently, a file of its listing that the next generation has not.)
func TestDuckDBReadsWhileFilesAreJoined(t *testing.T) {
	node := peers(t, "@duckdb/node-api")
	l := newLab(t)
	s := state{"gpt": {{ID: "first", N: 1}}}
	valid := map[string]bool{}
	export := func(more ...string) {
		ids, sum := 0, 0
		for _, results := range s {
			for _, r := range results {
				ids, sum = ids+1, sum+r.N
			}
		}
		valid[fmt.Sprint(ids, " ", ids, " ", sum)] = true
		s.write(l)
		l.jsonguard(append([]string{"export", "-q", l.file, "--records", pattern, "--increments", "inc"}, more...)...)
	}
	export()
	query := "select count(*)::varchar as n, count(distinct id)::varchar as ids, sum(n)::varchar as total from '$DIR/*.parquet'"
	answers := make(chan []map[string]any, 1)
	go func() {
		defer close(answers) // also where it failed
		answers <- node("duckdb_loop.mjs", query, l.path("inc/current"), l.path("stop"))
	}()
	for round := range 30 {
		s["gpt"] = append(s["gpt"], result{ID: fmt.Sprint("a", round), N: round})
		export()
		s["falcon"] = append(s["falcon"], result{ID: fmt.Sprint("b", round), N: 1000 + round})
		s["gpt"][0].N += 7
		export()
		export("--compact")
	}
	require.NoError(t, os.WriteFile(l.path("stop"), nil, 0o644))
	read, late := 0, 0
	for _, row := range <-answers {
		if text, failed := row["error"].(string); failed { // by more than a minute
			require.Regexp(t, "No such file|No files found|[Cc]annot open", text)
			late++
			continue
		}
		require.True(t, valid[fmt.Sprint(row["n"], " ", row["ids"], " ", row["total"])], "%v", row)
		read++
	}
	require.NotZero(t, read)
	t.Logf("%d answers, %d came too late", read, late)
}
