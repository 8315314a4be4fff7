package sidecar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func lineGenerator() *rapid.Generator[line] {
	return rapid.Custom(func(t *rapid.T) line {
		number := rapid.OneOf(rapid.SampledFrom([]uint64{0, 1, 9, 10, 999999999999999999, 1000000000000000000, math.MaxUint64}), rapid.Uint64())
		l := line{
			Seq: number.Draw(t, "seq"), Generation: number.Draw(t, "generation"),
			Monotonic: rapid.OneOf(rapid.SampledFrom([]int64{0, -1, math.MinInt64, math.MaxInt64}), rapid.Int64()).Draw(t, "monotonic"),
			New:       rapid.Bool().Draw(t, "new"),
		}
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{`{"op":"set","at":"/a","value":"\"x\\\\\""}`, `\`, `"`, "\n", "\u2028", "]", ","}))
		if rapid.Bool().Draw(t, "of operations") {
			for _, op := range rapid.SliceOfN(text, 1, 3).Draw(t, "ops") {
				l.Ops = append(l.Ops, opText(op))
			}
			return l
		}
		l.Ours, l.Base, l.Additions = text.Draw(t, "ours"), text.Draw(t, "base"), rapid.Bool().Draw(t, "additions")
		return l
	})
}

// Lines are written and read by hand, and by encoding/json, and are the same.
func TestLinesAreWhatEncodingJSONMakesOfThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := lineGenerator().Draw(t, "line")
		written := l.appendTo([]byte("in front"))[len("in front"):]
		object, ok := unsealed(bytes.TrimSuffix(written, []byte("\n")))
		require.True(t, ok)
		var standard line
		require.NoError(t, json.Unmarshal(object, &standard))
		require.Equal(t, l, standard)

		byJSON, err := json.Marshal(l)
		require.NoError(t, err)
		for _, text := range [][]byte{written, sealed(byJSON)} {
			text = bytes.TrimSuffix(text, []byte("\n"))
			read, ok := parseLine(text)
			require.True(t, ok)
			if l.Seq > 0 {
				require.Equal(t, l, read)
			}
			for _, watermark := range []uint64{0, math.MaxUint64} {
				var r readJournal
				e, ours, ok := r.entryOf(text, watermark)
				require.True(t, ok)
				require.Equal(t, entry{Seq: l.Seq, Generation: l.Generation, Monotonic: l.Monotonic, size: len(text), placeSize: e.placeSize}, e)
				if len(r.placeOf(&e)) > 0 {
					require.Len(t, l.Ops, 1)
					require.True(t, bytes.HasPrefix(l.Ops[0], fmt.Appendf(nil, `{"op":"set","at":"%s","value":"`, r.places)), "%s", l.Ops[0])
				}
				require.Equal(t, l.Ours, ours)
			}
		}
	})
}

// What scanLine takes, encoding/json takes as well, and finds the same in it.
func FuzzScanLine(f *testing.F) {
	l := line{Seq: 1, Generation: 2, Monotonic: -3, New: true, Ops: []opText{opText(`{"op":"set","at":"/a","value":"1"}`), opText("x")}}
	written := l.appendTo(nil)
	f.Add(written[:len(written)-1-sealSize])
	f.Add([]byte(`{"seq":01,"generation":0,"monotonic":-0,"ops":[""]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := scanLine(body)
		if !ok {
			return
		}
		var want line
		require.NoError(t, json.Unmarshal(append(bytes.Clone(body), '}'), &want), "%q", body)
		require.Equal(t, want, got, "%q", body)
	})
}
