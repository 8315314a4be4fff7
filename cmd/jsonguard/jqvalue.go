package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/itchyny/gojq"

	"jsonguard/merge"
)

// jqValue reads a document that was found valid into what gojq works on. encoding/json cannot: it refuses NaN and
// Infinity, which Python writes. Numbers stay text (json.Number), so that gojq renders those it does not touch as
// they were.
//
// gojq's objects have no order. The shape has the document's, so that it can be rendered in it and what the program
// adds goes to the end.
func jqValue(src []byte, format merge.Format) (any, *shape, error) {
	r := &reader{src: bytes.TrimPrefix(src, []byte("\ufeff"))}
	r.space()
	if format == merge.Lines {
		lines, s := []any{}, &shape{}
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

// shape is the order of keys in a value; nil for scalars.
type shape struct {
	keys     []string
	members  map[string]*shape
	elements []*shape
}

func (s *shape) member(name string) *shape {
	if s == nil {
		return nil
	}
	return s.members[name]
}

func (s *shape) element(i int) *shape {
	if s == nil || i >= len(s.elements) {
		return nil
	}
	return s.elements[i]
}

// order puts the keys the document has first, in its order.
func (s *shape) order(object map[string]any) []string {
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

func (s *shape) has(key string) bool {
	_, there := s.members[key]
	return there
}

// appendJQ renders a value as jq does, in the order of a shape.
func appendJQ(dst []byte, v any, s *shape) ([]byte, error) {
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
			if dst, err = appendJQ(dst, v[k], s.member(k)); err != nil {
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
			if dst, err = appendJQ(dst, e, s.element(i)); err != nil {
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

func (r *reader) value() (any, *shape) {
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

func (r *reader) array() (any, *shape) {
	list, s := []any{}, &shape{}
	for r.enter(']') {
		v, kid := r.value()
		list, s.elements = append(list, v), append(s.elements, kid)
	}
	return list, s
}

func (r *reader) object() (any, *shape) {
	object, s := map[string]any{}, &shape{members: map[string]*shape{}}
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
