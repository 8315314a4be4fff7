package merge

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// The kinds of Op.
const (
	OpSet     = "set"     // puts Value at At; objects missing on the way are made
	OpDelete  = "delete"  // removes what is at At; a missing value is no error
	OpIncr    = "incr"    // adds the number Value to the one at At, exactly; a missing one counts as 0
	OpAppend  = "append"  // puts Value behind the last element of the array at At; a missing array is made
	OpPatch   = "patch"   // applies Value, an RFC 7396 merge patch, to what is at At
	OpInsert  = "insert"  // RFC 6902 add: like set, but moves the elements of an array up; the parent must exist
	OpRemove  = "remove"  // RFC 6902 remove: like delete, but a missing value is an error
	OpTest    = "test"    // RFC 6902 test: fails unless the value at At equals Value
	OpReplace = "replace" // RFC 6902 replace: like set, but a missing value is an error
	OpMove    = "move"    // RFC 6902 move of the value at From
	OpCopy    = "copy"    // RFC 6902 copy of the value at From
)

// Op is one operation that needs no base: it says what is wanted, whatever is there.
type Op struct {
	Kind  string
	At    string // RFC 6901 pointer
	From  string // of move and copy
	Value Raw    // JSON text; absent for delete, remove, move, copy
}

// Raw is JSON text, kept as it is.
type Raw []byte

// Check says whether op can be understood, whatever document it meets.
func (op Op) Check() error {
	if _, err := ParsePointer(op.At); err != nil {
		return err
	}
	needsValue := true
	switch op.Kind {
	case OpDelete, OpRemove:
		needsValue = false
	case OpMove, OpCopy:
		needsValue = false
		if _, err := ParsePointer(op.From); err != nil {
			return err
		}
	case OpSet, OpReplace, OpIncr, OpAppend, OpPatch, OpInsert, OpTest:
	default:
		return fmt.Errorf("unknown operation %q", op.Kind)
	}
	if needsValue {
		if err := Valid(op.Value, JSON); err != nil {
			return fmt.Errorf("value of %s: %w", op.Kind, err)
		}
		if len(bytes.TrimSpace(op.Value)) == 0 {
			return fmt.Errorf("%s %s: no value", op.Kind, op.At)
		}
	}
	if op.Kind == OpIncr && kindOfText(bytes.TrimSpace(op.Value)) != kindNumber {
		return fmt.Errorf("%w: incr needs a number, not %s", ErrType, op.Value)
	}
	return nil
}

// Do carries out ops in their order, all or none.
func (d *Document) Do(ops ...Op) error {
	edited, changed := d.edited, d.changed
	d.undo = d.undo[:0]
	for _, op := range ops {
		if err := d.do(op); err != nil {
			for len(d.undo) > 0 {
				last := len(d.undo) - 1
				step := d.undo[last]
				d.undo = d.undo[:last]
				step()
			}
			d.edited, d.changed = edited, changed
			return err
		}
	}
	clear(d.undo)
	d.undo = d.undo[:0]
	return nil
}

func (d *Document) do(op Op) error {
	if err := op.Check(); err != nil {
		return err
	}
	p, err := ParsePointer(op.At)
	if err != nil {
		return err
	}
	p = d.spelled(p, op.Kind == OpDelete || op.Kind == OpRemove)
	value := bytes.TrimSpace(op.Value)
	at := p
	switch op.Kind {
	case OpPatch: // as it goes along
	case OpAppend:
		at = p.child("-")
		value = d.spelledValue(at, value)
	default:
		value = d.spelledValue(p, value)
	}
	if err := d.fits(at, value); err != nil {
		return err
	}
	switch op.Kind {
	case OpSet:
		return d.set(p, value)
	case OpReplace:
		if d.find(p) == nil {
			return fmt.Errorf("%w: %s", ErrNotFound, quotePointer(p))
		}
		return d.set(p, value)
	case OpDelete:
		_, err := d.delete(p)
		return err
	case OpRemove:
		found, err := d.delete(p)
		if err == nil && !found {
			err = fmt.Errorf("%w: %s", ErrNotFound, quotePointer(p))
		}
		return err
	case OpIncr:
		return d.incr(p, value)
	case OpAppend:
		return d.append(p, value)
	case OpPatch:
		return d.patch(p, value)
	case OpInsert:
		return d.insert(p, value)
	case OpTest:
		have, err := d.Get(p)
		if err == nil && !equalValues(have, value, false) {
			err = fmt.Errorf("%w: test of %s: it is %s", ErrRefused, quotePointer(p), Compact(nil, have))
		}
		return err
	default:
		return d.transfer(op.Kind, p, op.From)
	}
}

