package atomicjson

import (
	"bytes"
	"encoding/json"
	"fmt"

	"jsonguard/merge"
)

// Document is a JSON document that keeps every byte nobody changes. Pointers are RFC 6901: "" is the whole document,
// "/models/x" a member, "/list/0" an element, "/list/-" the place behind the last one.
type Document struct {
	doc    *merge.Document
	format merge.Format
}

// Parse reads a document. The error is a *merge.SyntaxError with line and column.
func Parse(src []byte) (*Document, error) {
	d, err := merge.Parse(src, merge.JSON)
	if err != nil {
		return nil, err
	}
	return &Document{d, merge.JSON}, nil
}

// Bytes of the document as it is now; they must not be changed.
func (d *Document) Bytes() []byte { return d.doc.Bytes() }

// Raw returns the JSON text at pointer, byte for byte. merge.ErrNotFound: there is none.
func (d *Document) Raw(pointer string) ([]byte, error) {
	p, err := merge.ParsePointer(pointer)
	if err != nil {
		return nil, err
	}
	return d.doc.Get(p)
}

// Get decodes the value at pointer into v, as json.Unmarshal does, but a number in an interface is a json.Number, which
// keeps all its digits, and NaN and Infinity, which Python writes and JSON does not know, are null.
func (d *Document) Get(pointer string, v any) error {
	raw, err := d.Raw(pointer)
	if err == nil && pointer == "" {
		raw, err = d.whole()
	}
	if err != nil {
		return err
	}
	if err := decode(raw, v); err != nil {
		return fmt.Errorf("decode %q: %w", pointer, err)
	}
	return nil
}

// whole is the text of the document's value; of JSON Lines, an array of the lines.
func (d *Document) whole() ([]byte, error) {
	if d.format != merge.Lines {
		return d.doc.Get(nil)
	}
	array := []byte{'['}
	err := d.doc.Each(nil, func(_ string, raw []byte) bool {
		if len(array) > 1 {
			array = append(array, ',')
		}
		array = append(array, raw...)
		return true
	})
	return append(array, ']'), err
}

// apply does ops. Under a policy they are first done beside the document, and then merged into it, so that the names that
// a program spells its own way meet the ones that are there.
func (d *Document) apply(ops []merge.Op, policy *merge.Policy) error {
	if policy == nil || len(ops) == 0 {
		return d.doc.Do(ops...)
	}
	base := d.doc.Bytes()
	ours, err := merge.Parse(base, d.format)
	if err != nil {
		return err
	}
	if err := ours.Do(ops...); err != nil {
		return err
	}
	change, err := merge.Diff(base, ours.Bytes(), d.format, policy)
	if err != nil {
		return err
	}
	_, err = d.doc.Merge(change, policy.Exclusive())
	return err
}

// Set puts v at pointer. Objects missing on the way are made; setting what is there already changes nothing.
// v is encoded as JSON; a json.RawMessage is taken as it is.
func (d *Document) Set(pointer string, v any) error { return d.do("set", pointer, v) }

// Append puts v behind the last element of the array at pointer; a missing array is made.
func (d *Document) Append(pointer string, v any) error { return d.do("append", pointer, v) }

// Add adds a number to the one at pointer, exactly and at any size; a missing one counts as 0.
func (d *Document) Add(pointer string, number any) error { return d.do("incr", pointer, number) }

// Delete removes the value at pointer. A missing one is no error.
func (d *Document) Delete(pointer string) error {
	return d.doc.Do(merge.Op{Kind: "delete", At: pointer})
}

func (d *Document) do(kind, pointer string, v any) error {
	raw, err := encode(v)
	if err != nil {
		return fmt.Errorf("%s %q: %w", kind, pointer, err)
	}
	return d.doc.Do(merge.Op{Kind: kind, At: pointer, Value: raw})
}

// encode is json.Marshal without escaping <, > and &, which nobody asked for.
func encode(v any) ([]byte, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return raw, nil
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
