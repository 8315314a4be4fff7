package merge

import (
	"fmt"
	"strconv"
)

// rejectDuplicates refuses a document in which two members of one object have the same name.
func (d *Document) rejectDuplicates() error {
	return eachDouble(d.root, nil, func(n *node, i int, at Pointer) error {
		return fmt.Errorf("%w: %s: two members are named %q", ErrRefused, quotePointer(at), n.name(i))
	})
}

// collapseDuplicates takes out all members of a name but the last.
func (d *Document) collapseDuplicates() {
	_ = eachDouble(d.root, nil, func(n *node, i int, at Pointer) error {
		n.takeOut(i)
		d.touch(at)
		return nil
	})
}

// eachDouble calls f for every member whose name comes again later in its object, which is at the pointer.
func eachDouble(n *node, at Pointer, f func(n *node, i int, at Pointer) error) error {
	if n == nil || !n.kind.container() {
		return nil
	}
	n.expand()
	for i := range n.kids {
		if !n.there(i) {
			continue
		}
		step := strconv.Itoa(i)
		if n.kind == kindObject {
			step = n.name(i)
			if n.lookup(step) != i {
				if err := f(n, i, at); err != nil {
					return err
				}
				continue
			}
		}
		looked := n.kids[i].isText()
		if !kindOfText(n.rawChild(i)).container() {
			continue
		}
		value := n.value(i)
		if err := eachDouble(value, at.child(step), f); err != nil {
			return err
		}
		if looked && !value.dirty {
			n.forget(i)
		}
	}
	return nil
}
