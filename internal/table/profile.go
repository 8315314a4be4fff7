package table

import (
	"bytes"
	"hash/maphash"
	"math"
	"strconv"
	"unsafe"
)

// Profile counts what was seen at one place of the records. Profiles of different records can be added up.
type Profile struct {
	Nulls   int64 `json:"nulls,omitempty"`
	Bools   int64 `json:"bools,omitempty"`
	Ints    int64 `json:"ints,omitempty"`    // fit into 64 bits
	BigInts int64 `json:"bigInts,omitempty"` // those of Ints beyond 2^53, which doubles round
	Doubles int64 `json:"doubles,omitempty"` // other numbers that a double holds: it prints as the same number
	Numbers int64 `json:"numbers,omitempty"` // numbers that neither holds
	Strings int64 `json:"strings,omitempty"`
	Lone    int64 `json:"lone,omitempty"`    // strings with a lone surrogate, which UTF-8 has not
	Sampled int64 `json:"sampled,omitempty"` // strings that were looked at more closely: the first ones
	Unlike  int64 `json:"unlike,omitempty"`  // those of Sampled that differ from all before
	Objects int64 `json:"objects,omitempty"`
	Lists   int64 `json:"lists,omitempty"`

	Doubled int64    `json:"doubled,omitempty"` // objects with a name that comes twice: the last one counts
	Members int64    `json:"members,omitempty"` // of all objects
	Deep    bool     `json:"deep,omitempty"`    // nested deeper than is looked into
	Odd     bool     `json:"odd,omitempty"`     // a name that no column can have
	Fields  []*Field `json:"fields,omitempty"`  // of the objects, in the order they were seen first
	Values  *Profile `json:"values,omitempty"`  // of the objects instead, when they have more names than columns
	Element *Profile `json:"element,omitempty"` // of the lists

	sample map[uint64]struct{} // hashes of the strings of Sampled
	names  map[string]int      // places in Fields
	seen   int64               // the object that had this member last; counts from 1 in each profile
	next   int                 // the field that is expected next
}

// Field is a member by name.
type Field struct {
	Name string `json:"name"`
	Profile
}

const (
	maxNames = 1000 // of one object: more are taken for data
	maxDepth = 32

	maxSample = 512 // strings of a place
)

// Add looks at the value at raw[i] and returns the index behind it.
func (p *Profile) Add(raw []byte, i int) int { return p.add(raw, i, 0) }

func (p *Profile) add(raw []byte, i, depth int) int {
	if i >= len(raw) {
		return i
	}
	switch c := raw[i]; c {
	case '"':
		end, escaped := StringEnd(raw, i)
		if escaped && loneSurrogate(raw[i:end]) {
			p.Lone++
		} else {
			p.Strings++
		}
		if p.Sampled < maxSample {
			p.addSample(raw[i:end])
		}
		return end
	case '{':
		p.Objects++
		if depth == maxDepth {
			p.Deep = true
			return ValueEnd(raw, i)
		}
		return p.addObject(raw, i, depth)
	case '[':
		p.Lists++
		if depth == maxDepth {
			p.Deep = true
			return ValueEnd(raw, i)
		}
		return Elements(raw, i, func(i int) int {
			if p.Element == nil {
				p.Element = new(Profile)
			}
			return p.Element.add(raw, i, depth+1)
		})
	}
	end := wordEnd(raw, i)
	switch raw[i] {
	case 't', 'f':
		p.Bools++
	case 'n':
		p.Nulls++
	default:
		p.addNumber(raw[i:end])
	}
	return end
}

// addSample counts how many of the first strings are different. Only speed and size depend on it.
func (p *Profile) addSample(raw []byte) {
	if p.sample == nil {
		p.sample = make(map[uint64]struct{}, 64)
	}
	p.sample[maphash.Bytes(seed, raw)] = struct{}{}
	p.Sampled++
	if p.Unlike = int64(len(p.sample)); p.Sampled == maxSample {
		p.sample = nil
	}
}

var seed = maphash.MakeSeed()

func (p *Profile) addObject(raw []byte, i, depth int) int {
	object := p.Objects
	twice := false
	p.next = 0
	end := Members(raw, i, func(name []byte, escaped bool, value int) int {
		p.Members++
		if p.Values != nil {
			return p.Values.add(raw, value, depth+1)
		}
		f := p.field(name, escaped)
		if f == nil { // too many
			return p.Values.add(raw, value, depth+1)
		}
		if f.seen == object {
			// The earlier value was counted: what it was may widen the column, which costs nothing but space.
			twice = true
		}
		f.seen = object
		return f.add(raw, value, depth+1)
	})
	if twice {
		p.Doubled++
	}
	return end
}

// field finds the member of that name, which is the one behind the last one found where records look alike. nil: there
// are too many names, and Values is there instead.
func (p *Profile) field(name []byte, escaped bool) *Field {
	if p.next < len(p.Fields) && !escaped && p.Fields[p.next].Name == string(name[1:len(name)-1]) {
		p.next++
		return p.Fields[p.next-1]
	}
	text := unquoted(name, escaped)
	at, known := p.names[text]
	if !known {
		if escaped && loneSurrogate(name) {
			p.Odd = true
		}
		if len(p.Fields) == maxNames {
			p.collapse()
			return nil
		}
		if p.names == nil {
			p.names = map[string]int{}
		}
		at = len(p.Fields)
		p.names[text] = at
		p.Fields = append(p.Fields, &Field{Name: text})
	}
	p.next = at + 1
	return p.Fields[at]
}

