package merge

import (
	"bytes"
	"math"
	"runtime"
	"slices"
)

// A large text is read by two: from its beginning up to a comma at the end of a line near its middle, and from there on. No
// string has a raw newline in it, so that there a value has ended; in which containers, the second learns from what it finds.
// Where anything is wrong or odd, nothing is said: the text is read again from its beginning, to say what and where.

// indexHalves validates src and returns its index, nil where it cannot tell.
func indexHalves(src []byte) *extents {
	const large = 1 << 20
	if len(src) < large || runtime.GOMAXPROCS(0) < 2 {
		return nil
	}
	if middle := endInTheMiddle(src); middle >= 0 {
		return indexFromBoth(src, middle)
	}
	return nil
}

// indexFromBoth is indexHalves with the end of a value given.
func indexFromBoth(src []byte, middle int) *extents {
	ext := &extents{size: len(src)}
	rest := restReader{src: src, from: middle, ext: &extents{size: len(src)}}
	met, whole := false, false
	together(true, func() {
		start := 0
		if bytes.HasPrefix(src, utf8BOM) {
			start = len(utf8BOM)
		}
		if start = skipSpace(src, start); start < middle {
			_, met, _ = scanOn(src, start, nil, false, &meeting{at: middle, anywhere: true}, ext)
		}
	}, func() { whole = rest.read() })
	if !met || !whole || !rest.continues(ext) {
		return nil
	}
	return ext
}

// endInTheMiddle is the end of a value in front of a comma and a newline; -1 if there is none.
func endInTheMiddle(src []byte) int {
	const near = 64 << 10
	half := len(src) / 2
	from := max(0, half-near)
	i := bytes.LastIndex(src[from:half], []byte(",\n"))
	if i < 0 {
		return -1
	}
	return len(bytes.TrimRight(src[:from+i], " \t\r\n"))
}

// restReader reads a text from the end of a value on, without knowing what containers are open there.
type restReader struct {
	src    []byte
	from   int
	ext    *extents
	levels []level // from the innermost on
}

// level is a container that was open.
type level struct {
	kind byte     // 0: not known yet
	ends []uint32 // of its other children, from where the reader began; nil with many
	many bool     // too many small ones, as extents.child has it
	end  int
}

// read is false where something is wrong.
func (r *restReader) read() bool {
	src, i := r.src, r.from
	l := level{}
	for {
		if i = skipSpace(src, i); i == len(src) {
			return l.kind == 0 && len(l.ends) <= 1 && len(r.levels) > 0
		}
		switch c := src[i]; c {
		case ',':
			i = skipSpace(src, i+1)
			if i == len(src) {
				return false
			}
			if l.kind != '[' {
				_, value, err := ScanName(src, i)
				switch {
				case err == nil:
					l.kind, i = '{', value
				case l.kind == '{':
					return false
				default:
					l.kind = '['
				}
			}
			var err error
			if i, err = scan(src, i, r.ext); err != nil {
				return false
			}
			l.add(i-r.from, len(src)-r.from)
		case '}', ']':
			if open := c - 2; l.kind == 0 {
				l.kind = open
			} else if l.kind != open {
				return false
			}
			i++
			l.end = i
			r.levels = append(r.levels, l)
			l = level{}
			l.add(i-r.from, len(src)-r.from)
		default:
			return false
		}
	}
}

// add notes the end of a child, in a rest of that size.
func (l *level) add(end, size int) {
	if l.many {
		return
	}
	if have := len(l.ends); have >= wideChildren && have == cap(l.ends) {
		l.ends = slices.Grow(l.ends, likelyMore(have, end, size))
	}
	l.ends = append(l.ends, uint32(end))
	if count := len(l.ends); uint64(end) > math.MaxUint32 || count%wideChildren == 0 && end < count*narrowBytes {
		l.ends, l.many = nil, true
	}
}

// continues completes the index of the first half, if that ended in the containers that were met.
func (r *restReader) continues(first *extents) bool {
	open := first.stack
	if len(open) != len(r.levels) || len(open)+r.ext.deepest >= maxDepth {
		return false
	}
	for k, l := range r.levels {
		o := &open[len(open)-1-k]
		if r.src[o.start] != l.kind {
			return false
		}
	}
	for _, l := range r.levels {
		if l.many {
			first.drop()
		}
		for _, end := range l.ends {
			first.child(r.from + int(end))
		}
		first.close(l.end)
	}
	first.list = append(first.list, r.ext.list...)
	first.wide = slices.Concat(first.wide, r.ext.wide)
	return true
}