// touch marks the way to p as changed. Every step of it exists.
func (d *Document) touch(p Pointer) {
	d.edited, d.changed = true, true
	n := d.root
	n.dirty = n.kind.container()
	for _, step := range p {
		n = n.child(step)
		n.dirty = n.kind.container()
	}
}

// parent finds the container that p points into, making objects on the way where wanted, and its depth.
func (d *Document) parent(p Pointer, create bool) (*node, error) {
	if d.root == nil {
		if !create {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, p)
		}
		d.setRoot(newNode([]byte("{}")))
	}
	n := d.root
	for i, step := range p[:len(p)-1] {
		next := n.child(step)
		if next == nil {
			if !n.kind.container() {
				return nil, fmt.Errorf("%w: %s is %s", ErrType, quotePointer(p[:i]), n.kind)
			}
			if n.kind.list() && step != "-" && !isNextIndex(n, step) {
				return nil, fmt.Errorf("%w: %s", ErrNotFound, p[:i+1])
			}
			if !create {
				return nil, fmt.Errorf("%w: %s", ErrNotFound, p[:i+1])
			}
			if n.expand(); step == "-" && n.kind.list() {
				p[i] = strconv.Itoa(len(n.kids))
			}
			d.placeChild(n, p[:i], len(n.kids), encodeString(step, false), []byte("{}"))
			next = n.value(len(n.kids) - 1)
		}
		n = next
	}
	if !n.kind.container() {
		return nil, fmt.Errorf("%w: %s is %s, not an object or array", ErrType, quotePointer(p[:len(p)-1]), n.kind)
	}
	n.expand()
	return n, nil
}

// placeChild puts a new child at place i of the container at p.
func (d *Document) placeChild(n *node, p Pointer, i int, key, raw []byte) {
	head, tail, between := n.head, n.tail, n.between
	d.touch(p)
	n.insert(i, d.newChild(n, len(p), key, raw, false))
	d.record(func() {
		n.removeInserted(i)
		n.head, n.tail, n.between = head, tail, between
	})
}

func isNextIndex(n *node, step string) bool {
	i, ok := arrayIndex(step)
	return ok && i == len(n.kids)
}

func (d *Document) set(p Pointer, raw []byte) error {
	if len(p) == 0 {
		return d.setWhole(raw)
	}
	n, err := d.parent(p, true)
	if err != nil {
		return err
	}
	last := p[len(p)-1]
	if i := n.place(last); i >= 0 {
		d.replaceChild(n, p, i, raw)
		return nil
	}
	if n.kind.list() && last != "-" && !isNextIndex(n, last) {
		return fmt.Errorf("%w: %s: the length of the array is %d", ErrNotFound, p, len(n.kids))
	}
	i := len(n.kids)
	d.placeChild(n, p[:len(p)-1], i, encodeString(last, false), raw)
	if n.kind.list() {
		p[len(p)-1] = strconv.Itoa(i) // for who goes on below it: - would be another one
	}
	return nil
}

// replaceChild puts raw in the place of child i of n, unless it equals what is there.
func (d *Document) replaceChild(n *node, p Pointer, i int, raw []byte) {
	c := n.own(i)
	old := c.value
	if equalNodes(old, newNode(raw), false) {
		return
	}
	d.touch(p[:len(p)-1])
	d.record(func() { c.value = old })
	c.value = newNode(d.layoutOfChild(n, i, len(p)-1).render(nil, raw))
}

func (d *Document) setWhole(raw []byte) error {
	if d.format == Lines {
		return fmt.Errorf("%w: JSON Lines have no value as a whole", ErrType)
	}
	if d.root != nil && equalValues(d.root.text(), raw, false) {
		return nil
	}
	d.setRoot(newNode(d.layoutOfRoot().render(nil, raw)))
	return nil
}

