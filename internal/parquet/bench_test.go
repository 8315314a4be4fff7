package parquet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/stretchr/testify/require"

	"jsonguard/internal/records"
	"jsonguard/internal/table"
	"jsonguard/merge"
)

// result is a record as a program that decodes has it.
type result struct {
	TestID   string   `json:"test_id" parquet:"test_id"`
	Prompt   string   `json:"prompt_type" parquet:"prompt_type"`
	Success  bool     `json:"success" parquet:"success"`
	Seconds  float64  `json:"seconds" parquet:"seconds"`
	When     string   `json:"when" parquet:"when"`
	Turns    int64    `json:"turns" parquet:"turns"`
	Score    *float64 `json:"score" parquet:"score,optional"`
	Tools    []string `json:"tools" parquet:"tools,list"`
	Usage    usage    `json:"usage" parquet:"usage"`
	Error    *string  `json:"error" parquet:"error,optional"`
	Response string   `json:"response" parquet:"response"`
}

type usage struct {
	Prompt     int64 `json:"prompt" parquet:"prompt"`
	Completion int64 `json:"completion" parquet:"completion"`
}

// row is a result with its place, as export writes it.
type row struct {
	Model string `parquet:"models"`
	Place int64  `parquet:"results"`
	result
}

var words = []string{"the", "tool", "search", "was", "called", "with", "file", "and", "returned", "no", "result", "after", "timeout", "of", "seconds", "retry", "model", "plan", "step", "next"}

// testResults is a document of at least size bytes, and its rows.
func testResults(size int) (src []byte, rows []row) {
	r := rand.New(rand.NewPCG(1, 2))
	prompts, tools := []string{"flawed", "proper", "minimal"}, []string{"search", "read_file", "write_file", "execute", "http_get"}
	src = append(src, `{"version": 3, "models": {`...)
	for m := 0; len(src) < size; m++ {
		if m > 0 {
			src = append(src, ',')
		}
		name := fmt.Sprintf("model-%d", m)
		src = fmt.Appendf(src, "\n  %q: {\"results\": [", name)
		for i := range 4000 {
			one := result{TestID: fmt.Sprintf("t-%d-%d", m, i), Prompt: prompts[r.IntN(3)], Success: r.IntN(5) > 0, Seconds: float64(r.IntN(1e6)) / 1000,
				When: fmt.Sprintf("2026-%02d-%02dT%02d:%02d:%02d", 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60)), Turns: int64(r.IntN(12)),
				Tools: tools[:r.IntN(4)], Usage: usage{int64(r.IntN(9000)), int64(r.IntN(4000))}}
			if r.IntN(4) > 0 {
				score := float64(r.IntN(1000)) / 1000
				one.Score = &score
			}
			if r.IntN(5) == 0 {
				text := fmt.Sprintf("timeout after %d s", r.IntN(100))
				one.Error = &text
			}
			for range 5 + r.IntN(30) {
				one.Response += words[r.IntN(len(words))] + " "
			}
			text, err := json.MarshalIndent(one, "      ", "  ")
			if err != nil {
				panic(err)
			}
			if i > 0 {
				src = append(src, ',')
			}
			src = append(append(src, "\n      "...), text...)
			rows = append(rows, row{Model: name, Place: int64(i), result: one})
		}
		src = append(src, "\n  ]}"...)
	}
	return append(src, "\n}}\n"...), rows
}

// export does what the verb does, in one process.
func export(tb testing.TB, src []byte, out io.Writer) {
	pattern, err := merge.ParsePattern("/models/*/results/*")
	require.NoError(tb, err)
	scan, err := records.New(src, merge.JSON, pattern)
	require.NoError(tb, err)
	each := func(f func(steps [][]byte, raw []byte) error) {
		steps := make([][]byte, 2)
		require.NoError(tb, scan.Each(func(r *records.Record) error {
			steps[0], steps[1] = r.Wildcard(0), r.Wildcard(1)
			return f(steps, r.Raw)
		}, func() {}))
	}
	in := table.NewInference("/models/*/results/*")
	each(func(steps [][]byte, raw []byte) error { in.Add(steps, raw); return nil })
	t, _ := in.Table(false)
	r, w := io.Pipe()
	go func() {
		stream, err := table.NewWriter(w, t)
		if err == nil {
			each(func(steps [][]byte, raw []byte) error { return stream.Write(table.Row{Steps: steps, Raw: raw}) })
			err = stream.Close()
		}
		_ = w.CloseWithError(err)
	}()
	_, err = Encode(out, r)
	require.NoError(tb, err)
}

