package table

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Kind is what the values of a column are kept as.
type Kind string

// The kinds. A missing value and null are NULL in each of them.
const (
	Bool   Kind = "bool"
	Int    Kind = "int"    // 64 bits, signed
	Double Kind = "double" // 64 bits
	String Kind = "string" // UTF-8
	Text   Kind = "json"   // JSON text: whatever the others cannot hold
	Struct Kind = "struct"
	Map    Kind = "map"
	List   Kind = "list"
)

// Column says how the values at one place of the records are kept.
type Column struct {
	Name  string `json:"name,omitempty"`  // of the column and of the member it holds; of the fields of a Struct, and at the top
	Empty bool   `json:"empty,omitempty"` // the name of the member is "", which not every reader of Parquet takes
	Kind  Kind   `json:"kind"`

	// What NULL means: Null and not Missing: null. Otherwise: missing. Both: missing, unless the column of nulls of the
	// table lists the place.
	Null    bool `json:"null,omitempty"`
	Missing bool `json:"missing,omitempty"`

	Unlike bool     `json:"unlike,omitempty"` // strings that are mostly different: a dictionary of them does not pay
	Twice  bool     `json:"twice,omitempty"`  // there are objects in which a name comes twice
	Fields []Column `json:"fields,omitempty"` // of a Struct; one for the values of a Map, and for the elements of a List
}

// Member is the name in JSON.
func (c *Column) Member() string {
	if c.Empty {
		return ""
	}
	return c.Name
}

// Both says whether some are null and some are missing.
func (c *Column) Both() bool { return c.Null && c.Missing }

const maxColumns = 10_000

// Note explains what was done with values that no single type holds.
type Note struct {
	At   string `json:"column"` // names from the top, with dots; "": the record itself; [] for the elements of a list, {} for the values of a map
	Text string `json:"text"`
}

func (n Note) String() string {
	if n.At == "" {
		return "records: " + n.Text
	}
	return n.At + ": " + n.Text
}

// builder decides on columns and explains.
type builder struct {
	notes  []Note
	leaves int
}

func (b *builder) note(at, format string, args ...any) {
	b.notes = append(b.notes, Note{At: at, Text: fmt.Sprintf(format, args...)})
}

// column is what holds everything that p has seen. There were wanted values, some of which may be missing.
func (b *builder) column(at string, p *Profile, wanted int64, depth int) Column {
	c := Column{Null: p.Nulls > 0, Missing: wanted > p.values()+p.Nulls}
	c.Kind = b.kind(at, p, depth)
	switch c.Kind {
	case String:
		c.Unlike = 2*p.Unlike > p.Sampled
		b.leaves++
	case Struct:
		c.Twice = p.Doubled > 0
		if p.Doubled > 0 {
			b.note(at, "%s with a name that comes twice: the last one counts", count(p.Doubled, "object"))
		}
		c.Fields = b.fields(at, p, depth)
	case Map:
		c.Twice = p.Doubled > 0 || p.Values != nil
		values := p.Values
		if values == nil {
			values = new(Profile)
			for _, f := range p.Fields {
				values.Merge(&f.Profile)
			}
		}
		b.leaves++
		c.Fields = []Column{b.column(at+"{}", values, 0, depth+1)}
	case List:
		element := p.Element
		if element == nil {
			element = new(Profile)
		}
		c.Fields = []Column{b.column(at+"[]", element, 0, depth+1)}
	default:
		b.leaves++
	}
	return c
}

