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
	return &Document{doc}, nil
}

// ReadAs decodes the whole file into a T.
func ReadAs[T any](ctx context.Context, name string) (T, error) {
	var v T
	d, err := Read(ctx, name)
	if err == nil {
		err = d.Get("", &v)
	}
	return v, err
}

// Update runs fn on the current version under the lock and publishes what fn made of it: a serializable
// read-check-write. It returns nil when the new version is on disk. When fn returns an error, that error is returned
// and nothing is changed. A missing file is made by the first Set.
//
// It waits for the lock as long as ctx lets it, at most 30 s (lock.ErrTimeout). fn must not call Update for the same
// file: it would wait for itself.
func Update(ctx context.Context, name string, fn func(*Document) error) error {
	return update(ctx, name, func(d *merge.Document, _ *merge.Policy) error { return fn(&Document{d}) })
}

// UpdateAs decodes the file into a T, runs fn on it, and merges what fn changed into the document: members that T does
// not know, key order and number literals stay. A missing or empty file gives fn a zero T.
func UpdateAs[T any](ctx context.Context, name string, fn func(*T) error) error {
	return update(ctx, name, func(d *merge.Document, pol *merge.Policy) error {
		var v T
		if !d.Missing() {
			raw, err := d.Get(nil)
			if err != nil {
				return err
			}
			if err := json.Unmarshal(raw, &v); err != nil {
				return fmt.Errorf("decode %s: %w", name, err)
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
			return err
		}
		if d.Missing() {
			return d.Do(merge.Op{Kind: "set", Value: after})
		}
		change, err := merge.Diff(before, after, merge.JSON, pol)
		if err != nil {
			return err
		}
		_, err = d.Merge(change, pol.Exclusive())
		return err
	})
}

// WriteFile replaces the whole content of the file in one step, durably, whatever it was. data must be JSON.
// A program that read the file before wants Update: between its Read and WriteFile others may have written.
func WriteFile(ctx context.Context, name string, data []byte) error {
	if _, err := merge.Parse(data, merge.JSON); err != nil {
		return &sidecar.Error{Op: "write", Path: name, Err: err}
	}
	return update(ctx, name, func(d *merge.Document, _ *merge.Policy) error {
		return d.Do(merge.Op{Kind: "set", Value: data})
	})
}

func update(ctx context.Context, name string, fn func(*merge.Document, *merge.Policy) error) error {
	g, err := sidecar.Open(name, sidecar.Options{})
	if err != nil {
		return err
	}
	_, err = g.Update(ctx, func(d *merge.Document) error { return fn(d, g.Policy()) })
	return errors.Join(err, g.Close())
}
