package stats

import (
	"cmp"
	"math/big"
	"slices"
	"strconv"

	"jsonguard/merge"
)

// cell is one aggregate of one group.
type cell struct {
	count   int
	sum     sum
	extreme []byte // min, max
	samples []sample
	seen    map[string]struct{}
	scratch []byte
}

// sample is a value for a quantile.
type sample struct {
	near float64
	n    number
}

// add takes the text of a value in. It returns false for one that the function has no use for.
func (c *cell) add(f Func, raw []byte) bool {
	switch f {
	case Count:
		c.count++
	case Sum, Mean, Quantile:
		n, err := parseNumber(raw)
		if err != nil {
			return false
		}
		c.count++
		if f != Quantile {
			c.sum.add(n)
			return true
		}
		c.samples = append(c.samples, sample{n.float(), n})
	case Min, Max:
		k := rank(raw)
		if k > rankString || k == rankNumber && raw[len(raw)-1] > '9' { // NaN, Infinity
			return false
		}
		c.count++
		if c.extreme == nil || f == Min && Compare(raw, c.extreme) < 0 || f == Max && Compare(raw, c.extreme) > 0 {
			c.extreme = raw
		}
	case Distinct:
		c.scratch = merge.AppendCanonical(c.scratch[:0], raw)
		if _, ok := c.seen[string(c.scratch)]; !ok {
			if c.seen == nil {
				c.seen = map[string]struct{}{}
			}
			c.seen[string(c.scratch)] = struct{}{}
		}
	}
	return true
}

// result is the aggregate as JSON text, nil where there was no value to make one of.
func (c *cell) result(a Aggregate) []byte {
	switch {
	case a.Func == Count:
		return strconv.AppendInt(nil, int64(c.count), 10)
	case a.Func == Distinct:
		return strconv.AppendInt(nil, int64(len(c.seen)), 10)
	case a.Func == Sum:
		return c.sum.text()
	case c.count == 0:
		return nil
	case a.Func == Mean:
		return c.sum.mean(c.count)
	case a.Func == Quantile:
		return c.quantile(a.quantile)
	}
	return c.extreme
}

// quantile is at (n-1)·q of the values in order, between two of them in proportion; so have it NumPy, pandas and DuckDB's
// quantile_cont.
func (c *cell) quantile(q *big.Rat) []byte {
	slices.SortFunc(c.samples, func(a, b sample) int {
		if a.near != b.near {
			return cmp.Compare(a.near, b.near)
		}
		if a.n == b.n {
			return 0
		}
		return a.n.rat().Cmp(b.n.rat())
	})
	place := new(big.Rat).Mul(q, big.NewRat(int64(len(c.samples)-1), 1))
	below := new(big.Int).Quo(place.Num(), place.Denom())
	part := place.Sub(place, new(big.Rat).SetInt(below))
	i := int(below.Int64())
	low := c.samples[i].n.rat()
	if part.Sign() == 0 {
		return ratText(low)
	}
	step := c.samples[i+1].n.rat()
	step.Sub(step, low)
	return ratText(low.Add(low, step.Mul(step, part)))
}

// Ranks order values of different kinds, as jq does.
const (
	rankNull = iota
	rankFalse
	rankTrue
	rankNumber
	rankString
	rankArray
	rankObject
)

func rank(raw []byte) int {
	switch raw[0] {
	case 'n':
		return rankNull
	case 'f':
		return rankFalse
	case 't':
		return rankTrue
	case '"':
		return rankString
	case '[':
		return rankArray
	case '{':
		return rankObject
	}
	return rankNumber
}

// Compare orders JSON texts: null, false, true, numbers, strings, arrays, objects; nil, a missing value, is behind all.
func Compare(a, b []byte) int {
	if a == nil || b == nil {
		return cmp.Compare(boolInt(a == nil), boolInt(b == nil))
	}
	k := rank(a)
	if c := cmp.Compare(k, rank(b)); c != 0 {
		return c
	}
	switch k {
	case rankNumber:
		x, errX := parseNumber(a)
		y, errY := parseNumber(b)
		if errX == nil && errY == nil && x.scale == y.scale && x.big == nil && y.big == nil {
			return cmp.Compare(x.mantissa, y.mantissa)
		}
		return merge.CompareNumbers(a, b)
	case rankString:
		return cmp.Compare(merge.Unquote(a), merge.Unquote(b))
	case rankArray, rankObject:
		return cmp.Compare(string(merge.AppendCanonical(nil, a)), string(merge.AppendCanonical(nil, b)))
	}
	return 0
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
