// Package records goes over a JSON document and finds the records in it: the values at the places that a pattern
// matches, such as /models/*/results/*. It reads the text once, validates all of it on the way, and makes nothing of it: what
// it hands out are parts of that text. Beside the document it needs eight to sixteen bytes for each name of the objects that the
// pattern leads through, while it is in there, and none for the records.
//
//	s, err := records.New(src, merge.JSON, pattern, fields...)
//	err = s.Each(func(r *records.Record) error { … r.Raw, r.Fields[0], r.At() … }, again)
//
// What a record is:
//
//   - Records do not nest. What a pattern with ** matches inside of a record is a part of that.
//   - A document of JSON Lines is taken as the list of its lines: /* is each line, /*/runs/* each element of the list
//     runs of each line.
//   - Of a name that comes twice in an object the last one counts, as everywhere.
package records

import (
	"bytes"
	"strconv"

	"jsonguard/merge"
)

// Scan is a document with what is looked for in it.
type Scan struct {
	src    []byte
	format merge.Format
	path   path
	fields *field // nil: none
	count  int    // of fields

	doubles  doubles
	shadowed map[int]bool // where the values start whose names come again
	nearest  nearest
}

// Record is one value that the pattern matches. It is valid while the function that it is given to runs; the texts it
// refers to are parts of the document and stay.
type Record struct {
	Raw    []byte   // the JSON text, without white space around
	Fields [][]byte // the JSON text at each of the fields of New, nil where it is missing
	steps  []step
	src    []byte
	path   *path
}

// New looks for the values of src at the places that pattern matches. fields are pointers relative to a record; the
// empty one is the record itself. The error is about the pattern.
func New(src []byte, f merge.Format, pattern merge.Pattern, fields ...merge.Pointer) (*Scan, error) {
	p, err := compile(pattern)
	if err != nil {
		return nil, err
	}
	return &Scan{src: src, format: f, path: p, fields: fieldsOf(fields), count: len(fields)}, nil
}

// Each calls fn for every record, in the order of the document, until fn fails; it returns that error as it is. A
// *merge.SyntaxError says what is wrong with the document: fn may have been called for records in front of that place.
//
// That a name comes twice shows at the end of an object: records that are in the first of them were given to fn by then. Each
// then calls again and starts anew, once; whoever collects drops what it has. A further Each of the same Scan knows.
func (s *Scan) Each(fn func(*Record) error, again func()) error {
	if s.doubles == unknown {
		if err := s.walk(fn, noteNames); err != nil || s.doubles == none {
			return err
		}
		again()
		if err := s.walk(nil, findDoubles); err != nil {
			return err
		}
	}
	return s.walk(fn, plain)
}

// doubles is what is known of names that come twice on the way to records.
type doubles int

const (
	unknown doubles = iota
	none
	some // where the values are that do not count is in shadowed
)

func (s *Scan) walk(fn func(*Record) error, how mode) error {
	s.nearest = nearest{}
	w := walk{Scan: s, fn: fn, mode: how}
	w.record = Record{Fields: make([][]byte, s.count), src: s.src, path: &s.path}
	if err := w.document(); err != nil {
		if w.failed != nil {
			return w.failed
		}
		if whole := merge.Valid(s.src, s.format); whole != nil { // with line and column
			return whole
		}
		return err
	}
	if how == noteNames {
		s.doubles = none
		if w.twice {
			s.doubles = some
		}
	}
	return nil
}

// At is where the record is.
func (r *Record) At() merge.Pointer {
	at := make(merge.Pointer, len(r.steps))
	for i, s := range r.steps {
		at[i] = s.text(r.src)
	}
	return at
}

// Wildcards is how many steps of the pattern of s are * or **.
func (s *Scan) Wildcards() int { return len(s.path.wild) }

// Wildcard is what the i-th * or ** of the pattern, from 0, stands for: JSON text that is a name or, in an array, an
// index. For ** it is the pointer, as a string, of the steps that it took up: as few as possible.
func (r *Record) Wildcard(i int) []byte {
	if !r.path.anyDepth {
		return r.steps[r.path.wild[i]].raw(r.src)
	}
	return r.path.captured(r.At(), r.steps, r.src, i)
}

// step is one of the steps to a record: a name, by its place in the text, or an index.
type step struct {
	from, to int // of the name with its quotes; to is 0 for an index
	index    int
}

func (s step) raw(src []byte) []byte {
	if s.to == 0 {
		return strconv.AppendInt(nil, int64(s.index), 10)
	}
	return src[s.from:s.to]
}

func (s step) text(src []byte) string {
	if s.to == 0 {
		return strconv.Itoa(s.index)
	}
	return merge.Unquote(src[s.from:s.to])
}

// field is a place on the way to fields, as a tree: what is wanted of the value there and below it.
type field struct {
	wanted []int // the fields that are this value
	names  []string
	below  []*field // by names
}

func fieldsOf(pointers []merge.Pointer) *field {
	if len(pointers) == 0 {
		return nil
	}
	root := &field{}
	for i, p := range pointers {
		f := root
		for _, name := range p {
			f = f.child(name)
		}
		f.wanted = append(f.wanted, i)
	}
	return root
}

func (f *field) child(name string) *field {
	for i, have := range f.names {
		if have == name {
			return f.below[i]
		}
	}
	f.names = append(f.names, name)
	f.below = append(f.below, &field{})
	return f.below[len(f.below)-1]
}

// clear forgets what was found at and below f.
func (f *field) clear(found [][]byte) {
	for _, i := range f.wanted {
		found[i] = nil
	}
	for _, b := range f.below {
		b.clear(found)
	}
}

// CompleteLines leaves out the end of a JSON Lines document that is no value and has no newline: a line that is being
// appended this very moment, or whose writer died. cut is its length in bytes.
func CompleteLines(src []byte) (complete []byte, cut int) {
	start := bytes.LastIndexByte(src, '\n') + 1
	if start == len(src) || merge.Valid(src[start:], merge.Lines) == nil {
		return src, 0
	}
	return src[:start], len(src) - start
}
