package records

import (
	"bytes"
	"errors"

	"jsonguard/merge"
)

// walk is one reading of the document.
type walk struct {
	*Scan
	fn     func(*Record) error
	failed error // what fn said
	record Record
	mode   mode
	steps  []step  // from the document to where it is
	names  []names // noteNames: of each open object on the way
	twice  bool    // noteNames: a name came twice, what is found from here on would be told again
}

// mode is what a reading does about names that come twice.
type mode int

const (
	noteNames   mode = iota // finds out whether there are any
	findDoubles             // notes where they are, and finds no records
	plain                   // knows
)

var (
	errSyntax = errors.New("not JSON") // what exactly, merge.Valid says
	errStop   = errors.New("stopped")
	utf8BOM   = []byte("\xef\xbb\xbf")
)

func (w *walk) document() error {
	i := 0
	if bytes.HasPrefix(w.src, utf8BOM) {
		i = len(utf8BOM)
	}
	i = merge.SkipSpace(w.src, i)
	if w.format == merge.Lines {
		return w.lines(i)
	}
	if i == len(w.src) {
		return nil
	}
	i, err := w.value(i, w.path.start)
	if err == nil && merge.SkipSpace(w.src, i) < len(w.src) {
		err = errSyntax
	}
	return err
}

// lines takes the document as an array without brackets.
func (w *walk) lines(i int) error {
	if w.path.start&w.path.match != 0 {
		return w.whole(i)
	}
	w.nearest.at(w, w.path.start, i)
	w.steps = append(w.steps, step{})
	for line := 0; i < len(w.src); line++ {
		w.steps[0].index = line
		end, err := w.value(i, w.path.element(w.path.start, line))
		if err != nil {
			return err
		}
		if bytes.IndexByte(w.src[i:end], '\n') >= 0 {
			return errSyntax
		}
		for end < len(w.src) && (w.src[end] == ' ' || w.src[end] == '\t' || w.src[end] == '\r') {
			end++
		}
		if end < len(w.src) && w.src[end] != '\n' {
			return errSyntax
		}
		i = merge.SkipSpace(w.src, end)
	}
	return nil
}

// whole hands out all lines as one record, as an array would be: there is no such text in the document.
func (w *walk) whole(i int) error {
	if err := merge.Valid(w.src, merge.Lines); err != nil {
		return err
	}
	list := []byte{'['}
	for i < len(w.src) {
		end, err := merge.ScanValue(w.src, i)
		if err != nil {
			return err
		}
		if len(list) > 1 {
			list = append(list, ',')
		}
		list = append(list, w.src[i:end]...)
		i = merge.SkipSpace(w.src, end)
	}
	inside := walk{Scan: w.Scan, fn: w.fn, record: w.record, mode: plain}
	inside.Scan = &Scan{src: append(list, ']'), path: w.path, fields: w.fields, count: w.count}
	inside.record.src = inside.src
	_, err := inside.value(0, w.path.start)
	w.failed = inside.failed
	return err
}

// value reads over the value at i and returns the index behind it.
func (w *walk) value(i int, s state) (int, error) {
	switch {
	case s == 0:
		return merge.ScanValue(w.src, i)
	case w.shadowed[i]:
		return merge.ScanValue(w.src, i)
	case s&w.path.match != 0:
		return w.found(i)
	case i < len(w.src) && w.src[i] == '{':
		return w.object(i, s)
	case i < len(w.src) && w.src[i] == '[':
		return w.array(i, s)
	}
	w.nearest.at(w, s, i)
	return merge.ScanValue(w.src, i)
}

const maxDepth = 10_000 // as merge has it

func (w *walk) object(i int, s state) (int, error) {
	w.nearest.at(w, s, i)
	depth := len(w.steps)
	if depth == maxDepth {
		return i, errSyntax
	}
	w.steps = append(w.steps, step{})
	var known map[string]int // findDoubles: where the value of each name starts
	switch w.mode {
	case noteNames:
		for len(w.names) <= depth {
			w.names = append(w.names, nil)
		}
		w.names[depth] = w.names[depth][:0]
	case findDoubles:
		known = map[string]int{}
	}

	i = merge.SkipSpace(w.src, i+1)
	if i < len(w.src) && w.src[i] == '}' {
		w.steps = w.steps[:depth]
		return i + 1, nil
	}
	for {
		end, value, err := merge.ScanName(w.src, i)
		if err != nil {
			return i, err
		}
		below := w.path.member(s, w.src[i:end])
		if below != 0 {
			w.steps[depth] = step{from: i, to: end}
			switch w.mode {
			case noteNames:
				w.names[depth].add(w.src[i:end])
			case findDoubles:
				name := merge.Unquote(w.src[i:end])
				if earlier, twice := known[name]; twice {
					w.shadow(earlier)
				}
				known[name] = value
			}
		}
		if i, err = w.value(value, below); err != nil {
			return i, err
		}
		var more bool
		if i, more, err = next(w.src, i, '}'); err != nil {
			return i, err
		}
		if !more {
			w.steps = w.steps[:depth]
			if w.mode == noteNames && w.names[depth].different() < len(w.names[depth]) {
				w.twice = true
			}
			return i, nil
		}
	}
}

