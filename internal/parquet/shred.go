package parquet

import (
	"strconv"

	"github.com/parquet-go/parquet-go"

	"jsonguard/internal/table"
)

// Shredding takes a record apart into a list of values for each leaf column, with levels as Dremel has them: the
// definition level says how much of the path to a value is there, the repetition level which list it goes on with.
type shredder struct {
	columns [][]parquet.Value // of the rows that are collected
	steps   []*part
	record  *part
	nulls   int // the leaf column of explicit nulls, -1: none
	hash    int // -1: none

	path  []byte   // from the record to the value that is read, as a pointer, while a column of nulls is wanted
	found [][]byte // explicit nulls of this record
}

// part is a column of the table with its leaves and levels.
type part struct {
	*table.Column
	first, last int // leaves: first to last-1
	def         int // where the value is there and not null
	rep         int // inside of the list or map
	inside      []*part
	pointer     string         // "/name", for members
	names       map[string]int // places in inside, of a Struct
	expected    int            // of the next member
	seen        []uint64       // for each member: the object that had it last
	object      uint64         // counts objects
	at          []int          // Twice: where the value of each member starts, 0 is nowhere
}

func newShredder(t *table.Table) *shredder {
	s := &shredder{nulls: -1, hash: -1}
	for i := range t.Steps {
		s.steps = append(s.steps, s.part(&t.Steps[i], -1, 0))
	}
	// The record is the row, which is always there, or an optional column.
	above := 0
	if t.Spread() {
		above = -1
	}
	s.record = s.part(&t.Record, above, 0)
	if t.Nulls != "" {
		s.nulls = s.leaf()
	}
	if t.Hash != "" {
		s.hash = s.leaf()
	}
	return s
}

func (s *shredder) leaf() int {
	s.columns = append(s.columns, nil)
	return len(s.columns) - 1
}

// part numbers the leaves in the order of the schema. above is the definition level of what c is in.
func (s *shredder) part(c *table.Column, above, rep int) *part {
	p := &part{Column: c, first: len(s.columns), def: above + 1, rep: rep}
	switch c.Kind {
	case table.Struct:
		p.names = map[string]int{}
		p.seen = make([]uint64, len(c.Fields))
		if c.Twice {
			p.at = make([]int, len(c.Fields))
		}
		for i := range c.Fields {
			inside := s.part(&c.Fields[i], p.def, rep)
			inside.pointer = "/" + escapePointer(inside.Member())
			p.names[inside.Member()] = i
			p.inside = append(p.inside, inside)
		}
	case table.List:
		p.rep++
		p.inside = []*part{s.part(&c.Fields[0], p.def+1, p.rep)}
	case table.Map:
		p.rep++
		s.leaf() // the keys
		p.inside = []*part{s.part(&c.Fields[0], p.def+1, p.rep)}
	default:
		s.leaf()
	}
	p.last = len(s.columns)
	return p
}

// add takes a row. The values refer to its text.
func (s *shredder) add(row *table.Row) error {
	for i, p := range s.steps {
		if _, ok := s.value(p, row.Steps[i], 0, 0); !ok {
			return errOther
		}
	}
	s.found, s.path = s.found[:0], s.path[:0]
	if _, ok := s.value(s.record, row.Raw, 0, 0); !ok {
		return errOther
	}
	if s.nulls >= 0 {
		if len(s.found) == 0 {
			s.put(s.nulls, parquet.Value{}, 0, 0)
		}
		for i, pointer := range s.found {
			s.put(s.nulls, parquet.ByteArrayValue(pointer), min(i, 1), 2)
		}
	}
	if s.hash >= 0 {
		s.put(s.hash, parquet.Int64Value(int64(row.Hash)), 0, 0)
	}
	return nil
}

func (s *shredder) put(column int, v parquet.Value, rep, def int) {
	s.columns[column] = append(s.columns[column], v.Level(rep, def, column))
}

// absent writes NULL to all leaves of p. def is the level of what is still there.
func (s *shredder) absent(p *part, rep, def int) {
	for i := p.first; i < p.last; i++ {
		s.put(i, parquet.Value{}, rep, def)
	}
}

// value takes the value at raw[i] and returns the index behind it. false: it is none that the column was made for.
func (s *shredder) value(p *part, raw []byte, i, rep int) (end int, ok bool) {
	if i >= len(raw) {
		return i, false
	}
	c := raw[i]
	if c == 'n' {
		if p.def == 0 { // a row or a step
			return i, false
		}
		if p.Both() {
			s.found = append(s.found, append([]byte(nil), s.path...))
		}
		s.absent(p, rep, p.def-1)
		return i + len("null"), true
	}
	switch p.Kind {
	case table.Struct:
		if c != '{' {
			return i, false
		}
		return s.object(p, raw, i, rep)
	case table.List:
		if c != '[' {
			return i, false
		}
		return s.list(p, raw, i, rep)
	case table.Map:
		if c != '{' {
			return i, false
		}
		return s.entries(p, raw, i, rep)
	case table.Text:
		end = table.ValueEnd(raw, i)
		s.put(p.first, parquet.ByteArrayValue(raw[i:end]), rep, p.def)
		return end, true
	case table.String:
		if c != '"' {
			return i, false
		}
		end, escaped := table.StringEnd(raw, i)
		s.put(p.first, parquet.ByteArrayValue(unquoted(raw[i:end], escaped)), rep, p.def)
		return end, true
	}
	return s.word(p, raw, i, rep)
}