// BenchmarkExportBesideTheLibrary measures what export costs beside parquet-go alone, which gets the same records decoded and
// writes the same columns with the same compression. In turns, in one run; the medians of the ratios count. x/library is
// by the clock and must stay under 2; on a machine that does other things as well, cpu-x/library is the one to believe.
//
//	go test ./internal/parquet -run '^$' -bench BesideTheLibrary -benchtime 1x
func BenchmarkExportBesideTheLibrary(b *testing.B) {
	src, rows := testResults(64 << 20)
	measured := func(f func()) (clock, cpu float64) {
		runtime.GC()
		began, used := time.Now(), cpuTime()
		f()
		return time.Since(began).Seconds(), (cpuTime() - used).Seconds()
	}
	for b.Loop() {
		var ratios, cpus, ours []float64
		var size int
		for range 7 {
			var lib, out bytes.Buffer
			library, libraryCPU := measured(func() {
				w := parquet.NewGenericWriter[row](&lib, parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}))
				for part := range slices.Chunk(rows, 1024) {
					_, err := w.Write(part)
					require.NoError(b, err)
				}
				require.NoError(b, w.Close())
			})
			own, ownCPU := measured(func() { export(b, src, &out) })
			ratios, cpus, ours = append(ratios, own/library), append(cpus, ownCPU/libraryCPU), append(ours, own)
			size = out.Len()
			b.Logf("parquet-go alone %.2f s (cpu %.2f, %d bytes), export %.2f s (cpu %.2f, %d bytes): %.2f, cpu %.2f",
				library, libraryCPU, lib.Len(), own, ownCPU, size, own/library, ownCPU/libraryCPU)
		}
		median := func(of []float64) float64 { slices.Sort(of); return of[len(of)/2] }
		b.ReportMetric(median(ratios), "x/library")
		b.ReportMetric(median(cpus), "cpu-x/library")
		b.ReportMetric(float64(len(src))/1e6/median(ours), "MB/s")
		b.ReportMetric(100*(1-float64(size)/float64(len(src))), "%smaller")
	}
}

// BenchmarkQueryBesideDecoding measures what a group-by over three columns of the Parquet file costs in Go, beside the same over
// the JSON decoded with encoding/json into structs. In turns, in one run; the median of the ratios counts.
//
//	go test ./internal/parquet -run '^$' -bench QueryBesideDecoding -benchtime 1x
func BenchmarkQueryBesideDecoding(b *testing.B) {
	src, rows := testResults(50 << 20)
	var file bytes.Buffer
	export(b, src, &file)
	type group struct{ n, good int }
	count := func(groups map[[2]string]group, model, prompt string, success bool) {
		g := groups[[2]string{model, prompt}]
		g.n++
		if success {
			g.good++
		}
		groups[[2]string{model, prompt}] = g
	}
	for b.Loop() {
		var ratios []float64
		for range 5 {
			began := time.Now()
			var doc struct {
				Models map[string]struct{ Results []result }
			}
			require.NoError(b, json.Unmarshal(src, &doc))
			fromJSON := map[[2]string]group{}
			for model, m := range doc.Models {
				for _, r := range m.Results {
					count(fromJSON, model, r.Prompt, r.Success)
				}
			}
			decoding := time.Since(began)

			began = time.Now()
			type column struct {
				Model   string `parquet:"models"`
				Prompt  string `parquet:"prompt_type,optional"`
				Success *bool  `parquet:"success,optional"`
			}
			r := parquet.NewGenericReader[column](bytes.NewReader(file.Bytes()))
			fromParquet := map[[2]string]group{}
			for buf := make([]column, 1024); ; {
				n, err := r.Read(buf)
				for _, c := range buf[:n] {
					count(fromParquet, c.Model, c.Prompt, *c.Success)
				}
				if err != nil {
					require.ErrorIs(b, err, io.EOF)
					break
				}
			}
			query := time.Since(began)
			require.Equal(b, fromJSON, fromParquet)
			ratios = append(ratios, decoding.Seconds()/query.Seconds())
			b.Logf("decoding %.3f s, query %.3f s: %.1f", decoding.Seconds(), query.Seconds(), ratios[len(ratios)-1])
		}
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "x-faster")
		b.ReportMetric(100*(1-float64(file.Len())/float64(len(src))), "%smaller")
	}
	b.Logf("%d bytes of JSON, %d of Parquet, %d records", len(src), file.Len(), len(rows))
}
