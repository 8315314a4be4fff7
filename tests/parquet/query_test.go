package parquet

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkDuckDBBesideDecoding measures a group-by that DuckDB does over the Parquet file of 50 MB of JSON, beside the same in Go
// over the JSON decoded with encoding/json.
//
//	JSONGUARD_PEERS=… go test ./tests/parquet -run '^$' -bench DuckDBBesideDecoding -benchtime 1x
func BenchmarkDuckDBBesideDecoding(b *testing.B) {
	node := peers(b, "@duckdb/node-api")
	l := newLab(b)
	doc, _ := sample(b, 80_000)
	require.NoError(b, os.WriteFile(l.file, doc, 0o644))
	l.jsonguard("export", "-q", l.file, "--records", pattern, "-o", "out.parquet")
	info, err := os.Stat(l.path("out.parquet"))
	require.NoError(b, err)
	for b.Loop() {
		var decoding []float64
		for range 5 {
			began := time.Now()
			var all struct {
				Models map[string]struct {
					Results []struct {
						ID, Prompt, Text string
						Success          bool
						Seconds          float64
						Turns            int
						Big              int64
						Usage            struct {
							In     int
							Detail struct{ Cached bool }
						}
						Tools []struct {
							Name string
							MS   int
						}
						Note   *string
						Mixed  any
						Scores map[string]float64
						Matrix [][]int
					}
				}
			}
			require.NoError(b, json.Unmarshal(doc, &all))
			groups := map[[2]string]int{}
			for model, m := range all.Models {
				for _, r := range m.Results {
					if r.Success {
						groups[[2]string{model, r.Prompt}]++
					}
				}
			}
			decoding = append(decoding, time.Since(began).Seconds())
		}
		slices.Sort(decoding)
		query := node("duckdb_time.mjs", "select models, prompt, count(*), avg(success::int) from '"+l.path("out.parquet")+"' group by all")
		seconds, err := query[0]["seconds"].(json.Number).Float64()
		require.NoError(b, err)
		b.ReportMetric(decoding[2]/seconds, "x-faster")
		b.ReportMetric(100*(1-float64(info.Size())/float64(len(doc))), "%smaller")
		b.Logf("%d bytes of JSON decoded in %.3f s, %d bytes of Parquet queried in %.4f s", len(doc), decoding[2], info.Size(), seconds)
	}
}
