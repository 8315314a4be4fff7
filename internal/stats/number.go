package stats

import (
	"bytes"
	"errors"
	"math"
	"math/big"
	"strconv"
)

// number is a JSON number: mantissa × 10^-scale, exactly. big is in the place of a mantissa beyond 18 digits.
type number struct {
	mantissa int64
	scale    int
	big      *big.Int
}

// maxScale bounds what is written out for a sum: 1e999999999 is short.
const maxScale = 100_000

var errNumber = errors.New("no number to calculate with")

// parseNumber reads the text of a number, true or false. NaN, Infinity and exponents beyond maxScale are errNumber.
func parseNumber(raw []byte) (number, error) {
	var n number
	switch raw[0] {
	case 't':
		return number{mantissa: 1}, nil
	case 'f':
		return number{}, nil
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
	default:
		return n, errNumber
	}
	i, digits, point := 0, 0, -1
	if raw[0] == '-' {
		i++
	}
	for ; i < len(raw); i++ {
		switch c := raw[i]; {
		case c >= '0' && c <= '9':
			if digits > 0 || c != '0' {
				digits++
			}
			if digits <= 18 {
				n.mantissa = 10*n.mantissa + int64(c-'0')
			}
			continue
		case c == '.':
			point = i
			continue
		case c == 'I': // -Infinity
			return n, errNumber
		}
		break // an exponent
	}
	mantissa := raw[:i]
	if point >= 0 {
		n.scale = i - point - 1
	}
	if i < len(raw) {
		exponent, err := strconv.Atoi(string(bytes.TrimPrefix(raw[i+1:], []byte("+"))))
		if err != nil || exponent > maxScale || exponent < -maxScale {
			return n, errNumber
		}
		n.scale -= exponent
	}
	if n.scale > 2*maxScale {
		return n, errNumber
	}
	if digits > 18 {
		n.big, _ = new(big.Int).SetString(string(bytes.Replace(mantissa, []byte("."), nil, 1)), 10)
		n.mantissa = 0
	} else if raw[0] == '-' {
		n.mantissa = -n.mantissa
	}
	return n, nil
}

func (n number) rat() *big.Rat {
	v := n.big
	if v == nil {
		v = big.NewInt(n.mantissa)
	}
	return rational(v, n.scale)
}

// exactPowers are those that a float64 holds exactly.
var exactPowers = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// float is the float64 nearest to n.
func (n number) float() float64 {
	const exact = 1 << 53
	if n.big == nil && n.scale >= 0 && n.scale < len(exactPowers) && n.mantissa > -exact && n.mantissa < exact {
		return float64(n.mantissa) / exactPowers[n.scale] // of two exact numbers: rounded once
	}
	f, _ := n.rat().Float64()
	return f
}

// rational is v × 10^-scale.
func rational(v *big.Int, scale int) *big.Rat {
	if scale <= 0 {
		return new(big.Rat).SetInt(new(big.Int).Mul(v, power(-scale)))
	}
	return new(big.Rat).SetFrac(v, power(scale))
}

func power(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// sum adds exactly, in any order with the same result. For each scale there is one integer.
type sum struct {
	parts []part
	large map[int]*big.Int // by scale: what does not fit into parts
}

type part struct {
	scale int
	v     int64
}

func (s *sum) add(n number) {
	if n.big != nil {
		s.addLarge(n.scale, n.big)
		return
	}
	for i := range s.parts {
		if p := &s.parts[i]; p.scale == n.scale {
			total := p.v + n.mantissa
			if (total > p.v) != (n.mantissa > 0) && n.mantissa != 0 { // overflow
				s.addLarge(p.scale, big.NewInt(p.v))
				total = n.mantissa
			}
			p.v = total
			return
		}
	}
	s.parts = append(s.parts, part{n.scale, n.mantissa})
}

func (s *sum) addLarge(scale int, v *big.Int) {
	if s.large == nil {
		s.large = map[int]*big.Int{}
	}
	if s.large[scale] == nil {
		s.large[scale] = new(big.Int)
	}
	s.large[scale].Add(s.large[scale], v)
}

// total is v × 10^-scale.
func (s *sum) total() (v *big.Int, scale int) {
	for _, p := range s.parts {
		scale = max(scale, p.scale)
	}
	for k := range s.large {
		scale = max(scale, k)
	}
	v = new(big.Int)
	for _, p := range s.parts {
		v.Add(v, new(big.Int).Mul(big.NewInt(p.v), power(scale-p.scale)))
	}
	for k, large := range s.large {
		v.Add(v, new(big.Int).Mul(large, power(scale-k)))
	}
	return v, scale
}

// text is the total as JSON, exactly; with an exponent where that is much shorter.
func (s *sum) text() []byte {
	v, scale := s.total()
	digits := new(big.Int).Abs(v).String()
	zeros := len(digits) - len(bytes.TrimRight([]byte(digits), "0"))
	if digits == "0" {
		return []byte("0")
	}
	if cut := min(zeros, scale); cut > 0 { // behind the point
		digits, scale, zeros = digits[:len(digits)-cut], scale-cut, zeros-cut
	}
	sign := ""
	if v.Sign() < 0 {
		sign = "-"
	}
	const long = 40
	switch {
	case scale == 0 && zeros > long:
		return []byte(sign + digits[:len(digits)-zeros] + "e" + strconv.Itoa(zeros))
	case scale == 0:
		return []byte(sign + digits)
	case scale > len(digits)+long:
		return []byte(sign + digits + "e-" + strconv.Itoa(scale))
	}
	for len(digits) <= scale {
		digits = "0" + digits
	}
	return []byte(sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:])
}

// mean is the total divided by n.
func (s *sum) mean(n int) []byte {
	v, scale := s.total()
	r := rational(v, scale)
	return ratText(r.Quo(r, new(big.Rat).SetInt64(int64(n))))
}

// ratText is the float64 nearest to r, as short as it can be written; an integer is exact.
func ratText(r *big.Rat) []byte {
	if r.IsInt() && r.Num().BitLen() <= 128 {
		return []byte(r.Num().String())
	}
	f, _ := r.Float64()
	if math.IsInf(f, 0) || f == 0 { // beyond a float64, but a number all the same
		return []byte(new(big.Float).SetPrec(64).SetRat(r).Text('g', 17))
	}
	format := byte('f')
	if abs := math.Abs(f); abs < 1e-6 || abs >= 1e21 { // as JavaScript and encoding/json have it
		format = 'e'
	}
	return strconv.AppendFloat(nil, f, format, -1, 64)
}
