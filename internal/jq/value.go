// Package jq runs jq programs on documents that may hold what encoding/json refuses, and renders what they give in the
// order and with the literals of the document.
package jq

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"unicode/utf8"

	"github.com/itchyny/gojq"

	"jsonguard/merge"
)

// Value reads a document that was found valid into what gojq works on. encoding/json cannot: it refuses NaN and
// Infinity, which Python writes. Numbers stay text (json.Number), so that gojq renders those it does not touch as
// they were.
//
// gojq's objects have no order. The Shape has the document's, so that it can be rendered in it and what the program
// adds goes to the end.
func Value(src []byte, format merge.Format) (any, *Shape, error) {
	r := &reader{src: bytes.TrimPrefix(src, []byte("\ufeff"))}
	r.space()
	if format == merge.Lines {
		lines, s := []any{}, &Shape{}
		for r.at < len(r.src) {
			v, kid := r.value()
			lines, s.elements = append(lines, v), append(s.elements, kid)
			r.space()
		}
		return lines, s, r.err
	}
	if r.at == len(r.src) {
		return nil, nil, nil
	}
	v, s := r.value()
	return v, s, r.err
}

// Shape is the order of keys in a value; nil for scalars.
type Shape struct {
	keys     []string
	members  map[string]*Shape
	elements []*Shape
}

func (s *Shape) member(name string) *Shape {
	if s == nil {
		return nil
	}
	return s.members[name]
}

// Element is the order in an element of a list.
func (s *Shape) Element(i int) *Shape {
	if s == nil || i >= len(s.elements) {
		return nil
	}
	return s.elements[i]
}

// order puts the keys the document has first, in its order.
func (s *Shape) order(object map[string]any) []string {
	names := make([]string, 0, len(object))
	if s != nil {
		for _, k := range s.keys {
			if _, there := object[k]; there {
				names = append(names, k)
			}
		}
	}
	known := len(names)
	for k := range object {
		if s == nil || !s.has(k) {
			names = append(names, k)
		}
	}
	slices.Sort(names[known:])
	return names
}

func (s *Shape) has(key string) bool {
	_, there := s.members[key]
	return there
}

// Append renders a value as jq does, in the order of a Shape, and appends it to dst.
func Append(dst []byte, v any, s *Shape) ([]byte, error) {
	switch v := v.(type) {
	case map[string]any:
		dst = append(dst, '{')
		for i, k := range s.order(v) {
			if i > 0 {
				dst = append(dst, ',')
			}
			name, err := gojq.Marshal(k)
			if err != nil {
				return nil, err
			}
			dst = append(append(dst, name...), ':')
			if dst, err = Append(dst, v[k], s.member(k)); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = Append(dst, e, s.Element(i)); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case json.Number:
		return append(dst, v...), nil
	}
	text, err := gojq.Marshal(v)
	return append(dst, text...), err
}

// reader trusts its text: it was parsed before.
type reader struct {
	src []byte
	at  int
	err error
}

var errOutOfStep = errors.New("jq input: not the JSON that was parsed")

func (r *reader) space() {
	for r.at < len(r.src) && (r.src[r.at] == ' ' || r.src[r.at] == '\t' || r.src[r.at] == '\n' || r.src[r.at] == '\r') {
		r.at++
	}
}

func (r *reader) peek() byte {
	if r.at >= len(r.src) {
		r.err = errOutOfStep
		return 0
	}
	return r.src[r.at]
}

func (r *reader) value() (any, *Shape) {
	switch c := r.peek(); c {
	case '{':
		return r.object()
	case '[':
		return r.array()
	case '"':
		return r.string(), nil
	}
	word := string(r.word())
	switch word {
	case "null":
		return nil, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return json.Number(word), nil
}

func (r *reader) word() []byte {
	start := r.at
	for r.at < len(r.src) {
		if c := r.src[r.at]; c <= ' ' || c == ',' || c == ']' || c == '}' {
			break
		}
		r.at++
	}
	if r.at == start {
		r.err = errOutOfStep
		r.at = len(r.src)
	}
	return r.src[start:r.at]
}

func (r *reader) string() string {
	start := r.at
	for r.at++; r.at < len(r.src) && r.src[r.at] != '"'; r.at++ {
		if r.src[r.at] == '\\' {
			r.at++
		}
	}
	r.at = min(r.at+1, len(r.src))
	return text(r.src[start:r.at])
}

func (r *reader) array() (any, *Shape) {
	list, s := []any{}, &Shape{}
	for r.enter(']') {
		v, kid := r.value()
		list, s.elements = append(list, v), append(s.elements, kid)
	}
	return list, s
}

func (r *reader) object() (any, *Shape) {
	object, s := map[string]any{}, &Shape{members: map[string]*Shape{}}
	for r.enter('}') {
		name := r.string()
		r.space()
		r.at++ // the colon
		r.space()
		v, kid := r.value()
		if !s.has(name) {
			s.keys = append(s.keys, name)
		}
		object[name], s.members[name] = v, kid // of duplicates the last one counts
	}
	return object, s
}

// enter steps over the opening bracket or a comma to the next element; at the end it steps out.
func (r *reader) enter(end byte) bool {
	r.space()
	c := r.peek()
	if r.err != nil {
		return false
	}
	r.at++
	if c == end {
		return false
	}
	r.space()
	if r.peek() == end { // an empty list
		r.at++
		return false
	}
	return r.err == nil
}

// text decodes a valid string.
func text(value []byte) string {
	if bytes.IndexByte(value, '\\') < 0 && utf8.Valid(value) {
		return string(value[1 : len(value)-1])
	}
	var s string
	if json.Unmarshal(value, &s) != nil {
		return string(value)
	}
	return s
}