// fields are the columns of the members. Names that differ in case only stay as they are: a reader that ignores case
// (DuckDB) numbers them.
func (b *builder) fields(at string, p *Profile, depth int) []Column {
	taken := map[string]bool{}
	for _, f := range p.Fields {
		taken[f.Name] = true
	}
	wanted := p.Objects
	if p.Doubled > 0 {
		wanted = math.MaxInt64 // members were counted twice: some may be missing although the numbers are equal
	}
	columns := make([]Column, 0, len(p.Fields))
	for _, f := range p.Fields {
		name := f.Name
		if name == "" {
			name = unused("_empty", taken)
		}
		c := b.column(join(at, name), &f.Profile, wanted, depth+1)
		c.Name, c.Empty = name, f.Name == ""
		columns = append(columns, c)
	}
	return columns
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// unused is a name that is not taken, and takes it.
func unused(name string, taken map[string]bool) string {
	for taken[name] {
		name = "_" + name
	}
	taken[name] = true
	return name
}

// kind chooses, and says why where that is no matter of course.
func (b *builder) kind(at string, p *Profile, depth int) Kind {
	kinds := 0
	for _, n := range []int64{p.Bools, p.numbers(), p.strings(), p.Objects, p.Lists} {
		if n > 0 {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		return Text // nothing but null
	case kinds > 1:
		b.note(at, "%s: kept as JSON text", p.mixture())
		return Text
	case p.Bools > 0:
		return Bool
	case p.numbers() > 0:
		return b.number(at, p)
	case p.Lone > 0:
		b.note(at, "%s with half of a surrogate pair, which UTF-8 does not have, among %d: kept as JSON text", count(p.Lone, "string"), p.strings())
		return Text
	case p.strings() > 0:
		return String
	}
	switch {
	case p.Deep || depth >= maxDepth:
		b.note(at, "nested deeper than %d: kept as JSON text", maxDepth)
		return Text
	case p.Lists > 0:
		return List
	case p.Odd:
		b.note(at, "a name with half of a surrogate pair: kept as JSON text")
		return Text
	case p.Members == 0:
		b.note(at, "%s, all empty: kept as JSON text", count(p.Objects, "object"))
		return Text
	case p.Values != nil:
		b.note(at, "more than %d names: they are taken for data and kept as a map", maxNames)
		return Map
	case p.namesAreData():
		b.note(at, "%d names in %s, of %.1f members each: they are taken for data and kept as a map", len(p.Fields), count(p.Objects, "object"),
			float64(p.Members)/float64(p.Objects))
		return Map
	case b.leaves+len(p.Fields) > maxColumns:
		b.note(at, "more than %d columns: kept as JSON text", maxColumns)
		return Text
	}
	return Struct
}

// namesAreData: many names, of which each object has few.
func (p *Profile) namesAreData() bool {
	const many, few = 64, 8
	return len(p.Fields) > many && p.Members < p.Objects*int64(len(p.Fields))/few
}

func (b *builder) number(at string, p *Profile) Kind {
	switch {
	case p.Numbers > 0:
		b.note(at, "%s of %d with more digits than 64 bits hold: kept as JSON text", count(p.Numbers, "number"), p.numbers())
		return Text
	case p.Doubles == 0:
		return Int
	case p.BigInts > 0:
		b.note(at, "%s beyond 2^53 among %s: kept as JSON text, because a double would round them", count(p.BigInts, "integer"), count(p.Doubles, "number with a fraction"))
		return Text
	case p.Ints > 0:
		b.note(at, "%s among %s: kept as doubles, which hold all of them exactly", count(p.Ints, "integer"), count(p.Doubles, "number with a fraction"))
	}
	return Double
}

// mixture says how many there are of each type, the most first.
func (p *Profile) mixture() string {
	type part struct {
		n    int64
		what string
	}
	parts := []part{{p.strings(), "string"}, {p.numbers(), "number"}, {p.Bools, "boolean"}, {p.Objects, "object"}, {p.Lists, "list"}}
	slices.SortStableFunc(parts, func(a, b part) int { return int(b.n - a.n) })
	var words []string
	for _, part := range parts {
		if part.n > 0 {
			words = append(words, count(part.n, part.what))
		}
	}
	return strings.Join(words, ", ")
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if first, rest, ok := strings.Cut(what, " "); ok {
		return fmt.Sprintf("%d %ss %s", n, first, rest)
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// printable is a name for people: no control characters, and not endless.
func printable(name string) string {
	const limit = 60
	if utf8.RuneCountInString(name) > limit {
		name = string([]rune(name)[:limit]) + "…"
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '·'
		}
		return r
	}, name), "·")
}

// Field is the column of that name inside of a Struct, nil where there is none.
func (c *Column) Field(name string) *Column {
	if c == nil || c.Kind != Struct {
		return nil
	}
	for i := range c.Fields {
		if c.Fields[i].Name == name {
			return &c.Fields[i]
		}
	}
	return nil
}

// Inside is the column of the elements of a List or the values of a Map, nil where c is neither.
func (c *Column) Inside() *Column {
	if c == nil || c.Kind != List && c.Kind != Map {
		return nil
	}
	return &c.Fields[0]
}