// shadow notes that the value there does not count.
func (w *walk) shadow(value int) {
	if w.shadowed == nil {
		w.shadowed = map[int]bool{}
	}
	w.shadowed[value] = true
}

func (w *walk) array(i int, s state) (int, error) {
	w.nearest.at(w, s, i)
	depth := len(w.steps)
	if depth == maxDepth {
		return i, errSyntax
	}
	w.steps = append(w.steps, step{})

	i = merge.SkipSpace(w.src, i+1)
	if i < len(w.src) && w.src[i] == ']' {
		w.steps = w.steps[:depth]
		return i + 1, nil
	}
	for index := 0; ; index++ {
		w.steps[depth].index = index
		var err error
		if i, err = w.value(i, w.path.element(s, index)); err != nil {
			return i, err
		}
		var more bool
		if i, more, err = next(w.src, i, ']'); err != nil {
			return i, err
		}
		if !more {
			w.steps = w.steps[:depth]
			return i, nil
		}
	}
}

// found reads the record at i and gives it to fn.
func (w *walk) found(i int) (int, error) {
	if i >= len(w.src) {
		return i, errSyntax
	}
	var end int
	var err error
	if w.fields == nil {
		end, err = merge.ScanValue(w.src, i)
	} else {
		clear(w.record.Fields)
		end, err = w.pick(i, w.fields)
	}
	if err != nil || w.twice || w.mode == findDoubles {
		return end, err
	}
	w.record.Raw, w.record.steps = w.src[i:end], w.steps
	if w.failed = w.fn(&w.record); w.failed != nil {
		return end, errStop
	}
	return end, nil
}

// pick reads over the value at i and notes what is wanted of it.
func (w *walk) pick(i int, f *field) (end int, err error) {
	src := w.src
	switch {
	case len(f.below) > 0 && i < len(src) && src[i] == '{':
		end, err = w.pickMembers(i, f)
	case len(f.below) > 0 && i < len(src) && src[i] == '[':
		end, err = w.pickElements(i, f)
	default:
		end, err = merge.ScanValue(src, i)
	}
	if err == nil {
		for _, k := range f.wanted {
			w.record.Fields[k] = src[i:end]
		}
	}
	return end, err
}

func (w *walk) pickMembers(i int, f *field) (int, error) {
	src := w.src
	i = merge.SkipSpace(src, i+1)
	if i < len(src) && src[i] == '}' {
		return i + 1, nil
	}
	for {
		end, value, err := merge.ScanName(src, i)
		if err != nil {
			return i, err
		}
		if below := f.member(src[i:end]); below != nil {
			below.clear(w.record.Fields) // of an earlier member of that name
			i, err = w.pick(value, below)
		} else {
			i, err = merge.ScanValue(src, value)
		}
		if err != nil {
			return i, err
		}
		var more bool
		if i, more, err = next(src, i, '}'); !more {
			return i, err
		}
	}
}

func (w *walk) pickElements(i int, f *field) (int, error) {
	src := w.src
	i = merge.SkipSpace(src, i+1)
	if i < len(src) && src[i] == ']' {
		return i + 1, nil
	}
	for index := 0; ; index++ {
		var err error
		if below := f.element(index); below != nil {
			i, err = w.pick(i, below)
		} else {
			i, err = merge.ScanValue(src, i)
		}
		if err != nil {
			return i, err
		}
		var more bool
		if i, more, err = next(src, i, ']'); !more {
			return i, err
		}
	}
}

// next skips what stands behind a value in an object or array: a comma, or the end.
func next(src []byte, i int, end byte) (behind int, more bool, err error) {
	i = merge.SkipSpace(src, i)
	switch {
	case i < len(src) && src[i] == ',':
		return merge.SkipSpace(src, i+1), true, nil
	case i < len(src) && src[i] == end:
		return i + 1, false, nil
	}
	return i, false, errSyntax
}

func (f *field) member(raw []byte) *field {
	for i, name := range f.names {
		if len(raw)-2 == len(name) && string(raw[1:len(raw)-1]) == name {
			return f.below[i]
		}
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return nil
	}
	text := merge.Unquote(raw)
	for i, name := range f.names {
		if text == name {
			return f.below[i]
		}
	}
	return nil
}

func (f *field) element(index int) *field {
	for i, name := range f.names {
		if at, ok := merge.ArrayIndex(name); ok && at == index {
			return f.below[i]
		}
	}
	return nil
}
