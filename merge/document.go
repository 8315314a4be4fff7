package merge

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
)

// Document is a lossless JSON document: a tree over the text it was parsed from, expanded only where somebody looks.
// What is not changed keeps its bytes. The zero value is not usable; see Parse.
type Document struct {
	src    []byte
	format Format
	lead   []byte   // byte order mark and white space before the value
	root   *node    // nil: missing
	trail  []byte   // white space behind it
	style  *style   // of src, found when new text has to be written
	alike  ends     // with another one that it was parsed beside
	pieces [][]byte // of the text, where that is not src from the beginning

	names *rules // of a policy that it is under, nil: none

	edited  bool     // the tree is not src any more
	changed bool     // nor is it what was parsed first
	undo    []func() // of the Do that is under way
}

// Parse validates src whole and returns it as a document that shares its bytes. Text without any value is a missing
// document, which the first set creates. The error is a *SyntaxError with line and column.
func Parse(src []byte, f Format) (*Document, error) {
	var ext *extents
	if f == JSON {
		ext = indexHalves(src)
	}
	if ext == nil {
		ext = &extents{size: len(src)}
		if err := validate(src, f, ext); err != nil {
			return nil, err
		}
	}
	ext.seal()
	d := &Document{src: src, format: f}
	if f == Lines {
		d.root = &node{kind: kindLines, raw: src, ext: ext}
		return d, nil
	}
	start := 0
	if bytes.HasPrefix(src, utf8BOM) {
		start = len(utf8BOM)
	}
	start = skipSpace(src, start)
	if start == len(src) {
		return d, nil
	}
	end := ext.skipValue(src, start, 0)
	d.lead, d.trail = src[:start], src[end:]
	d.root = &node{kind: kindOfText(src[start:]), raw: src[start:end], ext: ext, off: start}
	return d, nil
}

// Clone is a document of the same content, for somebody who will change it. It answers to the same names.
func (d *Document) Clone() (*Document, error) {
	out := d.fresh()
	if d.edited {
		parsed, err := Parse(d.Bytes(), d.format)
		if err != nil {
			return nil, err
		}
		out = *parsed
	}
	out.names = d.names
	return &out, nil
}

// fresh is the document as it was parsed, for somebody who will change it. It shares text and index.
func (d *Document) fresh() Document {
	out := Document{src: d.src, format: d.format, lead: d.lead, trail: d.trail, style: d.style, alike: d.alike}
	if d.root != nil {
		out.root = &node{kind: d.root.kind, raw: d.root.raw, ext: d.root.ext, off: d.root.off}
	}
	return out
}

var utf8BOM = []byte("\xef\xbb\xbf")

// Missing says whether there is no value at all: an empty text, or one of white space only.
func (d *Document) Missing() bool {
	if d.root != nil && d.root.kind == kindLines {
		d.root.expand()
		return d.root.len() == 0
	}
	return d.root == nil
}

// Changed says whether Bytes may differ from what was parsed.
func (d *Document) Changed() bool { return d.changed }

// Bytes of the document: what was parsed, where nothing was changed. They must not be modified.
func (d *Document) Bytes() []byte {
	if !d.edited {
		return d.src
	}
	return slices.Concat(d.Parts()...)
}

// Get returns the JSON text at p, byte for byte. ErrNotFound: there is none.
func (d *Document) Get(p Pointer) ([]byte, error) {
	if len(p) == 0 && d.format == Lines {
		return d.Bytes(), nil
	}
	n := d.find(d.spelled(p, false))
	if n == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, quotePointer(p))
	}
	return n.text(), nil
}

func (d *Document) find(p Pointer) *node {
	n := d.root
	for _, step := range p {
		if n == nil {
			return nil
		}
		n = n.child(step)
	}
	return n
}

// Each calls f for every member or element at p in their order, until f returns false. For elements key is their
// index. A member whose name comes again later is passed over: the last one counts.
func (d *Document) Each(p Pointer, f func(key string, raw []byte) bool) error {
	n := d.find(p)
	if n == nil {
		return fmt.Errorf("%w: %s", ErrNotFound, quotePointer(p))
	}
	if !n.kind.container() {
		return fmt.Errorf("%w: %s is %s", ErrType, quotePointer(p), n.kind)
	}
	n.expand()
	for i := range n.kids {
		if !n.there(i) {
			continue
		}
		key := strconv.Itoa(i)
		if n.kind == kindObject {
			key = n.name(i)
			if n.lookup(key) != i {
				continue
			}
		}
		if !f(key, n.rawChild(i)) {
			break
		}
	}
	return nil
}

func quotePointer(p Pointer) string {
	if len(p) == 0 {
		return "the document"
	}
	return p.String()
}

// record notes how to take a step back, for a Do that fails later.
func (d *Document) record(undo func()) {
	d.edited, d.changed = true, true
	d.undo = append(d.undo, undo)
}

// setRoot replaces the whole document.
func (d *Document) setRoot(n *node) {
	root, lead, trail := d.root, d.lead, d.trail
	d.record(func() { d.root, d.lead, d.trail = root, lead, trail })
	if d.root == nil {
		if bytes.HasPrefix(d.src, utf8BOM) {
			d.lead = utf8BOM
		} else {
			d.lead = nil
		}
		d.trail = []byte(d.styleOf().newline)
	}
	d.root = n
}
