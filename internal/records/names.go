package records

import (
	"bytes"
	"hash/maphash"

	"jsonguard/merge"
)

// names of the members of one object, to find those that come twice. It refers to the text instead of holding copies.
type names struct {
	list  []name
	table []int32 // places in list plus one, by hash; used once there are more than a few
}

type name struct {
	hash     uint64
	from, to int // of the name with its quotes
	value    int // where the value of the last one starts
}

const few = 16

var seed = maphash.MakeSeed()

func (n *names) reset() {
	n.list = n.list[:0]
	n.table = n.table[:0]
}

// add notes a name and where its value starts. twice: there was one before, whose value starts at earlier.
func (n *names) add(src []byte, from, to, value int) (earlier int, twice bool) {
	added := name{from: from, to: to, value: value}
	if raw := src[from:to]; bytes.IndexByte(raw, '\\') < 0 {
		added.hash = maphash.Bytes(seed, raw[1:len(raw)-1])
	} else {
		added.hash = maphash.String(seed, merge.Unquote(raw))
	}
	if len(n.table) == 0 {
		for i := range n.list {
			if n.list[i].same(src, added) {
				return n.list[i].replace(value), true
			}
		}
		n.list = append(n.list, added)
		if len(n.list) > few {
			n.grow(8 * few)
		}
		return 0, false
	}
	mask := uint64(len(n.table) - 1)
	slot := added.hash & mask
	for ; n.table[slot] != 0; slot = (slot + 1) & mask {
		if known := &n.list[n.table[slot]-1]; known.same(src, added) {
			return known.replace(value), true
		}
	}
	n.list = append(n.list, added)
	n.table[slot] = int32(len(n.list))
	if 2*len(n.list) > len(n.table) {
		n.grow(2 * len(n.table))
	}
	return 0, false
}

func (n *names) grow(size int) {
	if cap(n.table) >= size {
		n.table = n.table[:size]
		clear(n.table)
	} else {
		n.table = make([]int32, size)
	}
	mask := uint64(size - 1)
	for i := range n.list {
		slot := n.list[i].hash & mask
		for n.table[slot] != 0 {
			slot = (slot + 1) & mask
		}
		n.table[slot] = int32(i + 1)
	}
}

func (n *name) replace(value int) (earlier int) {
	earlier, n.value = n.value, value
	return earlier
}

func (n *name) same(src []byte, other name) bool {
	if n.hash != other.hash {
		return false
	}
	a, b := src[n.from:n.to], src[other.from:other.to]
	return bytes.Equal(a, b) || merge.Unquote(a) == merge.Unquote(b)
}
