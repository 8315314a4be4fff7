package parquet

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"jsonguard/internal/table"
)

// liveWhileEncoding is the most memory that was in use while that many rows were written.
func liveWhileEncoding(t *testing.T, rows int) (most uint64) {
	text := strings.Repeat("x", 100)
	record := func(dst []byte, i int) []byte { return fmt.Appendf(dst[:0], `{"id": "%d-%s", "n": %d}`, i, text, i) }
	in := table.NewInference("/*")
	for i := range 1000 {
		in.Add([][]byte{[]byte("0")}, record(nil, i))
	}
	tab, _ := in.Table(false)
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		stream, err := table.NewWriter(w, tab)
		var raw []byte
		for i := 0; i < rows && err == nil; i++ {
			raw = record(raw, i)
			err = stream.Write(table.Row{Steps: [][]byte{[]byte("1")}, Raw: raw})
			if i%20_000 == 19_999 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
		if err == nil {
			err = stream.Close()
		}
		_ = w.CloseWithError(err)
		done <- err
	}()
	written, err := Encode(io.Discard, r)
	require.NoError(t, err)
	require.NoError(t, <-done)
	require.EqualValues(t, rows, written)
	return most
}

// What is kept in memory is a row group, however many there are.
func TestMemoryIsThatOfARowGroup(t *testing.T) {
	one := liveWhileEncoding(t, rowsOfGroup)
	five := liveWhileEncoding(t, 5*rowsOfGroup)
	t.Logf("%d MB with one row group, %d MB with five", one>>20, five>>20)
	require.Less(t, five, 4*one) // all of it would be five times; what is garbage for the moment varies
}
