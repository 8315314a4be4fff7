package atomicjson

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"jsonguard/merge"
	"jsonguard/sidecar"
)

// Read returns the current version of the file, with what dead processes left pending. A missing file is
// fs.ErrNotExist; an empty one is a document without a value.
func Read(ctx context.Context, name string) (*Document, error) {
	g, err := sidecar.Open(name, sidecar.Options{})
	if err != nil {
		return nil, err
	}
	defer g.Close()
	src, err := g.Read(ctx)
	if err != nil {
		return nil, err
	}
	doc, err := merge.Parse(src, g.Format())
	if err != nil {
		return nil, &sidecar.Error{Op: "read", Path: name, Err: err}
	}
	return &Document{doc, g.Format()}, nil
}

// ReadAs decodes the whole file into a T, as Document.Get does. An empty file gives a zero T.
func ReadAs[T any](ctx context.Context, name string) (T, error) {
	var v T
	d, err := Read(ctx, name)
	if err == nil && !d.doc.Missing() {
		if err = d.Get("", &v); err != nil {
			err = &sidecar.Error{Op: "read", Path: name, Err: err}
		}
	}
	return v, err
}

// Update runs fn on the current version under the lock and publishes what fn made of it: a serializable
// read-check-write. It returns nil when the new version is on disk. When fn returns an error, that error is returned
// and nothing is changed. A missing file is made by the first Set.
//
// It waits for the lock as long as ctx lets it, at most 30 s (lock.ErrTimeout). When a program without a lock replaces the
// file meanwhile, fn runs again on the new version. fn must not change the same file by another call: that is
// sidecar.ErrReentry.
func Update(ctx context.Context, name string, fn func(*Document) error) error {
	return update(ctx, name, func(d *Document, _ *merge.Policy) error { return fn(d) })
}

// UpdateAs decodes the file into a T, runs fn on it, and gives the document the changes that fn made: members that T does
// not know, key order and number literals stay. A missing or empty file gives fn a zero T.
//
// Decoding is encoding/json's, but a number in an interface is a json.Number, which keeps all its digits, and NaN and
// Infinity, which Python writes and JSON does not know, are null: what fn leaves alone stays as it is in the file.
// Elements of an array that fn changed, moved or removed are told apart by what they have kept; an element that cannot
// be told is a new one, without the members that T does not know. A nil slice or map is null.
func UpdateAs[T any](ctx context.Context, name string, fn func(*T) error) error {
	return update(ctx, name, func(d *Document, policy *merge.Policy) error {
		var v T
		missing := d.doc.Missing()
		doc := []byte("[]") // of JSON Lines, which have no lines
		if !missing {
			var err error
			if doc, err = d.whole(); err != nil {
				return err
			}
			if err := decode(doc, &v); err != nil {
				return fmt.Errorf("decode into %T: %w", v, err)
			}
		}
		before, err := encode(v)
		if err != nil {
			return err
		}
		if err := fn(&v); err != nil {
			return err
		}
		after, err := encode(v)
		if err != nil {
			return fmt.Errorf("encode %T: %w", v, err)
		}
		if missing && d.format == merge.JSON {
			return d.Set("", json.RawMessage(after))
		}
		if d.format == merge.Lines {
			before, after = arrayOf(before), arrayOf(after)
		}
		ops, err := edits("", doc, before, after)
		if err != nil {
			return err
		}
		return d.apply(ops, policy)
	})
}

// arrayOf is the array of JSON Lines that a nil slice stands for.
func arrayOf(raw []byte) []byte {
	if string(raw) == "null" {
		return []byte("[]")
	}
	return raw
}

// WriteFile replaces the whole content of the file by data, byte for byte, in one step and durably. data must be JSON, or
// lines of it for .jsonl and .ndjson. What is pending of others is not kept. A file that cannot be parsed is left alone
// (*merge.SyntaxError). A program that read the file before wants Update: between its Read and WriteFile others may have
// written.
func WriteFile(ctx context.Context, name string, data []byte) error {
	return update(ctx, name, func(d *Document, _ *merge.Policy) error {
		doc, err := merge.Parse(data, d.format)
		if err != nil {
			return &sidecar.Error{Op: "write", Path: name, Err: err}
		}
		*d.doc = *doc
		return nil
	})
}

// update returns the very error of fn, if it was that.
func update(ctx context.Context, name string, fn func(*Document, *merge.Policy) error) error {
	g, err := sidecar.Open(name, sidecar.Options{})
	if err != nil {
		return err
	}
	var own error
	_, err = g.Update(ctx, func(d *merge.Document) error {
		own = fn(&Document{d, g.Format()}, g.Policy())
		return own
	})
	closed := g.Close()
	switch {
	case own != nil && errors.Is(err, own):
		return own
	case err != nil:
		return err
	}
	return closed
}
