package merge

import (
	"bytes"
	"strconv"
	"sync/atomic"
)

// child returns the value one step down, nil if there is none.
func (n *node) child(step string) *node {
	if i := n.place(step); i >= 0 {
		return n.value(i)
	}
	return nil
}

// place finds a step among the children, -1 if it is not there.
func (n *node) place(step string) int {
	if !n.kind.container() {
		return -1
	}
	n.expand()
	if n.kind == kindObject {
		return n.lookup(step)
	}
	if i, ok := arrayIndex(step); ok && i < len(n.kids) {
		return i
	}
	return -1
}

// arrayIndex reads an RFC 6901 array index: digits without a leading zero.
func arrayIndex(step string) (int, bool) {
	if len(step) == 0 || len(step) > 1 && step[0] == '0' || step[0] < '0' || step[0] > '9' {
		return 0, false
	}
	i, err := strconv.Atoi(step)
	return i, err == nil
}

// lookup finds the last member of that name, -1 if there is none. Objects in which much is looked up get an index.
func (n *node) lookup(name string) int {
	const few, often = 16, 4
	if n.index == nil && len(n.kids) >= few && n.read > often*len(n.kids) {
		n.index = newNameIndex(n)
	}
	if n.index != nil {
		return n.index.find(n, name)
	}
	if i := n.seen - 1; i >= 0 && i < len(n.kids) && n.there(i) && n.isNamed(i, name) {
		return i
	}
	n.read += len(n.kids)
	i := n.lastNamed(name, 0, len(n.kids))
	n.seen = i + 1
	return i
}

// renamed: what is known of names does not hold any more.
func (n *node) renamed() { n.index, n.read, n.seen = nil, 0, 0 }

// lastNamed finds the last member of that name in a range, -1 if there is none.
func (n *node) lastNamed(name string, from, to int) int {
	const some = 1 << 16
	if to-from < 2*some {
		return n.lastNamedIn(name, from, to)
	}
	var last atomic.Int64
	last.Store(-1)
	inParallel(to-from, some, func(first, end int) {
		i := int64(n.lastNamedIn(name, from+first, from+end))
		for was := last.Load(); i > was && !last.CompareAndSwap(was, i); was = last.Load() {
		}
	})
	return int(last.Load())
}

func (n *node) lastNamedIn(name string, from, to int) int {
	for i := to - 1; i >= from; i-- {
		if n.there(i) && n.isNamed(i, name) {
			return i
		}
	}
	return -1
}

// unique says whether no two members have one name.
func (n *node) unique() bool {
	if n.index == nil && n.isSorted() {
		return true
	}
	if n.index == nil {
		n.index = newNameIndex(n)
	}
	return !n.index.doubles
}

// isSorted says whether the names are in order, as json.dump writes them with sort_keys.
func (n *node) isSorted() bool {
	var previous []byte
	for i := range n.kids {
		if !n.there(i) {
			continue
		}
		name := nameOf(n.key(i))
		if previous != nil && bytes.Compare(name, previous) <= 0 {
			return false
		}
		previous = name
	}
	return true
}

// isNamed says whether member i, which is there, has that name.
func (n *node) isNamed(i int, name string) bool {
	if !n.kids[i].isText() {
		return sameName(n.key(i), name)
	}
	key := n.raw[skipSpace(n.raw, n.at(i))+1:]
	for k := 0; ; k++ {
		switch {
		case key[k] == '\\':
			return decodeString(n.key(i)) == name
		case k == len(name):
			return key[k] == '"'
		case key[k] != name[k]:
			return false
		}
	}
}

func sameName(key []byte, name string) bool {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key[1:len(key)-1]) == name
	}
	return decodeString(key) == name
}
