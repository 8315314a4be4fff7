package sidecar

import (
	"bytes"
	"slices"

	"jsonguard/internal/vfs"
)

// pieces is a version in memory, in pieces that follow each other: a large one that differs from another in a small
// place shares the rest with it.
type pieces [][]byte

func (p pieces) size() (n int64) {
	for _, piece := range p {
		n += int64(len(piece))
	}
	return n
}

// whole puts them together, where they are more than one.
func (p pieces) whole() []byte {
	if len(p) == 1 {
		return p[0]
	}
	return slices.Concat(p...)
}

func (p pieces) equal(q pieces) bool {
	if p.size() != q.size() {
		return false
	}
	var x, y []byte
	for {
		if len(x) == 0 && len(p) > 0 {
			x, p = p[0], p[1:]
			continue
		}
		if len(y) == 0 && len(q) > 0 {
			y, q = q[0], q[1:]
			continue
		}
		n := min(len(x), len(y))
		if n == 0 {
			return true
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return false
		}
		x, y = x[n:], y[n:]
	}
}

func (p pieces) hash() string {
	var h hasher
	for _, piece := range p {
		h.add(piece)
	}
	return h.String()
}

// writeTo writes them to the beginning of a file. Small ones go together.
func (p pieces) writeTo(f vfs.File) error {
	const large = 64 << 10
	var small []byte
	w := writer{f: f}
	for _, piece := range p {
		if len(small)+len(piece) <= large {
			small = append(small, piece...)
			continue
		}
		if err := w.write(small); err != nil {
			return err
		}
		small = small[:0]
		if len(piece) <= large {
			small = append(small, piece...)
			continue
		}
		if err := w.write(piece); err != nil {
			return err
		}
	}
	return w.write(small)
}
