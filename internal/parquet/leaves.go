package parquet

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"jsonguard/internal/table"
	"jsonguard/merge"
)

// leafText says how a leaf column is written in JSON. The kind is Text where that has no kind of its own.
func leafText(c *parquet.Column) (table.Kind, func([]byte, parquet.Value) []byte) {
	t := c.Type()
	l := t.LogicalType()
	switch t.Kind() {
	case parquet.Boolean:
		return table.Bool, func(dst []byte, v parquet.Value) []byte { return strconv.AppendBool(dst, v.Boolean()) }
	case parquet.Int32, parquet.Int64:
		return table.Int, integerText(t.Kind(), l)
	case parquet.Int96:
		return table.Text, func(dst []byte, v parquet.Value) []byte { return appendInt96(dst, v) }
	case parquet.Float:
		return table.Double, func(dst []byte, v parquet.Value) []byte { return appendDouble(dst, float64(v.Float()), 32) }
	case parquet.Double:
		return table.Double, func(dst []byte, v parquet.Value) []byte { return appendDouble(dst, v.Double(), 64) }
	}
	if d, ok := logical[*format.DecimalType](l); ok {
		return table.Text, func(dst []byte, v parquet.Value) []byte { return appendDecimal(dst, signed(v.ByteArray()), d.Scale) }
	}
	if _, ok := logical[*format.JsonType](l); ok {
		return table.Text, appendJSON
	}
	if _, ok := logical[*format.UUIDType](l); ok {
		return table.String, func(dst []byte, v parquet.Value) []byte {
			b := v.ByteArray()
			return fmt.Appendf(dst, `"%x-%x-%x-%x-%x"`, b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
		}
	}
	return table.String, func(dst []byte, v parquet.Value) []byte { return appendBytes(dst, v.ByteArray()) }
}

func integerText(kind parquet.Kind, l *format.LogicalType) func([]byte, parquet.Value) []byte {
	number := parquet.Value.Int64
	if kind == parquet.Int32 {
		number = func(v parquet.Value) int64 { return int64(v.Int32()) }
	}
	if d, ok := logical[*format.DecimalType](l); ok {
		return func(dst []byte, v parquet.Value) []byte { return appendDecimal(dst, big.NewInt(number(v)), d.Scale) }
	}
	if i, ok := logical[*format.IntType](l); ok && !i.IsSigned {
		if kind == parquet.Int32 {
			return func(dst []byte, v parquet.Value) []byte { return strconv.AppendUint(dst, uint64(v.Uint32()), 10) }
		}
		return func(dst []byte, v parquet.Value) []byte { return strconv.AppendUint(dst, v.Uint64(), 10) }
	}
	if _, ok := logical[*format.DateType](l); ok {
		return func(dst []byte, v parquet.Value) []byte {
			return time.Unix(number(v)*24*60*60, 0).UTC().AppendFormat(dst, `"2006-01-02"`)
		}
	}
	if t, ok := logical[*format.TimestampType](l); ok {
		zone := ""
		if t.IsAdjustedToUTC {
			zone = "Z"
		}
		return func(dst []byte, v parquet.Value) []byte {
			return inUnits(number(v), t.Unit).AppendFormat(dst, `"2006-01-02T15:04:05.999999999`+zone+`"`)
		}
	}
	if t, ok := logical[*format.TimeType](l); ok {
		return func(dst []byte, v parquet.Value) []byte {
			return inUnits(number(v), t.Unit).AppendFormat(dst, `"15:04:05.999999999"`)
		}
	}
	return func(dst []byte, v parquet.Value) []byte { return strconv.AppendInt(dst, number(v), 10) }
}

func inUnits(n int64, unit format.TimeUnit) time.Time {
	each := int64(time.Microsecond)
	if unit.Value != nil {
		each = int64(unit.Value.Duration())
	}
	second := int64(time.Second) / each
	seconds := n / second
	if n%second < 0 {
		seconds--
	}
	return time.Unix(seconds, (n-seconds*second)*each).UTC()
}

// appendInt96 takes a timestamp as Hive and old Spark wrote it: nanoseconds of the day, and a Julian day.
func appendInt96(dst []byte, v parquet.Value) []byte {
	n := v.Int96()
	const epoch = 2_440_588 // the Julian day of 1970-01-01
	t := time.Unix((int64(n[2])-epoch)*24*60*60, int64(uint64(n[1])<<32|uint64(n[0]))).UTC()
	return t.AppendFormat(dst, `"2006-01-02T15:04:05.999999999"`)
}

// appendDouble writes a number as Python's json.dumps does: the shortest text that is read as the same double, always with
// a fraction or an exponent, and NaN and Infinity by name.
func appendDouble(dst []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, bits)
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, bits)
	for _, c := range dst[start:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

// signed reads a big-endian number in two's complement.
func signed(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

func appendDecimal(dst []byte, n *big.Int, scale int32) []byte {
	if n.Sign() < 0 {
		dst, n = append(dst, '-'), new(big.Int).Neg(n)
	}
	digits := n.String()
	const longest = 1000 // a file may claim any scale
	if scale <= 0 || scale > longest {
		return append(dst, digits...)
	}
	for len(digits) <= int(scale) {
		digits = "0" + digits
	}
	point := len(digits) - int(scale)
	return append(append(append(dst, digits[:point]...), '.'), digits[point:]...)
}

// appendJSON takes JSON text as it is, and what somebody called JSON and is not as a string.
func appendJSON(dst []byte, v parquet.Value) []byte {
	text := v.ByteArray()
	if doc, err := merge.Parse(text, merge.JSON); err != nil || doc.Missing() {
		return appendBytes(dst, text)
	}
	return merge.Compact(dst, text)
}

// appendBytes takes text, and other bytes in base64.
func appendBytes(dst, b []byte) []byte {
	if utf8.Valid(b) {
		return table.AppendQuoted(dst, b)
	}
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// keyText makes a name of what some writers use as the key of a map: a number.
func keyText(inner func([]byte, parquet.Value) []byte) func([]byte, parquet.Value) []byte {
	return func(dst []byte, v parquet.Value) []byte {
		start := len(dst)
		if dst = inner(dst, v); len(dst) > start && dst[start] != '"' {
			text := append([]byte(nil), dst[start:]...)
			dst = table.AppendQuoted(dst[:start], text)
		}
		return dst
	}
}