// collapse takes all names for data: only what is behind them is told apart.
func (p *Profile) collapse() {
	p.Values = new(Profile)
	for _, f := range p.Fields {
		p.Values.Merge(&f.Profile)
	}
	p.Fields, p.names = nil, nil
}

func (p *Profile) addNumber(word []byte) {
	n, isInt := ParseInt(word)
	switch {
	case isInt:
		p.Ints++
		if n > 1<<53 || n < -1<<53 { // some of them are doubles, but then they are printed as another number
			p.BigInts++
		}
	case isDouble(word):
		p.Doubles++
	default:
		p.Numbers++
	}
}

// ParseInt reads an integer of 64 bits. -0 is none: it is another number in a double.
func ParseInt(word []byte) (int64, bool) {
	digits := word
	if digits[0] == '-' {
		digits = digits[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		n, err := strconv.ParseInt(string(word), 10, 64)
		return n, err == nil
	}
	var n int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if len(digits) < len(word) {
		return -n, n != 0
	}
	return n, true
}

// ParseDouble reads what isDouble accepts.
func ParseDouble(word []byte) float64 {
	switch string(word) {
	case "NaN":
		return math.NaN()
	case "Infinity":
		return math.Inf(1)
	case "-Infinity":
		return math.Inf(-1)
	}
	f, _ := strconv.ParseFloat(unsafe.String(unsafe.SliceData(word), len(word)), 64) // it keeps no part of the text
	return f
}

// isDouble says whether the shortest text of the nearest double is the same number. Up to 15 digits in the range where
// doubles are normal it always is (DBL_DIG).
func isDouble(word []byte) bool {
	switch word[len(word)-1] {
	case 'N', 'y':
		return true
	}
	digits, exponent := 0, false
	for _, c := range word {
		switch {
		case c == 'e' || c == 'E':
			exponent = true
		case c >= '0' && c <= '9':
			digits++
		}
	}
	if !exponent && digits <= 15 {
		return true
	}
	f := ParseDouble(word)
	if math.IsInf(f, 0) {
		return false
	}
	var few [32]byte
	return sameNumber(word, strconv.AppendFloat(few[:0], f, 'e', -1, 64))
}

// sameNumber compares two number texts by their digits and where the point stands.
func sameNumber(a, b []byte) bool {
	x, ok := normal(a)
	y, also := normal(b)
	return ok && also && x == y
}

type normalized struct {
	negative bool
	digits   string // without zeros around
	point    int64  // how many digits stand before it
}

// normal: false where the exponent is no number that anybody writes.
func normal(word []byte) (normalized, bool) {
	var n normalized
	if word[0] == '-' {
		n.negative, word = true, word[1:]
	}
	if i := bytes.IndexAny(word, "eE"); i >= 0 {
		exponent := bytes.TrimPrefix(word[i+1:], []byte("+"))
		var err error
		if n.point, err = strconv.ParseInt(string(exponent), 10, 32); err != nil {
			return n, false
		}
		word = word[:i]
	}
	whole, fraction, _ := bytes.Cut(word, []byte("."))
	n.point += int64(len(whole))
	all := append(append(make([]byte, 0, len(word)), whole...), fraction...)
	trimmed := bytes.TrimLeft(all, "0")
	n.point -= int64(len(all) - len(trimmed))
	n.digits = string(bytes.TrimRight(trimmed, "0"))
	if n.digits == "" {
		n.point = 0
	}
	return n, true
}

// Merge adds what was seen elsewhere.
func (p *Profile) Merge(q *Profile) {
	for _, n := range []struct{ to, from *int64 }{
		{&p.Nulls, &q.Nulls}, {&p.Bools, &q.Bools}, {&p.Ints, &q.Ints}, {&p.BigInts, &q.BigInts}, {&p.Doubles, &q.Doubles},
		{&p.Numbers, &q.Numbers}, {&p.Strings, &q.Strings}, {&p.Lone, &q.Lone}, {&p.Objects, &q.Objects}, {&p.Lists, &q.Lists},
		{&p.Doubled, &q.Doubled}, {&p.Members, &q.Members}, {&p.Sampled, &q.Sampled}, {&p.Unlike, &q.Unlike},
	} {
		*n.to += *n.from
	}
	p.Deep, p.Odd = p.Deep || q.Deep, p.Odd || q.Odd
	if q.Element != nil {
		if p.Element == nil {
			p.Element = new(Profile)
		}
		p.Element.Merge(q.Element)
	}
	p.mergeFields(q)
}

func (p *Profile) mergeFields(q *Profile) {
	if q.Values != nil && p.Values == nil {
		p.collapse()
	}
	if q.Values != nil {
		p.Values.Merge(q.Values)
	}
	for _, f := range q.Fields {
		if p.Values != nil {
			p.Values.Merge(&f.Profile)
			continue
		}
		p.index()
		at, known := p.names[f.Name]
		if !known {
			if len(p.Fields) == maxNames {
				p.collapse()
				p.Values.Merge(&f.Profile)
				continue
			}
			at = len(p.Fields)
			p.names[f.Name] = at
			p.Fields = append(p.Fields, &Field{Name: f.Name})
		}
		p.Fields[at].Merge(&f.Profile)
	}
}

// index makes the table of names of a profile that was read from a file.
func (p *Profile) index() {
	if p.names != nil {
		return
	}
	p.names = map[string]int{}
	for i, f := range p.Fields {
		p.names[f.Name] = i
	}
}

// values is how many there were that are not null.
func (p *Profile) values() int64 {
	return p.Bools + p.numbers() + p.strings() + p.Objects + p.Lists
}

func (p *Profile) numbers() int64 { return p.Ints + p.Doubles + p.Numbers }

func (p *Profile) strings() int64 { return p.Strings + p.Lone }
