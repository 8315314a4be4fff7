package merge

import "hash/maphash"

// fingerprint of child i is the same for equal values. Different values share one with a chance of 2^-64, and nobody can look for
// such pairs, because the seed is another in each process.
func (n *node) fingerprint(i int) uint64 {
	if c := n.madeOf(i); c != nil {
		return c.value.print()
	}
	p := printer{src: n.raw, i: n.start(i), ext: n.ext, off: n.off}
	return p.value()
}

func (n *node) print() uint64 {
	switch {
	case n.kind == kindLines:
		n.expand()
		sum := uint64(kindLines)
		for i := range n.kids {
			sum = mix(sum ^ n.fingerprint(i) + 0x9e3779b97f4a7c15)
		}
		return sum
	case n.dirty:
		return fingerprint(n.text())
	}
	p := printer{src: n.raw, ext: n.ext, off: n.off}
	return p.value()
}

// fingerprint of a text.
func fingerprint(raw []byte) uint64 {
	p := printer{src: raw}
	return p.value()
}

var seed = maphash.MakeSeed()

type printer struct {
	src []byte
	i   int
	ext *extents
	off int // of src in what ext indexes
}

// value reads over one value.
func (p *printer) value() uint64 {
	start := p.i
	k := kindOfText(p.src[start:])
	if k != kindObject && k != kindArray {
		p.i, _ = scanValue(p.src, start)
		raw := p.src[start:p.i]
		switch k {
		case kindString:
			return mix(uint64(k) ^ hashString(raw))
		case kindNumber:
			var few [64]byte
			return mix(uint64(k) ^ maphash.Bytes(seed, appendCanonical(few[:0], raw)))
		}
		return mix(uint64(k) ^ maphash.Bytes(seed, raw))
	}
	var known *extent
	if len(p.src)-start >= coverBytes {
		known = p.ext.find(p.off + start)
	}
	if known != nil && known.print != 0 {
		p.i = known.end - p.off
		return known.print
	}
	var sum uint64
	if k == kindArray {
		sum = p.list()
	} else {
		sum = p.object()
	}
	if known != nil {
		known.print = sum
	}
	return sum
}

func (p *printer) list() uint64 {
	sum := uint64(kindArray)
	i, in := nextIn(p.src, p.i)
	for in {
		p.i = i
		sum = mix(sum ^ p.value() + 0x9e3779b97f4a7c15)
		i, in = nextAfter(p.src, p.i)
	}
	p.i = i
	return mix(sum)
}

// object adds its members up, because they have no order. The last one of a name counts.
func (p *printer) object() uint64 {
	type member struct{ name, value uint64 }
	var few [16]member
	found := few[:0]
	var places map[uint64]int
	i, in := nextIn(p.src, p.i)
	for in {
		end, _ := scanString(p.src, i)
		m := member{name: hashString(p.src[i:end])}
		p.i, _ = scanKey(p.src, i)
		m.value = p.value()
		i, in = nextAfter(p.src, p.i)
		at, double := -1, false
		if places == nil && len(found) == len(few) {
			places = make(map[uint64]int, 4*len(few))
			for k := range found {
				places[found[k].name] = k
			}
		}
		if places != nil {
			at, double = places[m.name]
			if !double {
				places[m.name] = len(found)
			}
		} else {
			for k := range found {
				if found[k].name == m.name {
					at, double = k, true
				}
			}
		}
		if double {
			found[at] = m
			continue
		}
		found = append(found, m)
	}
	p.i = i
	sum := uint64(kindObject)
	for _, m := range found {
		sum += mix(m.name ^ mix(m.value))
	}
	return mix(sum)
}

func hashString(raw []byte) uint64 {
	for _, c := range raw {
		if c == '\\' {
			return maphash.String(seed, decodeString(raw))
		}
	}
	return maphash.Bytes(seed, raw[1:len(raw)-1])
}

// mix is the finalizer of MurmurHash3: every bit of the input moves half of the output.
func mix(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