func (d *Document) delete(p Pointer) (found bool, err error) {
	if len(p) == 0 {
		return false, fmt.Errorf("%w: the whole document cannot be deleted; remove the file", ErrType)
	}
	n, err := d.parent(p, false)
	if err != nil {
		return false, ignoreNotFound(err)
	}
	i := n.place(p[len(p)-1])
	if i < 0 {
		return false, nil
	}
	if n.gone > 16 && n.gone > len(n.kids)/2 && len(d.undo) == 0 {
		n.compact()
		i = n.place(p[len(p)-1])
	}
	d.touch(p[:len(p)-1])
	d.record(n.remove(i))
	return true, nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (d *Document) incr(p Pointer, delta []byte) error {
	have := d.find(p)
	if have == nil {
		return d.set(p, delta)
	}
	if have.kind != kindNumber {
		return fmt.Errorf("%w: %s is %s, not a number", ErrType, quotePointer(p), have.kind)
	}
	sum, err := addNumbers(have.raw, delta)
	if err != nil {
		return fmt.Errorf("%s: %w", quotePointer(p), err)
	}
	return d.set(p, sum)
}

func (d *Document) append(p Pointer, raw []byte) error {
	n := d.find(p)
	if n == nil {
		return d.set(p, append(append([]byte{'['}, raw...), ']'))
	}
	if !n.kind.list() {
		return fmt.Errorf("%w: %s is %s, not an array", ErrType, quotePointer(p), n.kind)
	}
	n.expand()
	d.placeChild(n, p, len(n.kids), nil, raw)
	return nil
}

// insert is RFC 6902 add.
func (d *Document) insert(p Pointer, raw []byte) error {
	if len(p) == 0 {
		return d.setWhole(raw)
	}
	n, err := d.parent(p, false)
	if err != nil {
		return err
	}
	last := p[len(p)-1]
	if !n.kind.list() {
		return d.set(p, raw)
	}
	i, ok := arrayIndex(last)
	if last == "-" {
		i, ok = len(n.kids), true
	}
	if !ok || i > len(n.kids) {
		return fmt.Errorf("%w: %s: the length of the array is %d", ErrNotFound, p, len(n.kids))
	}
	d.placeChild(n, p[:len(p)-1], i, nil, raw)
	return nil
}

func (d *Document) transfer(kind string, to Pointer, fromText string) error {
	from, err := ParsePointer(fromText)
	if err != nil {
		return err
	}
	from = d.spelled(from, kind == OpMove)
	raw, err := d.Get(from)
	if err != nil {
		return err
	}
	raw = bytes.Clone(raw)
	if err := d.fits(to, raw); err != nil {
		return err
	}
	if kind == OpMove {
		if len(to) > len(from) && to[:len(from)].String() == from.String() {
			return fmt.Errorf("%w: %s cannot be moved into itself", ErrType, quotePointer(from))
		}
		if _, err := d.delete(from); err != nil {
			return err
		}
	}
	return d.insert(to, raw)
}

// fits refuses a value that is not too deep by itself but would be at p: the document could never be read again.
func (d *Document) fits(p Pointer, raw []byte) error {
	at := len(p)
	if d.format == Lines {
		at-- // the list of the lines is none in the text
	}
	if at+bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte("{")) <= maxDepth {
		return nil
	}
	if at+depthOf(raw) > maxDepth {
		return fmt.Errorf("%w: it would be nested deeper than %d", ErrType, maxDepth)
	}
	return nil
}

// depthOf counts how deep the containers of a valid text nest.
func depthOf(raw []byte) int {
	deepest, open := 0, 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			for i++; raw[i] != '"'; i++ {
				if raw[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			open++
			deepest = max(deepest, open)
		case ']', '}':
			open--
		}
	}
	return deepest
}

// patch is RFC 7396: null deletes, objects merge, everything else replaces.
func (d *Document) patch(p Pointer, raw []byte) error {
	if raw[0] != '{' {
		return d.set(p, d.spelledValue(p, raw))
	}
	if n := d.find(p); n == nil || n.kind != kindObject {
		if err := d.set(p, []byte("{}")); err != nil {
			return err
		}
	}
	patch := newNode(raw)
	patch.expand()
	for i := range patch.kids {
		name := patch.name(i)
		if patch.lookup(name) != i {
			continue // a double: the last one counts
		}
		value := patch.rawChild(i)
		at := d.spelled(p.child(name), string(value) == "null")
		if string(value) == "null" {
			if _, err := d.delete(at); err != nil {
				return err
			}
			continue
		}
		if err := d.patch(at, value); err != nil {
			return err
		}
	}
	return nil
}
