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
	doc *merge.Document
}

// Parse reads a document. The error is a *merge.SyntaxError with line and column.
func Parse(src []byte) (*Document, error) {
	d, err := merge.Parse(src, merge.JSON)
	if err != nil {
		return nil, err
	}
	return &Document{d}, nil
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

// Get decodes the value at pointer into v, as json.Unmarshal does.
func (d *Document) Get(pointer string, v any) error {
	raw, err := d.Raw(pointer)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("decode %q: %w", pointer, err)
	}
	return nil
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
