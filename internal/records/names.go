package records

import (
	"bytes"
	"hash/maphash"

	"jsonguard/merge"
)

// names finds the names that come twice in one object. It is a hash table of places in the text, eight bytes each: one
// more than where the name starts, and above that a part of its hash, so that names that differ are rarely read again.
type names struct {
	slots []uint64
	count int
}

const (
	fewSlots  = 32
	placeBits = 40
	placeMask = 1<<placeBits - 1
)

var seed = maphash.MakeSeed()

// reset makes n empty. A table that became large is not kept for the next, smaller object: clearing it would cost more.
func (n *names) reset() {
	n.count = 0
	if len(n.slots) != fewSlots {
		n.slots = make([]uint64, fewSlots)
	} else {
		clear(n.slots)
	}
}

// add notes the name at src[from:to]. twice: there was one before, whose value starts at earlier; it is forgotten.
func (n *names) add(src []byte, from, to int) (earlier int, twice bool) {
	hash := hashName(src[from:to])
	slot, known := n.find(src, hash, src[from:to])
	if known {
		_, earlier, _ = merge.ScanName(src, n.place(slot)) // read before, it is valid
	}
	n.slots[slot] = hash&^placeMask | uint64(from+1)
	if known {
		return earlier, true
	}
	if n.count++; 2*n.count > len(n.slots) {
		n.grow(src)
	}
	return 0, false
}

// find returns the slot of a name, or the empty one where it belongs.
func (n *names) find(src []byte, hash uint64, raw []byte) (slot int, known bool) {
	mask := len(n.slots) - 1
	for slot = int(hash) & mask; n.slots[slot] != 0; slot = (slot + 1) & mask {
		if (n.slots[slot]^hash)&^placeMask != 0 {
			continue
		}
		start := n.place(slot)
		end, _, _ := merge.ScanName(src, start)
		if other := src[start:end]; bytes.Equal(raw, other) || merge.Unquote(raw) == merge.Unquote(other) {
			return slot, true
		}
	}
	return slot, false
}

func (n *names) place(slot int) int { return int(n.slots[slot]&placeMask) - 1 }

func (n *names) grow(src []byte) {
	old := n.slots
	n.slots = make([]uint64, 4*len(old))
	mask := len(n.slots) - 1
	for _, word := range old {
		if word == 0 {
			continue
		}
		start := int(word&placeMask) - 1
		end, _, _ := merge.ScanName(src, start)
		slot := int(hashName(src[start:end])) & mask
		for n.slots[slot] != 0 {
			slot = (slot + 1) & mask
		}
		n.slots[slot] = word
	}
}

func hashName(raw []byte) uint64 {
	if bytes.IndexByte(raw, '\\') < 0 {
		return maphash.Bytes(seed, raw[1:len(raw)-1])
	}
	return maphash.String(seed, merge.Unquote(raw))
}
