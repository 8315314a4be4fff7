package watch

import (
	"math"
	"strconv"

	"jsonguard/internal/records"
	"jsonguard/merge"
)

// Pattern is something to count in the file.
type Pattern struct {
	Pattern merge.Pattern
	// Grow: the size of each value there must never get smaller: the length of a list or an object, or a number itself.
	// Otherwise the values are counted.
	Grow bool
}

// sizes of the values that a Grow pattern matches, by their place.
type sizes map[string]int64

// measure reads a version. The error says what is wrong with it, or with a pattern.
func measure(src []byte, f merge.Format, patterns []Pattern) ([]Count, []sizes, error) {
	if f == merge.Lines { // one may be on its way
		src, _ = records.CompleteLines(src)
	}
	counts, places := make([]Count, len(patterns)), make([]sizes, len(patterns))
	for i, p := range patterns {
		counts[i] = Count{Pattern: merge.Pointer(p.Pattern).String(), Grow: p.Grow}
		scan, err := records.New(src, f, p.Pattern)
		if err != nil {
			return nil, nil, err
		}
		reset := func() {
			counts[i].N, counts[i].Seen = 0, false
			if p.Grow {
				places[i] = sizes{}
			}
		}
		reset()
		err = scan.Each(func(r *records.Record) error {
			if !p.Grow {
				counts[i].N++
				counts[i].Seen = true
				return nil
			}
			if n, ok := sizeOf(r.Raw); ok {
				places[i][r.At().String()] = n
				counts[i].N += n
				counts[i].Seen = true
			}
			return nil
		}, reset)
		if err != nil {
			return nil, nil, err
		}
	}
	if len(patterns) == 0 {
		return counts, places, merge.Valid(src, f)
	}
	return counts, places, nil
}

// sizeOf is a length, or a number without what is behind its point.
func sizeOf(raw []byte) (int64, bool) {
	if n, ok := records.Len(raw); ok {
		return int64(n), true
	}
	if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.Abs(f) > 1<<62 {
		return 0, false
	}
	return int64(math.Floor(f)), true
}
