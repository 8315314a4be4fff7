package merge

import (
	"bytes"
	"hash/maphash"
)

// nameIndex finds the members of an object by their names: a hash table of places, open addressing with linear probing.
// It keeps no name, so that it takes a word or two a member. Places that are empty by now, or hold another member, are
// passed over.
type nameIndex struct {
	slots   []uint32 // place+1, 0 is free
	used    int
	doubles bool // two members share a name
}

func newNameIndex(n *node) *nameIndex {
	size := 64
	for size < 2*len(n.kids) {
		size *= 2
	}
	x := &nameIndex{slots: make([]uint32, size)}
	for i := range n.kids {
		if n.there(i) {
			x.add(n, i)
		}
	}
	return x
}

// add enters member i, which is behind all others of its name.
func (x *nameIndex) add(n *node, i int) {
	if 4*x.used > 3*len(x.slots) {
		*x = *newNameIndex(n)
		return
	}
	name := nameOf(n.key(i))
	at := x.slot(name)
	for ; x.slots[at] != 0; at = (at + 1) % len(x.slots) {
		if j := int(x.slots[at] - 1); x.holds(n, j, string(name)) {
			x.doubles = x.doubles || j != i
			break
		}
	}
	if x.slots[at] == 0 {
		x.used++
	}
	x.slots[at] = uint32(i + 1)
}

// find returns the place of the last member of that name, -1 if there is none.
func (x *nameIndex) find(n *node, name string) int {
	for at := x.slot([]byte(name)); x.slots[at] != 0; at = (at + 1) % len(x.slots) {
		if j := int(x.slots[at] - 1); x.holds(n, j, name) {
			return j
		}
	}
	return -1
}

func (x *nameIndex) slot(name []byte) int {
	return int(maphash.Bytes(seed, name) & uint64(len(x.slots)-1))
}

func (x *nameIndex) holds(n *node, i int, name string) bool {
	return i < len(n.kids) && n.there(i) && n.isNamed(i, name)
}

// nameOf is the name that a key is the text of.
func nameOf(key []byte) []byte {
	if bytes.IndexByte(key, '\\') < 0 {
		return key[1 : len(key)-1]
	}
	return []byte(decodeString(key))
}
