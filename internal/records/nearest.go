package records

import (
	"slices"

	"jsonguard/merge"
)

// nearest is where a pattern got furthest.
type nearest struct {
	known   bool
	reached int // steps of the pattern
	offset  int
	steps   []step
}

// at notes that the value at offset i, which is not a record, was reached in state s. The first that gets that far counts.
func (n *nearest) at(w *walk, s state, i int) {
	if reached := s.reached(); !n.known || reached > n.reached {
		*n = nearest{known: true, reached: reached, offset: i, steps: append(n.steps[:0], w.steps...)}
	}
}

// Nearest is how far a pattern leads that no value is matched by.
type Nearest struct {
	At      merge.Pointer // the place that got furthest; the first, if there are several
	Steps   int           // of the pattern that lead there
	Kind    byte          // the first byte of the value there: '{', '[', '"', a digit, …; 0: there is no value at all
	Names   []string      // of an object there: the first hundred, each once
	Members int           // of a list of lines or an array: its length
}

// Nearest explains an Each that found nothing.
func (s *Scan) Nearest() Nearest {
	n := s.nearest
	out := Nearest{Steps: n.reached}
	if !n.known || n.offset >= len(s.src) {
		return out
	}
	for _, step := range n.steps {
		out.At = append(out.At, step.text(s.src))
	}
	i := n.offset
	if out.Kind = s.src[i]; s.format == merge.Lines && len(n.steps) == 0 {
		out.Kind = '['
		for i < len(s.src) {
			end, err := merge.ScanValue(s.src, i)
			if err != nil {
				break
			}
			out.Members++
			i = merge.SkipSpace(s.src, end)
		}
		return out
	}
	switch out.Kind {
	case '{':
		Members(s.src[i:], func(name, _ []byte) bool {
			if text := merge.Unquote(name); !slices.Contains(out.Names, text) {
				out.Names = append(out.Names, text)
			}
			return len(out.Names) < 100
		})
	case '[':
		out.Members = elements(s.src[i:])
	}
	return out
}

// Members calls f with name and value of each member of the object that starts raw, which must be valid, until f
// returns false. Name and value are JSON text; a name that comes twice is given twice.
func Members(raw []byte, f func(name, value []byte) bool) {
	i := merge.SkipSpace(raw, 1)
	for i < len(raw) && raw[i] == '"' {
		end, value, err := merge.ScanName(raw, i)
		if err != nil {
			return
		}
		behind, err := merge.ScanValue(raw, value)
		if err != nil || !f(raw[i:end], raw[value:behind]) {
			return
		}
		if i = merge.SkipSpace(raw, behind); i < len(raw) && raw[i] == ',' {
			i = merge.SkipSpace(raw, i+1)
		}
	}
}

// elements counts those of the array that starts raw, which must be valid.
func elements(raw []byte) (n int) {
	for i := merge.SkipSpace(raw, 1); i < len(raw) && raw[i] != ']'; n++ {
		end, err := merge.ScanValue(raw, i)
		if err != nil {
			break
		}
		if i = merge.SkipSpace(raw, end); i < len(raw) && raw[i] == ',' {
			i = merge.SkipSpace(raw, i+1)
		}
	}
	return n
}

// Len is the number of elements or members of a valid value, each name once; ok is false for one that has none.
func Len(raw []byte) (n int, ok bool) {
	switch raw[0] {
	case '[':
		return elements(raw), true
	case '{':
		var all names
		for i := merge.SkipSpace(raw, 1); i < len(raw) && raw[i] == '"'; {
			end, value, err := merge.ScanName(raw, i)
			if err != nil {
				break
			}
			all.add(raw[i:end])
			behind, err := merge.ScanValue(raw, value)
			if err != nil {
				break
			}
			if i = merge.SkipSpace(raw, behind); i < len(raw) && raw[i] == ',' {
				i = merge.SkipSpace(raw, i+1)
			}
		}
		return all.different(), true
	}
	return 0, false
}
