package main

import (
	"bytes"
	"encoding/json"
	"errors"

	"jsonguard/merge"
)

// jqValue reads a document that was found valid into what gojq works on. encoding/json cannot: it refuses NaN and
// Infinity, which Python writes. Numbers stay text (json.Number), so that gojq renders those it does not touch as
// they were.
func jqValue(src []byte, format merge.Format) (any, error) {
	r := &reader{src: bytes.TrimPrefix(src, []byte("\ufeff"))}
	r.space()
	if format == merge.Lines {
		lines := []any{}
		for r.at < len(r.src) {
			lines = append(lines, r.value())
			r.space()
		}
		return lines, r.err
	}
	if r.at == len(r.src) {
		return nil, nil
	}
	v := r.value()
	return v, r.err
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

func (r *reader) value() any {
	switch c := r.peek(); c {
	case '{':
		return r.object()
	case '[':
		return r.array()
	case '"':
		return r.string()
	}
	word := string(r.word())
	switch word {
	case "null":
		return nil
	case "true":
		return true
	case "false":
		return false
	}
	return json.Number(word)
}

func (r *reader) word() []byte {
	start := r.at
	for r.at < len(r.src) && !bytes.ContainsRune([]byte(" \t\r\n,]}:"), rune(r.src[r.at])) {
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

func (r *reader) array() any {
	list := []any{}
	for r.enter(']') {
		list = append(list, r.value())
	}
	return list
}

func (r *reader) object() any {
	members := map[string]any{}
	for r.enter('}') {
		name := r.string()
		r.space()
		r.at++ // the colon
		r.space()
		members[name] = r.value() // of duplicates the last one counts
	}
	return members
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
