package merge

import (
	"bytes"
	"fmt"
)

// ParsePatch6902 reads an RFC 6902 patch, an array of operations, as ops for Do.
func ParsePatch6902(src []byte) ([]Op, error) {
	d, err := Parse(src, JSON)
	if err != nil {
		return nil, err
	}
	if d.root == nil || d.root.kind != kindArray {
		return nil, fmt.Errorf("%w: an RFC 6902 patch is an array of operations", ErrType)
	}
	d.root.expand()
	ops := make([]Op, 0, len(d.root.kids))
	for i := range d.root.kids {
		op, err := patchOp(d.root.value(i))
		if err != nil {
			return nil, fmt.Errorf("operation %d: %w", i, err)
		}
		ops = append(ops, op)
	}
	return ops, nil
}

func patchOp(n *node) (Op, error) {
	text := func(name string) (string, bool) {
		v := n.child(name)
		if v == nil || v.kind != kindString {
			return "", false
		}
		return decodeString(v.raw), true
	}
	kind, ok := text("op")
	if !ok {
		return Op{}, fmt.Errorf("%w: \"op\" is missing", ErrType)
	}
	kinds := map[string]string{"add": OpInsert, "remove": OpRemove, "replace": OpReplace, "move": OpMove, "copy": OpCopy, "test": OpTest}
	op := Op{Kind: kinds[kind]}
	if op.Kind == "" {
		return Op{}, fmt.Errorf("unknown operation %q", kind)
	}
	if op.At, ok = text("path"); !ok {
		return Op{}, fmt.Errorf("%w: \"path\" is missing", ErrType)
	}
	if op.From, ok = text("from"); !ok && (op.Kind == OpMove || op.Kind == OpCopy) {
		return Op{}, fmt.Errorf("%w: \"from\" is missing", ErrType)
	}
	if v := n.child("value"); v != nil {
		op.Value = bytes.Clone(v.raw)
	}
	return op, op.Check()
}