// word takes true, false and numbers.
func (s *shredder) word(p *part, raw []byte, i, rep int) (end int, ok bool) {
	end = table.ValueEnd(raw, i)
	word := raw[i:end]
	switch p.Kind {
	case table.Bool:
		s.put(p.first, parquet.BooleanValue(word[0] == 't'), rep, p.def)
		return end, word[0] == 't' || word[0] == 'f'
	case table.Int:
		n, isInt := table.ParseInt(word)
		s.put(p.first, parquet.Int64Value(n), rep, p.def)
		return end, isInt
	}
	n, isInt := table.ParseInt(word)
	f := float64(n)
	if !isInt {
		f = table.ParseDouble(word)
	}
	s.put(p.first, parquet.DoubleValue(f), rep, p.def)
	return end, word[0] != 't' && word[0] != 'f' && word[0] != '"' && word[0] != '{' && word[0] != '['
}

func unquoted(raw []byte, escaped bool) []byte {
	if !escaped {
		return raw[1 : len(raw)-1]
	}
	return table.AppendUnquoted(make([]byte, 0, len(raw)), raw)
}

func (s *shredder) object(p *part, raw []byte, i, rep int) (end int, ok bool) {
	if p.Twice {
		return s.objectTwice(p, raw, i, rep)
	}
	p.object++
	object := p.object
	p.expected = 0
	ok = true
	end = table.Members(raw, i, func(name []byte, escaped bool, value int) int {
		at := p.member(name, escaped)
		if at < 0 || p.seen[at] == object {
			ok = false
			return table.ValueEnd(raw, value)
		}
		p.seen[at] = object
		behind, fine := s.below(p.inside[at], raw, value, rep)
		ok = ok && fine
		return behind
	})
	for at, inside := range p.inside {
		if p.seen[at] != object {
			s.absent(inside, rep, p.def)
		}
	}
	return end, ok
}

// below takes a member of a Struct.
func (s *shredder) below(p *part, raw []byte, i, rep int) (end int, ok bool) {
	if s.nulls < 0 {
		return s.value(p, raw, i, rep)
	}
	length := len(s.path)
	s.path = append(s.path, p.pointer...)
	end, ok = s.value(p, raw, i, rep)
	s.path = s.path[:length]
	return end, ok
}

// objectTwice looks at all names before it takes a value: the last one of a name counts.
func (s *shredder) objectTwice(p *part, raw []byte, i, rep int) (end int, ok bool) {
	clear(p.at)
	ok = true
	p.expected = 0
	end = table.Members(raw, i, func(name []byte, escaped bool, value int) int {
		if at := p.member(name, escaped); at >= 0 {
			p.at[at] = value
		} else {
			ok = false
		}
		return table.ValueEnd(raw, value)
	})
	for k, at := range p.at {
		if at == 0 {
			s.absent(p.inside[k], rep, p.def)
			continue
		}
		_, fine := s.below(p.inside[k], raw, at, rep)
		ok = ok && fine
	}
	return end, ok
}

// member finds the place of a name: the one behind the last one found, where records look alike.
func (p *part) member(name []byte, escaped bool) int {
	if p.expected < len(p.inside) && !escaped && !p.inside[p.expected].Empty && p.inside[p.expected].Name == string(name[1:len(name)-1]) {
		p.expected++
		return p.expected - 1
	}
	at, known := p.names[string(unquoted(name, escaped))]
	if !known {
		return -1
	}
	p.expected = at + 1
	return at
}

func (s *shredder) list(p *part, raw []byte, i, rep int) (end int, ok bool) {
	ok = true
	n := 0
	end = table.Elements(raw, i, func(i int) int {
		length := len(s.path)
		if s.nulls >= 0 {
			s.path = strconv.AppendInt(append(s.path, '/'), int64(n), 10)
		}
		behind, fine := s.value(p.inside[0], raw, i, rep)
		ok = ok && fine
		s.path = s.path[:length]
		rep = p.rep
		n++
		return behind
	})
	if n == 0 {
		s.absent(p, rep, p.def)
	}
	return end, ok
}

// entries takes the members of an object that is a map.
func (s *shredder) entries(p *part, raw []byte, i, rep int) (end int, ok bool) {
	type entry struct {
		name  []byte
		value int
	}
	var list []entry
	places := map[string]int{}
	end = table.Members(raw, i, func(name []byte, escaped bool, value int) int {
		text := unquoted(name, escaped)
		if at, twice := places[string(text)]; twice {
			list[at].value = value
		} else {
			places[string(text)] = len(list)
			list = append(list, entry{text, value})
		}
		return table.ValueEnd(raw, value)
	})
	if len(list) == 0 {
		s.absent(p, rep, p.def)
		return end, true
	}
	ok = true
	for _, e := range list {
		s.put(p.first, parquet.ByteArrayValue(e.name), rep, p.def+1)
		length := len(s.path)
		if s.nulls >= 0 {
			s.path = append(append(s.path, '/'), escapePointer(string(e.name))...)
		}
		_, fine := s.value(p.inside[0], raw, e.value, rep)
		ok = ok && fine
		s.path = s.path[:length]
		rep = p.rep
	}
	return end, ok
}
